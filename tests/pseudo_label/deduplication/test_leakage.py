import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudo_label.deduplication import hamming_index, leakage, near_duplicates
from pseudo_label.deduplication.leakage import ExcludedIndex
from tests import duplicate_corpus


def exclude(sets, *, bits):
    """Puts all images of sets into one shard each."""
    tables, positions = [], []
    for number, images in enumerate(sets, start=1):
        tables.append(images.to_table().select(leakage.COLUMNS))
        position = np.zeros(len(images), near_duplicates.POSITION)
        position["match_set"], position["match_row"] = number, np.arange(len(images))
        positions.append(position)
    return ExcludedIndex(pa.concat_tables(tables), np.concatenate(positions), bits=bits)


@pytest.mark.parametrize("bits", range(hamming_index.MAX_BITS + 1))
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 60),
    excluded_counts=st.lists(st.integers(0, 40), min_size=1, max_size=3),
)
def test_equals_brute_force(bits, seed, count, excluded_counts):
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 2**64, 4, dtype=np.uint64)
    images = duplicate_corpus.make_images(rng, count, prefix="k", pool=pool)
    sets = {
        number: duplicate_corpus.make_images(rng, size, prefix="x", pool=pool[:2])
        for number, size in enumerate(excluded_counts, start=1)
    }
    excluded = exclude(sets.values(), bits=bits)
    matches, represented = leakage.find_leaked(images.to_table(), excluded, shard=7)
    found = {
        int(match["row"]): tuple(
            int(match[name]) for name in ("match_set", "match_row", "distance")
        )
        for match in matches
    }
    assert len(set(found.values())) == len(found)
    assert set(matches["shard"].tolist()) <= {7}
    found |= {int(row): found[int(other)] for row, other in represented.tolist()}
    assert found == duplicate_corpus.find_leaked(images, sets, bits=bits)


def test_bytes_count_though_neither_can_be_decoded_and_hashes_do_not():
    rng = np.random.default_rng(0)
    image = duplicate_corpus.make_images(
        rng, 1, prefix="k", pool=np.zeros(1, np.uint64)
    )
    broken = image.take([0, 0])
    broken.confidence[:] = np.nan
    broken.has_hash[:] = False
    broken.digests[0] = 9, 9, 9, 9
    image.confidence[:] = 0.5
    for bits in range(hamming_index.MAX_BITS + 1):
        match, distance = exclude([broken], bits=bits).find(image.to_table())
        assert (match.tolist(), distance.tolist()) == ([1], [0])
        match, _ = exclude([broken.take([0])], bits=bits).find(image.to_table())
        assert match.tolist() == [-1]


def test_without_bits_only_equal_bytes_are_a_leak():
    rng = np.random.default_rng(0)
    images = duplicate_corpus.make_images(
        rng, 2, prefix="k", pool=np.zeros(1, np.uint64)
    )
    images.hashes[:] = 0
    images.has_hash[:] = True
    images.digests[:] = [[1] * 4, [2] * 4]
    match, distance = exclude([images.take([0])], bits=None).find(images.to_table())
    assert (match.tolist(), distance.tolist()) == ([0, -1], [0, -1])
