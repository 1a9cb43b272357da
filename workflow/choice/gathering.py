"""The facts of a choice, from images, machine and caches of weights."""

from __future__ import annotations

from typing import Any

from workflow.choice import images, machine, weights
from workflow.choice.decision import Facts
from workflow.choice.networks import Backbone


def gather(
    labeled: str,
    unlabeled: str | None,
    *,
    unlabeled_image_feature: str | None,
    given: Backbone | None,
    needs_network: bool,
    has_tpu: bool,
    minutes: float,
    **how: Any,
) -> Facts:
    """Returns the facts; for arguments and errors see `images.count` and `Facts`."""
    counts, side = images.count(
        labeled, unlabeled, unlabeled_image_feature=unlabeled_image_feature, **how
    )
    return Facts(
        counts=counts,
        side=side,
        machine=machine.find_machine(has_tpu=has_tpu),
        minutes=minutes,
        given=given,
        at_hand=weights.at_hand(),
        needs_network=needs_network,
    )
