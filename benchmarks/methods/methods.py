"""The methods: settings and how they spend a budget.

Peers have the settings of their papers, `docs/benchmarks.md` names them. How the chain
divides its budget stands in `PseudoLabelChain` alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from benchmarks.methods import cost, spreading
from benchmarks.methods.commands import call
from benchmarks.methods.cost import Batch
from benchmarks.methods.training import (
    PRESET,
    SUPERVISED,
    Task,
    Trained,
    Training,
    override,
    train,
)
from classifier.training import budget as classifier_budget
from pseudo_label.predictions.schema import NeighborAgreement
from pseudo_label.selection import outlook
from pseudo_label.selection.decision import SELECTION
from stage import typed_json
from stage.typed_json import Count
from stage.validation import check_positive
from student.training import budget as student_budget
from student.training import presets as student_presets

#: Directories of a round: the teachers' predictions, those of the labeled images, and
#: the predictions to select from.
TEACHERS, LABELED, PREDICTIONS = "teachers", "labeled", "predictions"
_ONE_WORKER = ("--", "--direct_num_workers=1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a method has reached.

    Attributes:
        accuracy: Accuracy on the test images, in [0, 1].
        multiply_adds: All multiply-adds of its trainings and labelings.
        parts: Figures of its stages, by name.
    """

    accuracy: float
    multiply_adds: float
    parts: dict[str, Any]


class Method(Protocol):
    """A way to learn from labeled and unlabeled images: a frozen dataclass."""

    def run(self, task: Task) -> Outcome:
        """Learns, and returns what it has reached."""


#: Names by which recipes know classes that were renamed.
_FORMER_NAMES = {"PseudoLabelChain": "Chain"}


def recipe(method: Method, settings: Sequence[str] = ()) -> str:
    """Returns the fingerprint of all settings of a method and of all trainings.

    Those at their defaults are left out, so that results stay valid when settings are
    added. Other changes of code, defaults included, are not seen: results that they
    change must be deleted.
    """
    rules = [
        (name, value)
        for module in (classifier_budget, student_budget)
        for name, value in sorted(vars(module).items())
        if name.isupper()
    ]
    preset = student_presets.find(PRESET)
    common = (_describe(preset), rules, cost.DEMO_PASSES, spreading.SETTINGS)
    text = repr((_describe(method), *settings, *common))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _describe(value: Any) -> Any:
    """Returns a config as its name and the settings that are not at their defaults."""
    if not dataclasses.is_dataclass(value):
        return value
    name = type(value).__name__
    return _FORMER_NAMES.get(name, name), sorted(
        (field.name, _describe(getattr(value, field.name)))
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Single:
    """One classifier with the whole budget.

    Attributes:
        training: Its settings.
        with_truth: Whether it learns the true labels of the unlabeled images as well.
    """

    training: Training = SUPERVISED
    with_truth: bool = False

    def run(self, task: Task) -> Outcome:
        """Trains the classifier."""
        labeled = task.draw.truth if self.with_truth else None
        found = train(task, "classifier", self.training, task.budget, labeled=labeled)
        return Outcome(
            accuracy=found.accuracy, multiply_adds=found.multiply_adds, parts={}
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PseudoLabelChain:
    """A teacher, and a student in each round that is the next one's teacher.

    The division of the budget: what labeling costs is set aside; of the rest, half is
    the teacher's, and students have equal parts of the other half.

    Attributes:
        rounds: Number of students.
        teacher: Settings of the teacher.
        few_labels: Settings of a teacher with few labels, by the rule of
            `classifier.training.budget.has_few_labels`; None for those of any teacher.
        student: Settings of a student.
        propagation: Flags of `beam_jobs.propagate_labels`; none if the teacher's own
            labels are selected from.
        selection: Flags of `beam_jobs.select_labels`; by default the Makefile's.
    """

    rounds: int
    teacher: Training = SUPERVISED
    few_labels: Training | None = None
    student: Training = SUPERVISED
    propagation: tuple[str, ...] = ()
    selection: tuple[str, ...] = (
        "--confidence_threshold=0.51",
        "--images_per_class=0",
        "--max_copies=3",
    )

    def __post_init__(self) -> None:
        check_positive("rounds", self.rounds)

    def run(self, task: Task) -> Outcome:
        """Runs the stages as `make report` does, without its report."""
        teacher = _choose(task, self.teacher, self.few_labels)
        half = (task.budget - self._labeling(task, teacher)) / 2
        latest = train(task, "teacher", teacher, half, number=1)
        parts: dict[str, Any] = {"teacher": latest.accuracy}
        spent = latest.multiply_adds
        for number in range(1, self.rounds + 1):
            directory = task.workdir / f"round-{number}"
            spent += _label(task, latest, directory, self.propagation)
            if self.propagation:
                parts[f"agreement {number}"] = _read_agreement(directory)
            kept = _select(task, directory, self.selection)
            parts[f"kept {number}"] = kept
            if not kept:
                break
            latest = train(
                task,
                f"round-{number}/student",
                self.student,
                half / self.rounds,
                pseudo_labeled=directory / "dataset",
                number=1 + number,
            )
            parts[f"student {number}"] = latest.accuracy
            spent += latest.multiply_adds
        return Outcome(accuracy=latest.accuracy, multiply_adds=spent, parts=parts)

    def _labeling(self, task: Task, teacher: Training) -> int:
        """Returns the multiply-adds of all labelings."""
        students = (self.rounds - 1) * task.network(self.student)
        passes = _count_passes(task, propagates=bool(self.propagation))
        return passes * (task.network(teacher) + students)


def _choose(task: Task, usual: Training, few_labels: Training | None) -> Training:
    """Returns the settings for a draw, by its number of labels."""
    if few_labels is None:
        return usual
    num_labeled = task.draw.count(task.draw.labeled)
    is_used = classifier_budget.has_few_labels(num_labeled, len(task.draw.class_names))
    return few_labels if is_used else usual


def _label(
    task: Task,
    teacher: Trained,
    directory: pathlib.Path,
    propagation: Sequence[str],
) -> int:
    """Labels the corpus and what must not be selected; returns the multiply-adds."""
    sources = _sources(task, propagates=bool(propagation))
    for name, images in sources.items():
        call(
            "beam_jobs.label_images",
            f"--images={images}",
            f"--teacher={teacher.directory}",
            f"--output={directory / name}",
            *_data_dir(task),
            "--engine=tensorflow",
            "--dtype=float32",
            *(["--embeddings"] if propagation else []),
            *_ONE_WORKER,
            log=task.log,
        )
    if propagation:
        call(
            "beam_jobs.propagate_labels",
            f"--predictions={directory / TEACHERS}",
            f"--labeled={directory / LABELED}",
            f"--output={directory / PREDICTIONS}",
            *propagation,
            *_ONE_WORKER,
            log=task.log,
        )
    return _count_passes(task, propagates=bool(propagation)) * teacher.network


def _read_agreement(directory: pathlib.Path) -> float:
    """Returns how often teacher and spread labels agree, in [0, 1]."""
    found = outlook.read_agreement(directory / PREDICTIONS) or NeighborAgreement()
    return round(found.share, 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Funnel:
    records: Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Selection:
    funnel: _Funnel


def _select(task: Task, directory: pathlib.Path, flags: Sequence[str]) -> int:
    """Selects labels and writes them; returns the number of records, which may be 0."""
    predictions, selection = directory / PREDICTIONS, directory / "selection"
    call(
        "beam_jobs.select_labels",
        f"--predictions={predictions}",
        *(f"--exclude={directory / name}" for name in _excluded(task)),
        f"--duplicate_bits={task.draw.duplicate_bits}",
        *flags,
        f"--output={selection}",
        *_ONE_WORKER,
        log=task.log,
    )
    records = typed_json.read(selection / SELECTION, _Selection).funnel.records
    if records:
        call(
            "beam_jobs.write_records",
            f"--images={task.draw.images}",
            *_data_dir(task),
            f"--predictions={predictions}",
            f"--selection={selection}",
            f"--output={directory / 'dataset'}",
            *_ONE_WORKER,
            log=task.log,
        )
    return records


def _sources(task: Task, *, propagates: bool) -> dict[str, str]:
    """Returns the sources that a round labels by the names of their predictions."""
    if not propagates:
        return {PREDICTIONS: task.draw.images, **_excluded(task)}
    return {
        TEACHERS: task.draw.images,
        LABELED: task.draw.labeled,
        **_excluded(task),
    }


def _excluded(task: Task) -> dict[str, str]:
    excluded = enumerate(task.draw.exclude, start=1)
    return {f"excluded-{number}": source for number, source in excluded}


def _count_passes(task: Task, *, propagates: bool) -> int:
    """Returns the number of images that a round labels."""
    draw = task.draw
    return sum(
        draw.num_images if images == draw.images else draw.count(images)
        for images in _sources(task, propagates=propagates).values()
    )


def _data_dir(task: Task) -> list[str]:
    return [f"--data_dir={task.draw.data_dir}"] if task.draw.data_dir else []


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelSpreading:
    """Labels spread over the neighbors of pixels; nothing is trained."""

    def run(self, task: Task) -> Outcome:
        """Spreads the labels."""
        accuracy = spreading.spread_over_pixels(task.draw)
        return Outcome(accuracy=accuracy, multiply_adds=0, parts={})


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureSpreading:
    """Labels spread over the features of a classifier that has the rest of the budget.

    Attributes:
        training: Settings of the classifier.
        few_labels: Settings with few labels, as in `PseudoLabelChain`.
    """

    training: Training = SUPERVISED
    few_labels: Training | None = None

    def run(self, task: Task) -> Outcome:
        """Trains the classifier and spreads the labels."""
        training = _choose(task, self.training, self.few_labels)
        draw, network = task.draw, task.network(training)
        # The test images are predicted, which is no part of learning.
        passes = draw.num_images + draw.count(draw.labeled)
        features = passes * network
        found = train(task, "classifier", training, task.budget - features)
        return Outcome(
            accuracy=spreading.spread_over_features(draw, found.directory),
            multiply_adds=found.multiply_adds + features,
            parts={"classifier": found.accuracy},
        )


#: Settings that the papers of FixMatch, FlexMatch and FreeMatch have in common.
_CONSISTENCY = ("optimizer.peak_learning_rate=0.03", "label_smoothing=0.0")
#: Those of the peers: the preset's dropout helps FixMatch.
_PEERS = (*_CONSISTENCY, "model.dropout_rate=0.25")
#: Seven unlabeled images for each labeled one, as in these papers.
_MIXED = Batch(labeled=8, unlabeled=56)
FIXMATCH = Training(
    settings=(*_PEERS, "consistency.thresholds=fixed", "consistency.threshold=0.95"),
    batch=_MIXED,
)
FLEXMATCH = Training(
    settings=(
        *_PEERS,
        "consistency.thresholds=curriculum",
        "consistency.threshold=0.95",
    ),
    batch=_MIXED,
)
FREEMATCH = Training(
    settings=(
        *_PEERS,
        "consistency.thresholds=self_adaptive",
        "consistency.threshold_decay=0.999",
        "consistency.fairness_weight=0.01",
    ),
    batch=_MIXED,
)
#: Of a chain: more labeled images in a batch than FixMatch has, and no dropout, which
#: would disturb the predictions on views.
CONSISTENT = Training(
    settings=(*_CONSISTENCY, "model.dropout_rate=0.0"),
    batch=Batch(labeled=16, unlabeled=48),
)
HARD = Training(settings=("mixture.target_kind=hard",))
#: Name of the classifier that learns from labels alone; names of ours begin so.
CONTROL, OURS = "control", "ours"
METHODS: dict[str, Method] = {
    CONTROL: Single(),
    # A network labels once, a second one learns its confident labels as true ones. Lee
    # (2013) labels again at each step, without a threshold. With smoothed labels no
    # prediction would be that confident.
    "pseudo_label": PseudoLabelChain(
        rounds=1,
        teacher=Training(settings=("label_smoothing=0.0",)),
        student=Training(
            settings=("label_smoothing=0.0", "mixture.target_kind=hard"),
        ),
        selection=(
            "--confidence_threshold=0.95",
            "--images_per_class=1000000",
            "--max_copies=1",
        ),
    ),
    "fixmatch": Single(training=FIXMATCH),
    "flexmatch": Single(training=FLEXMATCH),
    "freematch": Single(training=FREEMATCH),
    "spread_pixels": PixelSpreading(),
    "spread_features": FeatureSpreading(few_labels=CONSISTENT),
    **{
        f"{OURS}_{rounds}": PseudoLabelChain(
            rounds=rounds,
            few_labels=CONSISTENT,
            student=HARD,
            propagation=(
                "--neighbors=10",
                "--alpha=0.9",
                "--blend=0.5",
                "--tie_disagreements",
            ),
        )
        for rounds in (1, 2, 3)
    },
    "true_labels": Single(with_truth=True),
}
#: Methods that train nothing: their accuracy does not depend on the budget.
FREE = ("spread_pixels",)


def check_settings(names: Iterable[str], settings: Sequence[str]) -> None:
    """Raises ValueError for settings that a training of the methods cannot have."""
    for name in names:
        for training in vars(METHODS[name]).values():
            if isinstance(training, Training):
                override(training.all_settings(settings))


def needs_truth(method: Method) -> bool:
    """Whether a method needs the true labels of the unlabeled images."""
    return isinstance(method, Single) and method.with_truth
