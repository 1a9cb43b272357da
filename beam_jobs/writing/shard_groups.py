"""Which input shards fill which output shards.

A group of input shards fills output shards of its own, so one worker can write them
and no image has to cross a shuffle.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from pseudo_label.predictions import schema as prediction_schema

#: Input shards that an output shard is mixed of, where there are so many.
MIN_INPUTS = 8
#: Output shards of a group, where there are so many. Groups have one more or less than
#: each other, and of few that would be much.
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
        """Returns in which of `outputs`, by its position, a copy of an image is.

        Copies of one image are in neighboring shards.

        Args:
            key_hash: Of the image's key, or an array uint64 of several.
            copy: From 0 on.
        """
        count = len(self.outputs)
        return (key_hash % count + copy) % count


def plan_groups(
    num_inputs: int, num_outputs: int, *, max_copies: int
) -> tuple[Group, ...]:
    """Returns the groups; every shard is in one of them.

    They are as many as they can be, for any number of workers: that must not decide
    what is in a file.

    Args:
        num_inputs: Input shards.
        num_outputs: Output shards, at least 1.
        max_copies: How often an image is written at the most; a group has as many
            output shards, where there are so many, for each copy another one.
    """
    apart = max(MIN_OUTPUTS, max_copies)
    count = max(1, min(num_inputs // MIN_INPUTS, num_outputs // apart))
    # Neighbors often hold the same class, or images of the same day.
    mixed = sorted(
        range(num_inputs), key=lambda index: prediction_schema.hash_key(str(index))
    )
    outputs = [group * num_outputs // count for group in range(count + 1)]
    # In proportion, for all output shards to be of about one size.
    inputs = [end * num_inputs // num_outputs for end in outputs]
    return tuple(
        Group(tuple(sorted(mixed[first:last])), range(start, stop))
        for (first, last), (start, stop) in zip(
            itertools.pairwise(inputs), itertools.pairwise(outputs), strict=True
        )
    )
