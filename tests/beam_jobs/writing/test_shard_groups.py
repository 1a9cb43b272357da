import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.writing import shard_groups
from beam_jobs.writing.shard_groups import Group

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 200), st.integers(1, 9))


@given(SIZES)
def test_every_shard_is_in_one_group(sizes):
    num_inputs, num_outputs, max_copies = sizes
    groups = shard_groups.plan_groups(num_inputs, num_outputs, max_copies=max_copies)
    inputs = sorted(itertools.chain.from_iterable(group.inputs for group in groups))
    assert inputs == list(range(num_inputs))
    outputs = list(itertools.chain.from_iterable(group.outputs for group in groups))
    assert outputs == list(range(num_outputs))


@given(SIZES)
def test_there_are_many_groups_that_mix_and_keep_copies_apart(sizes):
    num_inputs, num_outputs, max_copies = sizes
    groups = shard_groups.plan_groups(num_inputs, num_outputs, max_copies=max_copies)
    if len(groups) > 1:
        assert min(len(group.outputs) for group in groups) >= max(4, max_copies)
        assert sum(len(group.inputs) for group in groups) >= 8 * len(groups)
        # Of about one size: no output shard is made of twice as many as another.
        share = [len(group.inputs) / len(group.outputs) for group in groups]
        mean = num_inputs / num_outputs
        for group, ratio in zip(groups, share, strict=True):
            assert abs(ratio - mean) <= 1 / len(group.outputs)
    more = (num_inputs // 8, num_outputs // max(4, max_copies))
    assert len(groups) == max(1, min(more))


def test_neighbors_are_not_in_one_group():
    groups = shard_groups.plan_groups(1000, 500, max_copies=3)
    assert len(groups) == 125
    for group in groups:
        distances = np.diff(group.inputs)
        assert distances.min() >= 1
        assert np.ptp(group.inputs) > 200


def test_groups_are_the_same_everywhere():
    """Other groups would change the files that the same settings write."""
    assert shard_groups.plan_groups(17, 8, max_copies=2) == (
        Group((0, 1, 2, 3, 6, 9, 14, 16), range(4)),
        Group((4, 5, 7, 8, 10, 11, 12, 13, 15), range(4, 8)),
    )


@pytest.mark.parametrize("count", [1, 4, 7])
def test_copies_go_to_neighboring_shards(count):
    group = Group((0,), range(10, 10 + count))
    hashes = np.array([0, 5, 2**63, 2**64 - 1], np.uint64)
    for copy in range(2 * count):
        of_array = group.shard_of(hashes, copy)
        assert of_array.tolist() == [
            group.shard_of(value, copy) for value in hashes.tolist()
        ]
        assert of_array.tolist() == [(h + copy) % count for h in hashes.tolist()]
    shards = {group.shard_of(2**64 - 1, copy) for copy in range(count)}
    assert shards == set(range(count))
