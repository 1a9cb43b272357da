"""Flags that several stages of a run share, and what decides about them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

from workflow.chain import runners
from workflow.chain.stage import (
    Argument,
    IfThere,
    Kind,
    Stage,
    places,
    settings,
    sources,
    words,
)
from workflow.run_file.config import AUTO, RunConfig
from workflow.run_file.reading import flat_settings

#: Number of similar images that are blended without a calibration.
_NEIGHBORS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """What the preset `auto` stands for.

    Attributes:
        features: Pretrained features of the first teacher; "" for a network.
        preset: Recipe of networks.
        flags: Flags beside it.
    """

    features: str = ""
    preset: str = "tiny"
    flags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class SharedFlags:
    """Flags by the settings of a run.

    Attributes:
        config: Settings.
        chosen: What the preset `auto` stands for.
        num_rounds: Number of rounds.
    """

    config: RunConfig
    chosen: Chosen
    num_rounds: int

    # --- the teacher of a round --------------------------------------------------

    def teacher(self, number: int) -> tuple[str, ...]:
        """Returns the names of the stages that make the teacher of a round."""
        if number > 1:
            return (f"round-{number - 1}/student",)
        members = range(1, self.config.teacher.num_members + 1)
        return tuple(f"round-1/teacher/member-{member}" for member in members)

    @property
    def features(self) -> str:
        """Pretrained features of the first teacher; "" for a network."""
        teacher = self.config.teacher
        is_chosen = teacher.preset == AUTO
        return teacher.features or (self.chosen.features if is_chosen else "")

    @property
    def neighbors(self) -> int:
        """Number of similar images whose labels are blended."""
        if self.config.labeling.neighbors is not None:
            return self.config.labeling.neighbors
        return 0 if self.is_calibrated(1) or self.features else _NEIGHBORS

    def is_calibrated(self, number: int) -> bool:
        """Whether a stage calibrates the teacher of a round.

        A student was trained on all folds. A probe calibrates itself.
        """
        is_first = number == 1 and not self.features
        return bool(
            self.config.images.calibration or (is_first and self.config.teacher.folds)
        )

    # --- stages ------------------------------------------------------------------

    def job(self, name: str, module: str, *arguments: Argument | IfThere) -> Stage:
        """Returns a stage whose job runs where `runner` says."""
        runner = self.config.runner
        return Stage(
            name=name,
            module=module,
            arguments=arguments,
            beam_options=runners.options(runner, labeling=False),
            is_shared=runner.name == "dataflow",
        )

    def training(self, name: str, *arguments: Argument) -> Stage:
        """Returns a stage that trains a student, or the control."""
        student = self.config.student
        return Stage(
            name=name,
            module="student.train",
            arguments=(
                *self.recipe(student.preset or self.config.teacher.preset),
                *self.labeled_images(),
                *arguments,
                *self.device(),
                *assignments(student.settings),
                *words(student.flags),
            ),
            output_flag="workdir",
        )

    def seed(self, number: int) -> str:
        """Returns a seed that no other pair of run's seed and number has."""
        return f"{self.config.rounds.seed}{number}{'' if number < 10 else '0'}"

    def recipe(self, preset: str) -> tuple[Argument, ...]:
        """Returns the flags of a recipe, of the chosen one for `auto`."""
        if preset != AUTO:
            return settings(preset=preset)
        return (*settings(preset=self.chosen.preset), *words(self.chosen.flags))

    def device(self) -> tuple[Argument, ...]:
        """Returns flags for TPUs, where layers compute in bfloat16, as in the paper."""
        if not self.config.runner.tpu:
            return ()
        hosts = "auto" if self.config.runner.tpu == "pod" else ""
        return settings(backend="jax", set="dtype=bfloat16", distributed=hosts)

    def source_flags(self) -> tuple[Argument, ...]:
        """Returns how labeled images are read."""
        images = self.config.images
        return (
            *places(data_dir=images.data_dir),
            *sources(class_names=images.class_names),
            *settings(
                image_feature=images.image_feature, label_feature=images.label_feature
            ),
        )

    def test_images(self) -> tuple[Argument, ...]:
        """Returns the images to evaluate on."""
        return (
            *sources(evaluation=self.config.images.evaluation),
            *self.source_flags(),
        )

    def labeled_images(self) -> tuple[Argument, ...]:
        """Returns the images to learn from and to evaluate on."""
        return (*sources(labeled=self.config.images.labeled), *self.test_images())

    def unlabeled_images(self) -> tuple[Argument, ...]:
        """Returns the images to label."""
        images = self.config.images
        return (
            *sources(images=images.unlabeled),
            *places(data_dir=images.data_dir),
            *settings(image_feature=images.unlabeled_image_feature),
        )

    def local_labeling(self) -> tuple[Argument, ...]:
        """Returns the flags of labeling on this machine."""
        labeling = self.config.labeling
        return (*runners.engine(labeling, None), *words(labeling.flags))

    @functools.cached_property
    def compares(self) -> bool:
        """Whether features decide what a duplicate is."""
        return self.config.selection.duplicate_similarity is not None

    def all_excluded(self, number: int) -> tuple[str, ...]:
        """Returns the stages of the images that are not selected."""
        numbers = range(1, len(self.config.images.excluded()) + 1)
        return tuple(f"round-{number}/excluded/set-{index}" for index in numbers)

    def own_calibration(self, number: int) -> str:
        """Returns the directory in which a probe has calibrated itself, if it has.

        It has not if each class has one labeled image.
        """
        is_own = number == 1 and self.features and not self.config.images.calibration
        return f"{self.teacher(1)[0]}/calibration" if is_own else ""

    def calibration_of(self, number: int) -> tuple[Argument | IfThere, ...]:
        """Returns the calibration of a round's teacher, if it has one."""
        if own := self.own_calibration(number):
            return (IfThere(own, (_calibration(own),), ()),)
        is_made = self.is_calibrated(number)
        return (_calibration(f"round-{number}/calibration"),) if is_made else ()

    def threshold(self, number: int) -> tuple[Argument | IfThere, ...]:
        """Returns which confidences are selected."""
        selection = self.config.selection
        precision = settings(target_precision=selection.target_precision)
        threshold = settings(confidence_threshold=selection.confidence_threshold)
        if own := self.own_calibration(number):
            return (IfThere(own, precision, threshold),)
        return precision if self.is_calibrated(number) else threshold


def _calibration(name: str) -> Argument:
    return Argument("calibration", name, Kind.LOCAL_STAGE)


def assignments(given: dict[str, object]) -> tuple[Argument, ...]:
    """Returns settings of a recipe as flags."""
    return each("set", flat_settings(given), Kind.SETTING)


def each(name: str, values: Iterable[str], kind: Kind) -> tuple[Argument, ...]:
    """Returns a flag for each value."""
    return tuple(Argument(name, value, kind) for value in values)
