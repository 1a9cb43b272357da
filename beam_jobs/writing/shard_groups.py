"""Assignment of input shards to output shards.

A group of input shards fills a group of output shards, so one worker can write them
and no image crosses a shuffle.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from pseudo_label.predictions import schema as prediction_schema

#: Minimum number of input shards of a group, if there are so many.
MIN_INPUTS = 8
#: Minimum number of output shards of a group, if there are so many. Sizes of groups
#: differ by one output shard, which matters less in larger groups.
MIN_OUTPUTS = 4


@dataclasses.dataclass(frozen=True)
class Group:
    """Input shards and the output shards that they fill.

    Attributes:
        inputs: Numbers of input shards, ascending.
        outputs: Numbers of output shards.
    """

    inputs: tuple[int, ...]
    outputs: range

    def shard_of(self, key_hash: Any, copy: int) -> Any:
        """Returns the position in `outputs` of a copy; copies are in adjacent shards.

        Args:
            key_hash: Hash of the image's key, an integer or an array uint64.
            copy: Number of the copy, from 0 on.
        """
        count = len(self.outputs)
        return (key_hash % count + copy) % count


def plan_groups(
    num_inputs: int, num_outputs: int, *, max_copies: int
) -> tuple[Group, ...]:
    """Returns as many groups as possible; every shard is in exactly one.

    Groups do not depend on the number of workers, which must not change the files. A
    group has at least `max_copies` output shards, if there are so many, to keep the
    copies of an image apart.
    """
    min_outputs = max(MIN_OUTPUTS, max_copies)
    count = max(1, min(num_inputs // MIN_INPUTS, num_outputs // min_outputs))
    # Adjacent input shards often hold the same class, or images of the same day.
    shuffled = sorted(
        range(num_inputs), key=lambda index: prediction_schema.hash_key(str(index))
    )
    outputs = [group * num_outputs // count for group in range(count + 1)]
    # In proportion to the outputs, so that output shards have about the same size.
    inputs = [end * num_inputs // num_outputs for end in outputs]
    return tuple(
        Group(tuple(sorted(shuffled[first:last])), range(start, stop))
        for (first, last), (start, stop) in zip(
            itertools.pairwise(inputs), itertools.pairwise(outputs), strict=True
        )
    )
