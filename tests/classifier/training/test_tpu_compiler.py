import pytest

from classifier.training import tpu_compiler
from classifier.training.tpu_compiler import StepReport

#: Text of XLA: a tuple, one array, an asynchronous pair, and another operation.
PROGRAM = """
  %all-reduce.1 = (bf16[3,3,8,16]{3,2,1,0:T(8,128)(2,1)S(1)}, /*index=1*/f32[64]{0}) \
all-reduce(%a, %b), channel_id=1
  ROOT %all-reduce.2 = f32[]{:T(128)} all-reduce(%c), replica_groups={{0,1}}
  %all-reduce-start = f32[2,5]{1,0} all-reduce-start(%d), channel_id=2
  %all-reduce-done = f32[2,5]{1,0} all-reduce-done(%all-reduce-start)
  %fusion.9 = f32[1024]{0} fusion(%all-reduce.2), calls=%all-reduce-computation
"""
OUT_OF_MEMORY = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
    "temporaries (16.10G) exceeds available HBM (15.75G)."
)


def test_all_reduces_are_counted_with_their_bytes():
    assert tpu_compiler.count_all_reduces(PROGRAM) == (
        3,
        {"bf16": 2 * 3 * 3 * 8 * 16, "f32": 4 * (64 + 1 + 10)},
    )


def test_the_memory_of_a_chip_stands_in_the_compilers_words():
    assert tpu_compiler.parse_available(OUT_OF_MEMORY) == int(15.75 * 2**30)
    assert tpu_compiler.parse_available("RESOURCE_EXHAUSTED: something else") is None


class Compiler:
    """Memory in proportion to the batch, then operations done twice, then too large."""

    def __init__(self, *, fixed, each, twice_from, too_large_from):
        self.fixed, self.each = fixed, each
        self.twice_from, self.too_large_from = twice_from, too_large_from
        self.sizes = []

    def __call__(self, size):
        self.sizes.append(size)
        if size >= self.too_large_from:
            return None
        recomputed = max(0, size - self.twice_from + 1)
        return StepReport(
            peak_bytes=self.fixed + self.each * min(size, self.twice_from),
            flops=1.0,
            all_reduces=1,
            bytes_by_type={},
            recomputed=recomputed,
        )


@pytest.mark.parametrize("too_large", [2048, 4096, 100_000])
def test_the_largest_batches_are_found(too_large):
    # ResNet-RS-50 at 160 px on a v5e.
    compiler = Compiler(
        fixed=443_000_000, each=18_640_000, twice_from=800, too_large_from=1992
    )
    comfortable, fits, next_one = tpu_compiler.largest_batches(
        compiler, too_large, available=int(15.75 * 2**30)
    )
    assert 744 <= comfortable < 800
    assert fits < 1992 <= next_one <= too_large
    assert next_one - fits <= fits / 16
    assert all(size % 8 == 0 for size in (comfortable, fits, next_one))
    assert len(set(compiler.sizes)) == len(compiler.sizes) <= 14


@pytest.mark.parametrize("limit", [16, 24, 40])
def test_small_limits_are_found(limit):
    compiler = Compiler(fixed=0, each=100, twice_from=10**6, too_large_from=limit)
    comfortable, fits, next_one = tpu_compiler.largest_batches(
        compiler, 64, available=100 * limit
    )
    assert fits == limit - 8
    assert next_one == limit
    assert comfortable <= fits


def test_nothing_may_fit():
    compiler = Compiler(fixed=0, each=1, twice_from=1, too_large_from=1)
    assert tpu_compiler.largest_batches(compiler, 512, available=1) == (0, 0, 8)
