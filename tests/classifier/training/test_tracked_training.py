"""A training with MLflow and W&B that gets Ctrl-C, and is started again."""

import signal

import pytest

from tests import commands
from tests.classifier.training import wandb_files
from tests.classifier.training.fakes import read_rows
from tests.classifier.training.test_resume import assert_equal, end, start
from tests.images import random_images, write_folder

for module in ("mlflow", "sqlalchemy", "wandb"):
    pytest.importorskip(module, reason=f"needs {module}, see docs/tracking.md")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_it_goes_on_with_its_runs_and_ends_bit_for_bit(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    for name, value in (("WANDB_MODE", "offline"), ("HOME", str(tmp_path / "home"))):
        monkeypatch.setitem(commands.ENVIRONMENT, name, value)
    (tmp_path / "home").mkdir()
    images, workdir = tmp_path / "images", tmp_path / "tracked"
    write_folder(images, random_images(15), [i % 3 for i in range(15)])
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    flags = (f"--log_to=mlflow:{uri}", "--log_to=wandb:birds")

    process = start(images, workdir, *flags)
    output = end(process, workdir, after=30, how=signal.SIGINT)
    assert process.returncode == 130, output
    client = MlflowClient(tracking_uri=uri)
    (experiment,) = (
        each for each in client.search_experiments() if each.name != "Default"
    )
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"
    output = commands.finish(start(images, workdir, *flags))
    assert run.info.run_id in output

    commands.finish(start(images, tmp_path / "untracked"))
    assert_equal(workdir, tmp_path / "untracked")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    losses = [
        (row["step"], row["train/loss"])
        for row in read_rows(workdir)
        if "train/loss" in row
    ]
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == losses

    files = sorted(
        (workdir / "wandb").glob("offline-run-*/*.wandb"),
        key=lambda path: path.stat().st_mtime,
    )
    assert [wandb_files.read_exit_code(path) for path in files] == [255, 0]
    rows = [row for path in files for row in wandb_files.read_history(path)]
    found = [(step, row["train/loss"]) for step, row in rows if "train/loss" in row]
    assert found == losses
    assert not list((tmp_path / "home").glob(".cache/wandb"))
