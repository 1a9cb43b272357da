"""Training runs of the benchmark: one network, and a number of steps by the budget."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Collection, Sequence

from benchmarks.methods import cost
from benchmarks.methods.commands import call
from benchmarks.methods.cost import Batch
from benchmarks.methods.draws import DataDraw
from classifier.export.facts import CLASSIFIER
from classifier.training import presets
from stage import typed_json
from stage.overrides import override_all, paths_of
from stage.typed_json import NonNegative, Share
from student.training import presets as student_presets
from student.training.config import StudentConfig

PRESET = "tiny"
#: Share of a run's steps in which the learning rate rises, as in the preset.
WARMUP = presets.tiny().optimizer.warmup_steps / presets.tiny().num_steps
#: Settings that methods and seeds decide; `_schedule` has those of the budget.
_DECIDED = ("seed", "global_batch_size", "consistency.unlabeled_ratio")
_SUPERVISED_BATCH = Batch(labeled=presets.tiny().global_batch_size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """Settings of a training run.

    Attributes:
        settings: Values of `--set=`, of the preset `tiny`.
        batch: Its batch; unlabeled images in it are those of the corpus.
    """

    settings: tuple[str, ...] = ()
    batch: Batch = _SUPERVISED_BATCH

    def all_settings(self, others: Sequence[str]) -> tuple[str, ...]:
        """Returns all values of `--set=` but the number of steps.

        Those of others that are of consistency training need unlabeled images.
        """
        ratio = self.batch.unlabeled // self.batch.labeled
        return (
            f"global_batch_size={self.batch.size}",
            *((f"consistency.unlabeled_ratio={ratio}",) if ratio else ()),
            *self.settings,
            *(each for each in others if ratio or not each.startswith("consistency.")),
        )


#: The preset itself.
SUPERVISED = Training()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What a method has to do.

    Attributes:
        draw: The images.
        budget: Multiply-adds that it may use.
        seed: Seed of the trainings.
        workdir: Directory for its files.
        settings: Further values of `--set=`, see `Training.all_settings`.
    """

    draw: DataDraw
    budget: int
    seed: int
    workdir: pathlib.Path
    settings: tuple[str, ...] = ()

    @property
    def log(self) -> pathlib.Path:
        """File for what commands print."""
        return self.workdir / "log.txt"

    def network(self, training: Training) -> int:
        """Returns the multiply-adds of the network's forward pass of one image."""
        settings = training.all_settings(self.settings)
        return count_network(settings, len(self.draw.class_names))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained classifier.

    Attributes:
        directory: Its directory.
        accuracy: Accuracy of the last averaged network on the test images.
        multiply_adds: Multiply-adds of its training, as it has counted them.
        network: Multiply-adds of the forward pass of one image.
    """

    directory: pathlib.Path
    accuracy: float
    multiply_adds: float
    network: int


@functools.cache
def count_network(settings: tuple[str, ...], num_classes: int) -> int:
    """Returns the multiply-adds of one image, forward; `settings` are of the preset."""
    from classifier.models.flops import count_multiply_adds
    from classifier.training import trainer

    network = trainer.build(override(settings), num_classes=num_classes)
    return count_multiply_adds(network)


def override(settings: Collection[str]) -> StudentConfig:
    """Returns the preset with settings; a student's has all that a teacher's has.

    Raises:
        ValueError: If one is unknown, or they do not fit together.
    """
    return override_all(student_presets.find(PRESET), settings)


def train(
    task: Task,
    name: str,
    training: Training,
    budget: float,
    *,
    labeled: str | None = None,
    pseudo_labeled: pathlib.Path | None = None,
    number: int = 0,
) -> Trained:
    """Trains a classifier with the multiply-adds of `budget`.

    Args:
        task: Images, seed and directory.
        name: Name of the classifier's directory.
        training: Its settings.
        budget: Multiply-adds.
        labeled: Labeled images, if not those of the draw.
        pseudo_labeled: Dataset of a student.
        number: Number by which seeds of a run's classifiers differ, below 10.
    """
    import keras

    network = task.network(training)
    steps = cost.steps_of(budget, training.batch, network)
    directory = task.workdir / name
    flags = [
        f"--preset={PRESET}",
        f"--labeled={labeled or task.draw.labeled}",
        f"--evaluation={task.draw.evaluation}",
        f"--workdir={directory}",
        f"--seed={10 * task.seed + number}",
        *(f"--set={value}" for value in training.all_settings(task.settings)),
        *(f"--set={value}" for value in _schedule(steps)),
    ]
    if task.draw.data_dir is not None:
        flags.append(f"--data_dir={task.draw.data_dir}")
    if training.batch.unlabeled:
        flags.append(f"--unlabeled={task.draw.images}")
        flags += [f"--exclude={images}" for images in task.draw.exclude]
    module = "teacher.train"
    if pseudo_labeled is not None:
        flags.append(f"--pseudo_labeled={pseudo_labeled}")
        module = "student.train"
    call(module, *flags, log=task.log)
    keras.backend.clear_session()  # Graphs of earlier runs would stay in memory.
    found = read_figures(directory)
    return Trained(
        directory=directory,
        accuracy=found.evaluation.top1,
        multiply_adds=found.multiply_adds,
        network=network,
    )


def check_settings(settings: Collection[str]) -> None:
    """Raises ValueError for settings that not all trainings can have.

    Those are the ones that the comparison sets itself, and unknown ones.
    """
    decided = paths_of((*_schedule(1), *_DECIDED))
    for path in sorted(paths_of(settings) & decided):
        raise ValueError(
            f"--set={path}=: expected none of {', '.join(sorted(decided))}, which "
            "seed, budget and method decide"
        )
    override_all(presets.tiny(), settings)


def _schedule(steps: int) -> tuple[str, ...]:
    """Returns settings of a run of that length; it is evaluated once, at its end."""
    return (
        f"num_steps={steps}",
        f"optimizer.warmup_steps={min(round(WARMUP * steps), steps - 1)}",
        f"evaluate_every={steps}",
        f"checkpoint_every={steps}",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Evaluation:
    top1: Share


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierFigures:
    """Figures of a classifier, as `classifier.json` has them.

    Attributes:
        evaluation: Accuracy on the test images.
        multiply_adds: Multiply-adds of its training; 0 if they were not counted.
    """

    evaluation: _Evaluation
    multiply_adds: NonNegative = 0


def read_figures(directory: pathlib.Path) -> ClassifierFigures:
    """Returns the figures of a classifier."""
    return typed_json.read(directory / CLASSIFIER, ClassifierFigures)
