import pytest

from benchmarks.labeling import goals, inputs
from benchmarks.labeling.goals import CpuFeatures
from benchmarks.measuring.goals import Verdict
from benchmarks.measuring.turns import Rounds

PLAIN = CpuFeatures(2, amx=False, avx512_bf16=False)
VECTORS = CpuFeatures(2, amx=False, avx512_bf16=True)
TILES = CpuFeatures(2, amx=True, avx512_bf16=True)


@pytest.mark.parametrize("cpu", [PLAIN, VECTORS, TILES])
def test_a_processor_is_known_by_its_flags(cpu):
    flags = [name for name in ("amx", "avx512_bf16") if getattr(cpu, name)]
    text = "processor : 0\nflags : fpu sse2 " + " ".join(flags).replace(
        "amx", "amx_tile amx_bf16"
    )
    assert goals.parse_cpuinfo(text + "\n\nprocessor : 1\n", 2) == cpu
    assert goals.parse_cpuinfo("", 2) == PLAIN


@pytest.mark.parametrize(
    ("cpu", "job", "installed"),
    [(PLAIN, 1.0, 1.5), (VECTORS, 1.5, 1.5), (TILES, 3.0, 3.0)],
)
def test_more_is_asked_of_a_processor_that_can_do_more(cpu, job, installed):
    bounds = goals.lower_bounds(inputs.RESNET, cpu)
    assert bounds["ratio_to_float32_job"] == job
    assert bounds["ratio_to_stock_installed"] == installed
    assert bounds["ratio_to_ray_installed"] == installed
    # What no dtype changes is the same everywhere.
    assert bounds["ratio_to_bare_loop"] == 0.95
    assert bounds["ratio_to_timm"] == 1.2
    assert goals.lower_bounds(inputs.FREE, cpu) == {
        "ratio_to_bare_loop": 0.85,
        "ratio_to_float32_job": 1.0,
        "ratio_to_stock_equal": 1.0,
        "ratio_to_ray_equal": 1.0,
        "ratio_processes_to_threads": 1.0,
    }


def test_the_large_network_is_compared_with_everything():
    onnx = {*goals.ONNX_RUNTIME}
    assert goals.ways(inputs.RESNET) == {goals.OURS, *goals.CASES} - onnx
    assert goals.ways(inputs.ONNX) == {goals.OURS, *onnx}
    assert goals.lower_bounds(inputs.ONNX, PLAIN) == {"ratio_to_onnxruntime": 0.95}
    assert goals.ways(inputs.FREE) < goals.ways(inputs.RESNET)


def test_a_ratio_is_the_median_of_the_rounds_beside_the_faster_variant():
    speeds = {
        "ours": [90.0, 100.0, 60.0],
        # The medians of the two bare loops are 100 and 99.
        "bare_processes": [100.0, 100.0, 50.0],
        "bare_threads": [95.0, 99.0, 500.0],
        "threads": [100.0, 50.0, 60.0],
    }
    rounds = Rounds(
        {way: [{goals.SPEED: s} for s in turns] for way, turns in speeds.items()}
    )
    assert goals.ratios(inputs.FREE, rounds, PLAIN) == [
        Verdict("ratio_to_bare_loop", 1.0, at_least=0.85),
        Verdict("ratio_processes_to_threads", 1.0, at_least=1.0),
    ]
