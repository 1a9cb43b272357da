import json
import shutil

import pytest

from benchmarks.measuring.process_watch import WatchedProcess
from benchmarks.propagation import goals, runs
from pseudo_label.predictions.prediction_set import open_predictions
from tests.benchmarks.propagation.conftest import IMAGES


def test_figures_and_output_are_those_of_the_command(made, monkeypatch):
    def watch(command):
        assert command[1:3] == ["-m", "beam_jobs.propagate_labels"]
        flags = dict(word.split("=") for word in command if "=" in word)
        assert flags["--predictions"] == str(made.predictions)
        assert flags["--labeled"] == str(made.labeled)
        assert flags["--exact_images"] == "50"
        shutil.copytree(made.predictions, flags["--output"])
        return WatchedProcess("", 0.0, 0.0, 5.0, 4.0, 2_000_000_000, {})

    monkeypatch.setattr(runs, "watch", watch)
    with runs.propagated(made, exact_images=50) as run:
        assert run.figures == {"seconds": 5.0, "cpu_seconds": 4.0, "peak_gb": 2.0}
        assert run.output.num_images == IMAGES
        summary = {"agreement": {"compared": IMAGES // 2, "same": 1}}
        path = runs.pathlib.Path(run.output.directory)
        (path / "summary.json").write_text(json.dumps(summary))
        found = runs.compare_with_truth(made, run.output)
        corpus = open_predictions(str(made.predictions))
        assert runs.share_of_same_labels(run.output, corpus) == 1
    assert found["reached"] == 0.5
    assert found["accuracy"] == found["teacher"] > 0.5
    assert not path.exists()


@pytest.mark.parametrize(("images", "exemption"), [(10, True), (10_000_000, False)])
def test_goals_of_large_runs(images, exemption):
    figures = {"same_class": 0.9, "seconds": 1e4, "peak_gb": 1.0}
    lines = [verdict.line() for verdict in goals.verdicts(figures, images=images)]
    assert lines[0].endswith("no")
    assert lines[1].endswith("(too few images)" if exemption else "no")
