import dataclasses

from benchmarks.pretrained import figures
from tests.benchmarks.pretrained.test_figures import FIGURES
from tests.commands import call

COMMAND = ("benchmarks.pretrained", "--features=onnx:features.onnx")


def test_draws_with_results_are_described_and_not_run_again(tmp_path, monkeypatch):
    for seed in (1, 2):
        figures.append(
            tmp_path / "results.jsonl", dataclasses.replace(FIGURES, seed=seed)
        )
    process = call(*COMMAND, f"--output={tmp_path}", "--seeds=1-2")
    assert process.returncode == 0, process.stderr
    assert "mean of 2 draws" in process.stdout
    assert len(list(tmp_path.iterdir())) == 1


def test_unknown_data_are_refused(tmp_path):
    process = call(*COMMAND, f"--output={tmp_path / 'out'}", "--data=digits")
    assert process.returncode == 1
    assert process.stderr.startswith("error: --data: expected surfaces or photographs")
    assert not (tmp_path / "out").exists()
