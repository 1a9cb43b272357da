"""W&B's own software, offline."""

import pytest

from classifier.training.tracker import RunSetup
from classifier.training.wandb_tracker import open_run
from tests.classifier.training import wandb_files

pytest.importorskip("wandb", reason="needs wandb, see docs/tracking.md")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory; W&B is offline."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CACHE_DIR", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return home


def test_a_run_is_begun_ended_and_gone_on_with(home, tmp_path):
    setup = RunSetup(
        name="a/run", workdir=tmp_path / "run", settings={"a": {"b": 1}}, run_id=None
    )
    setup.workdir.mkdir()
    first = open_run("birds", setup)
    first.log_metrics(10, {"train/loss": 2.0})
    first.log_metrics(10, {"evaluation/top1": 0.25})
    first.finish("killed")
    again = open_run("birds", RunSetup(**{**vars(setup), "run_id": first.run_id}))
    assert again.run_id == first.run_id
    again.log_metrics(20, {"train/loss": 1.0})
    again.finish("finished")

    files = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    files.sort(key=lambda path: path.stat().st_mtime)
    assert {path.name for path in files} == {f"run-{first.run_id}.wandb"}
    history = [row for path in files for row in wandb_files.read_history(path)]
    assert history == [
        (10, {"train/loss": 2.0, "evaluation/top1": 0.25}),
        (20, {"train/loss": 1.0}),
    ]
    assert [wandb_files.read_exit_code(path) for path in files] == [255, 0]
    assert wandb_files.read_config(files[0])["a"] == {"b": 1}
    assert not list(home.iterdir())
