"""The rules by which the preset `auto` chooses; `docs/students.md` has their reasons.

1. The teacher is a probe of the features that are given, else of the best that are at
   hand, else the student's network from random weights.
2. The student is the largest network that is ready in time, and at least the smallest.
3. Its input is not larger than the images.
4. It is a published ResNet-RS only with enough images to learn from: labels, and if a
   probe teaches unlabeled images as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from classifier.data.config import SIZE_STEP
from workflow.choice.cost import Counts, count_run
from workflow.choice.networks import Backbone, Network, offered

#: Fewest images for a published ResNet-RS: 1 % of ImageNet, the fewest with which
#: trainings of a ResNet-50 from random weights were published (Chen et al. 2020).
MIN_IMAGES = 12_811
#: Features for a machine that has none.
FETCH = "teacher.features=hf:timm/resnetrs50.tf_in1k"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hardware:
    """What computes.

    Attributes:
        name: Processor or accelerator, and how many.
        speed: Multiply-adds a second in training, of all cores or accelerators.
        is_fast: Whether there is an accelerator.
    """

    name: str
    speed: float
    is_fast: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What a choice depends on.

    Attributes:
        counts: Numbers of images and classes.
        side: Median of the images' shorter sides in pixels.
        machine: What computes.
        minutes: Longest time that the run should take.
        given: Features that the user names; None without.
        at_hand: Pretrained features on this machine, the best last.
        needs_network: Whether the user's other settings are for a network.
    """

    counts: Counts
    side: int
    machine: Hardware
    minutes: float
    given: Backbone | None = None
    at_hand: tuple[Backbone, ...] = ()
    needs_network: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """Teacher and student.

    Attributes:
        features: Features of the probe that teaches; None for a network.
        student: The student's network, and without features the teacher's.
        minutes: Estimated duration of the run.
        reasons: The choice in five lines, the last of which says what a better one
            would need.
    """

    features: str | None
    student: Network
    minutes: float
    reasons: tuple[str, ...]


def choose(facts: Facts) -> Choice:
    """Returns teacher and student for the facts."""
    backbones = _backbones(facts)
    for backbone in backbones:
        in_time = [
            network
            for network in fitting(facts, backbone)
            if _minutes(facts, network, backbone) <= facts.minutes
        ]
        if in_time:
            student = in_time[-1]
            break
    else:
        backbone = backbones[-1]
        student = fitting(facts, backbone)[0]
    return Choice(
        features=backbone.spec if backbone else None,
        student=student,
        minutes=_minutes(facts, student, backbone),
        reasons=tuple(_explain(facts, student, backbone)),
    )


def fitting(facts: Facts, backbone: Backbone | None) -> list[Network]:
    """Returns the networks that suit the images, whatever they cost, cheapest first.

    There is one at least. `backbone` has the features of the teacher, None for a
    network.
    """
    counts = facts.counts
    learned = counts.labeled + (counts.unlabeled if backbone else 0)
    networks = offered()
    return [
        network
        for network in networks
        if network.size < facts.side + SIZE_STEP
        and (network.preset == networks[0].preset or learned >= MIN_IMAGES)
    ] or [networks[0]]


def _backbones(facts: Facts) -> Sequence[Backbone | None]:
    """Returns the features to try in this order; None for a network as teacher."""
    if facts.given is not None:
        return [facts.given]
    if facts.needs_network:
        return [None]
    return [*reversed(facts.at_hand), None]


def _minutes(facts: Facts, student: Network, backbone: Backbone | None) -> float:
    return count_run(student, backbone, facts.counts) / facts.machine.speed / 60.0


def _explain(
    facts: Facts, student: Network, backbone: Backbone | None
) -> Iterator[str]:
    counts = facts.counts
    yield (
        f"images: {counts.describe('labeled')} labels of {counts.classes:,} classes, "
        f"{counts.describe('unlabeled')} unlabeled; {facts.side} px; "
        f"{facts.machine.name}; rounds.minutes={facts.minutes:g}"
    )
    yield f"teacher: {_explain_teacher(facts, student, backbone)}"
    larger = _larger(facts, student, backbone)
    limit = "the largest for these images"
    if larger:
        minutes = _minutes(facts, larger, backbone)
        limit = f"{larger} would take {format_minutes(minutes)}"
    yield f"student: {student}; {limit}"
    total = count_run(student, backbone, counts)
    uncounted = backbone is not None and backbone.multiply_adds is None
    yield (
        f"estimate: {format_minutes(total / facts.machine.speed / 60)} for "
        f"{total:.2g} multiply-adds at {facts.machine.speed:.2g} a second, control "
        f"included{', the features not counted' if uncounted else ''}"
    )
    yield f"better: {_explain_better(facts, larger, backbone)}"


def _explain_teacher(facts: Facts, student: Network, backbone: Backbone | None) -> str:
    if backbone is not None:
        why = (
            "given as teacher.features"
            if facts.given
            else "the best weights in time at hand"
        )
        return f"probe of {backbone.spec}, {why}"
    why = "no pretrained weights are at hand"
    if facts.needs_network:
        why = "other settings need a network"
    elif facts.at_hand:
        why = f"{facts.at_hand[0].spec} and larger ones take too long"
    return f"{student} from random weights: {why}"


def _explain_better(
    facts: Facts, larger: Network | None, backbone: Backbone | None
) -> str:
    """Returns what the next better choice needs; the largest gain comes first."""
    if backbone is None and not facts.at_hand and not facts.needs_network:
        return f"pretrained features, in another run: {FETCH}"
    if larger is None:
        return "more labels, more images, or larger ones"
    needed = -(-_minutes(facts, larger, backbone) // 1)
    hint = "" if facts.machine.is_fast else ", or a GPU"
    return f"{larger}, in another run: rounds.minutes={needed:.0f}{hint}"


def _larger(
    facts: Facts, student: Network, backbone: Backbone | None
) -> Network | None:
    """Returns the next network that suits these images."""
    networks = fitting(facts, backbone)
    following = networks[networks.index(student) + 1 :]
    return following[0] if following else None


def format_minutes(minutes: float) -> str:
    """Returns a duration with two digits."""
    if minutes >= 120:
        return f"{float(f'{minutes / 60:.2g}'):,g} hours"
    return f"{float(f'{max(minutes, 1):.2g}'):g} minutes"
