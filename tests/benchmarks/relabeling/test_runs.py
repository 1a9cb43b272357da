import pytest

from benchmarks.measuring import predictions
from benchmarks.relabeling import runs
from benchmarks.relabeling.inputs import Shape, open_inputs


@pytest.mark.slow
def test_figures_of_a_few_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "BLOCK_ROWS", 1000)
    shape = Shape(features=8, classes=3, images=30_000)
    inputs = open_inputs(tmp_path, shape)
    run = runs.RelabelRun(inputs=inputs, embeddings=True, top_k=2)
    figures = runs.measure(run, shape)
    parts = [figures[name] for name in ("reading", "multiplying", "writing")]
    assert sum(parts) == pytest.approx(1)
    assert figures["us_per_row"] > 0
