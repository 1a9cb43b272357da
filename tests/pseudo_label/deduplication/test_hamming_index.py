import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudo_label.deduplication import hamming_index

BITS = range(hamming_index.MAX_BITS + 1)


def flip(hash_, bits):
    for bit in bits:
        hash_ ^= 1 << bit
    return hash_


#: Some bits beside few hashes, so that all small distances come up.
hashes_strategy = st.lists(
    st.builds(
        flip,
        st.sampled_from([0, 2**64 - 1, 0x0123456789ABCDEF]),
        st.lists(st.integers(0, 63), max_size=3),
    ),
    max_size=40,
)


@pytest.mark.parametrize(
    ("bits", "tables", "narrowest"), [(0, 1, 64), (1, 2, 32), (2, 6, 32), (3, 20, 31)]
)
def test_masks_are_few_and_wide(bits, tables, narrowest):
    masks = hamming_index.masks(bits)
    assert len(masks) == len(set(masks)) == tables
    assert min(int(mask).bit_count() for mask in masks) == narrowest


@pytest.mark.parametrize("bits", BITS)
def test_some_mask_leaves_out_any_bits_that_differ(bits):
    masks = [int(mask) for mask in hamming_index.masks(bits)]
    for flipped in itertools.combinations(range(64), bits):
        difference = flip(0, flipped)
        assert any(not difference & mask for mask in masks), flipped


@pytest.mark.parametrize("at_once", [4, 2**20])
@pytest.mark.parametrize("per_look_up", [0, 0.01, 8])
@pytest.mark.parametrize("bits", BITS[:3])
@settings(deadline=None, max_examples=25)
@given(
    hashes=hashes_strategy, queries=hashes_strategy, per_bit=st.sampled_from([0, 99])
)
def test_each_pair_is_found_by_one_table(
    bits, per_look_up, at_once, hashes, queries, per_bit
):
    """Whether hashes are compared or looked up, however many at once."""
    hashes = np.unique(np.array(hashes, np.uint64))
    queries = np.array(queries, np.uint64)
    values = np.random.default_rng(len(hashes)).permutation(len(hashes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming_index, "_COMPARED_PER_LOOK_UP", per_look_up)
        patch.setattr(hamming_index, "_STEP_SIZE", at_once)
        found = [
            hamming_index.Table(hashes, values, bits, number).lowest(
                queries, per_bit=per_bit
            )
            for number in range(len(hamming_index.masks(bits)))
        ]
    for index, query in enumerate(queries.tolist()):
        distance = [(query ^ other).bit_count() for other in hashes.tolist()]
        near = [
            value + count * per_bit
            for value, count in zip(values.tolist(), distance, strict=True)
            if count <= bits
        ]
        lowest = [
            int(table[index]) for table in found if table[index] != hamming_index.NONE
        ]
        assert min(lowest, default=None) == min(near, default=None)
        if len(near) == 1:
            assert len(lowest) == 1


def test_looking_up_finds_what_comparing_finds_at_three_bits(monkeypatch):
    rng = np.random.default_rng(0)
    hashes = np.unique(rng.integers(0, 2**14, 3000, dtype=np.uint64))
    values = rng.permutation(len(hashes))
    table = hamming_index.Table(hashes, values, 3, 19)  # These bits may differ in it.
    compared = table.lowest(hashes)
    monkeypatch.setattr(hamming_index, "_COMPARED_PER_LOOK_UP", 0)
    np.testing.assert_array_equal(table.lowest(hashes), compared)


@pytest.mark.parametrize("bits", [-1, 4])
def test_other_bits_are_refused(bits):
    with pytest.raises(ValueError, match=rf"bits .*{bits}$"):
        hamming_index.check_bits(bits)
