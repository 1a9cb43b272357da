import json

import pytest

from tests.benchmarks import patched


@pytest.mark.slow
def test_without_a_gpu_it_is_a_toy_and_says_so():
    lines = patched.run(
        "benchmarks.training.train_step",
        "--seconds=0",
        ROUNDS=3,
        STEPS=1,
        TOY_NETWORKS='(command.TrainedNetwork("tiny", "resnetrs50", 2),)',
    )
    assert any("toy" in line for line in lines[:-1])
    figures = json.loads(lines[-1])
    assert figures["is_toy"] is True
    (network,) = (value for value in figures.values() if isinstance(value, dict))
    speeds = network["images_per_second"]
    assert speeds["ours"] > 0
    if "timm" in speeds:
        ratio = speeds["ours"] / speeds["timm"]
        assert network["ratio_to_timm"] == pytest.approx(ratio, rel=0.1)
    else:
        assert any("timm" in line for line in lines[:-1])
