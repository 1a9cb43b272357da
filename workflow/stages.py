"""The stages of a run: what each of them reads, and the directory that it makes.

    teacher.train, .probe  labeled, unlabeled images  round-1/teacher/member-I
    teacher.evaluate       teacher                    round-1/teacher/evaluation
    teacher.calibrate      teacher, labeled images    round-N/calibration
    label_images           teacher, unlabeled images  round-N/teacher_predictions
    label_images           teacher, labeled images    round-N/labeled_predictions
    propagate_labels       both                       round-N/predictions
    label_images           teacher, excluded images   round-N/excluded/set-I
    select_labels          predictions, excluded      round-N/selection
    write_records          selection, predictions     round-N/dataset
    sample_images          selection, predictions     round-N/samples
    student.train          dataset, labeled images    round-N/student
    student.evaluate       student, teacher, dataset  round-N/evaluation
    student.train          labeled images alone       control
    student.evaluate       control                    control/evaluation

The teacher of round N+1 is the student of round N. Without blending, the first
`label_images` makes `round-N/predictions`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator

from workflow.chain import runners
from workflow.chain.stage import (
    Argument,
    IfThere,
    Kind,
    Stage,
    places,
    reads,
    settings,
    sources,
    words,
)
from workflow.run_file.config import AUTO, RunConfig
from workflow.run_file.reading import flat_settings

#: The stage that prepares the digits.
DIGITS = "data"
#: Number of similar images that are blended without a calibration.
_NEIGHBORS = 10
#: Numbers of students, for seeds: none begins with the weights of a teacher.
_FIRST_STUDENT = 21


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
class Chain:
    """All stages of a run with `num_rounds` rounds."""

    config: RunConfig
    chosen: Chosen
    num_rounds: int

    def stages(self) -> dict[str, Stage]:
        """Returns the stages by name, parents first."""
        found = {stage.name: stage for stage in self._list_stages()}
        if DIGITS not in found:
            return found
        return {
            name: dataclasses.replace(stage, after=(DIGITS,))
            if name != DIGITS and stage.reads_images
            else stage
            for name, stage in found.items()
        }

    def _list_stages(self) -> Iterator[Stage]:
        if self.config.data.digits.labels_per_class:
            yield self._digits()
        for index in range(self.config.teacher.num_members):
            yield self._member(index)
        yield self._teacher_evaluation()
        if not self.config.images.unlabeled:
            if self._is_calibrated(1):
                yield self._calibration(1)
            return
        for number in range(1, self.num_rounds + 1):
            yield from self._list_round(number)
        # It also calibrates the last student, to compare the rounds.
        if self.config.data.calibration:
            yield self._calibration(self.num_rounds + 1)
        yield self._control()
        yield self._control_evaluation()

    def _list_round(self, number: int) -> Iterator[Stage]:
        if self._is_calibrated(number):
            yield self._calibration(number)
        yield self._predictions(number)
        if self.neighbors:
            yield self._labeled_predictions(number)
            yield self._blended_predictions(number)
        for index in range(len(self.config.images.excluded())):
            yield self._excluded(number, index)
        yield self._selection(number)
        yield self._dataset(number)
        yield self._samples(number)
        yield self._student(number)
        yield self._evaluation(number)

    def goal(self, name: str, number: int) -> tuple[str, ...]:
        """Returns the names of the stages that a goal needs, of round `number`."""
        round_name = f"round-{number}"
        match name:
            case "teacher":
                return self.teacher(number)
            case "calibration":
                is_made = self._is_calibrated(number)
                return (
                    (f"{round_name}/calibration",) if is_made else self.teacher(number)
                )
            case "control":
                return ("control",)
            case "report":
                return self._reported()
        directory = {"labels": "predictions", "records": "dataset"}.get(name, name)
        return (f"{round_name}/{directory}",)

    def _reported(self) -> tuple[str, ...]:
        numbers = range(1, self.num_rounds + 1)
        return (
            "round-1/teacher/evaluation",
            "control/evaluation",
            *(
                f"round-{n}/{name}"
                for n in numbers
                for name in ("samples", "evaluation")
            ),
        )

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
        return 0 if self._is_calibrated(1) or self.features else _NEIGHBORS

    def _is_calibrated(self, number: int) -> bool:
        """Whether a stage calibrates the teacher of a round.

        A student was trained on all folds. A probe calibrates itself.
        """
        is_first = number == 1 and not self.features
        return bool(
            self.config.images.calibration or (is_first and self.config.teacher.folds)
        )

    def _digits(self) -> Stage:
        digits = self.config.data.digits
        return Stage(
            name=DIGITS,
            module="workflow.digits",
            arguments=settings(
                labels_per_class=digits.labels_per_class,
                calibration_images=digits.calibration_images,
                seed=self.config.rounds.seed,
            ),
        )

    def _member(self, index: int) -> Stage:
        teacher, images = self.config.teacher, self.config.images
        name = self.teacher(1)[index]
        common = self._labeled_images()
        seed = settings(seed=self._seed(index + 1))
        if self.features:
            return Stage(
                name=name,
                module="teacher.probe",
                arguments=(
                    *settings(features=self.features),
                    *common,
                    *seed,
                    *_assignments(teacher.settings),
                    *words(teacher.flags),
                ),
                output_flag="workdir",
            )
        fold = settings(folds=teacher.folds, fold=str(index)) if teacher.folds else ()
        unlabeled = (
            *sources(unlabeled=images.unlabeled),
            *settings(consistency=teacher.consistency),
            *_each("exclude", images.excluded(), Kind.SOURCE),
            *settings(unlabeled_image_feature=images.unlabeled_image_feature),
        )
        return Stage(
            name=name,
            module="teacher.train",
            arguments=(
                *self._recipe(teacher.preset),
                *common,
                *(unlabeled if images.unlabeled else ()),
                *seed,
                *fold,
                *self._device(),
                *_assignments(teacher.settings),
                *words(teacher.flags),
            ),
            output_flag="workdir",
        )

    def _teacher_evaluation(self) -> Stage:
        return Stage(
            name="round-1/teacher/evaluation",
            module="teacher.evaluate",
            arguments=(*reads(teacher=self.teacher(1)), *self._test_images()),
        )

    def _calibration(self, number: int) -> Stage:
        images = self.config.images
        return Stage(
            name=f"round-{number}/calibration",
            module="teacher.calibrate",
            arguments=(
                *reads(teacher=self.teacher(number)),
                *sources(held_out=images.calibration),
                *sources(out_of_fold="" if images.calibration else images.labeled),
                *self._source_flags(),
            ),
        )

    # --- predictions -------------------------------------------------------------

    def _predictions(self, number: int) -> Stage:
        name = "teacher_predictions" if self.neighbors else "predictions"
        runner = self.config.runner
        engine = runners.engine(self.config.labeling, runner)
        return Stage(
            name=f"round-{number}/{name}",
            module="beam_jobs.label_images",
            arguments=(
                *self._unlabeled_images(),
                *reads(teacher=self.teacher(number)),
                *self._calibration_of(number),
                *settings(embeddings=self._compares or bool(self.neighbors)),
                *engine,
                *words(self.config.labeling.flags),
            ),
            beam_options=runners.options(runner, labeling=True),
            is_shared=runner.name == "dataflow",
        )

    def _labeled_predictions(self, number: int) -> Stage:
        return Stage(
            name=f"round-{number}/labeled_predictions",
            module="beam_jobs.label_images",
            arguments=(
                *sources(images=self.config.images.labeled),
                *self._source_flags(),
                *reads(teacher=self.teacher(number)),
                *settings(embeddings=True),
                *self._local_labeling(),
            ),
        )

    def _blended_predictions(self, number: int) -> Stage:
        return self._job(
            f"round-{number}/predictions",
            "beam_jobs.propagate_labels",
            *reads(
                predictions=f"round-{number}/teacher_predictions",
                labeled=f"round-{number}/labeled_predictions",
            ),
            *settings(neighbors=self.neighbors, embeddings=self._compares),
        )

    def _excluded(self, number: int, index: int) -> Stage:
        images = self.config.images
        return Stage(
            name=f"round-{number}/excluded/set-{index + 1}",
            module="beam_jobs.label_images",
            arguments=(
                *sources(images=images.excluded()[index]),
                *places(data_dir=images.data_dir),
                *reads(teacher=self.teacher(number)),
                *settings(embeddings=self._compares),
                *self._local_labeling(),
                *settings(image_feature=images.image_feature),
            ),
        )

    # --- selection and students --------------------------------------------------

    def _selection(self, number: int) -> Stage:
        chosen = self.config.selection
        return self._job(
            f"round-{number}/selection",
            "beam_jobs.select_labels",
            *reads(
                predictions=f"round-{number}/predictions",
                exclude=self._all_excluded(number),
            ),
            *settings(
                duplicate_bits=chosen.duplicate_bits,
                duplicate_similarity=chosen.duplicate_similarity,
            ),
            *words(chosen.flags),
            *self._calibration_of(number),
            *self._threshold(number),
            *settings(
                images_per_class=chosen.images_per_class, max_copies=chosen.max_copies
            ),
        )

    def _dataset(self, number: int) -> Stage:
        return self._job(
            f"round-{number}/dataset",
            "beam_jobs.write_records",
            *self._unlabeled_images(),
            *reads(
                predictions=f"round-{number}/predictions",
                selection=f"round-{number}/selection",
            ),
            *settings(round=number),
        )

    def _samples(self, number: int) -> Stage:
        images = self.config.images
        return Stage(
            name=f"round-{number}/samples",
            module="workflow.sample_images",
            arguments=(
                *self._unlabeled_images(),
                *reads(
                    predictions=f"round-{number}/predictions",
                    selection=f"round-{number}/selection",
                    exclude=self._all_excluded(number),
                ),
                *_each("exclude_images", images.excluded(), Kind.SOURCE),
                *settings(excluded_image_feature=images.image_feature),
            ),
            beam_options=runners.local_options(self.config.runner),
        )

    def _student(self, number: int) -> Stage:
        return self._training(
            f"round-{number}/student",
            *reads(pseudo_labeled=f"round-{number}/dataset"),
            *settings(seed=self._seed(_FIRST_STUDENT + number - 1)),
        )

    def _evaluation(self, number: int) -> Stage:
        return Stage(
            name=f"round-{number}/evaluation",
            module="student.evaluate",
            arguments=(
                *reads(
                    student=f"round-{number}/student",
                    teacher=self.teacher(number),
                    pseudo_labeled=f"round-{number}/dataset",
                ),
                *self._test_images(),
            ),
        )

    def _control(self) -> Stage:
        """Trains on labels alone with the computation of the whole chain.

        Only stages of the first round are counted, so that it trains beside the first
        student.
        """
        predicted = ["teacher_predictions", "labeled_predictions"]
        counted = (
            *self.teacher(1),
            *(
                f"round-1/{n}"
                for n in (predicted if self.neighbors else ["predictions"])
            ),
            *self._all_excluded(1),
        )
        return self._training(
            "control",
            *reads(pseudo_labeled="round-1/dataset"),
            *settings(
                control=True, seed=self.config.rounds.seed, rounds=self.num_rounds
            ),
            *reads(compute_of=counted),
        )

    def _control_evaluation(self) -> Stage:
        return Stage(
            name="control/evaluation",
            module="student.evaluate",
            arguments=(*reads(student="control"), *self._test_images()),
        )

    # --- what several stages share -----------------------------------------------

    def _job(self, name: str, module: str, *arguments: Argument | IfThere) -> Stage:
        """Returns a stage whose job runs where `runner` says."""
        runner = self.config.runner
        return Stage(
            name=name,
            module=module,
            arguments=arguments,
            beam_options=runners.options(runner, labeling=False),
            is_shared=runner.name == "dataflow",
        )

    def _training(self, name: str, *arguments: Argument) -> Stage:
        student = self.config.student
        return Stage(
            name=name,
            module="student.train",
            arguments=(
                *self._recipe(student.preset or self.config.teacher.preset),
                *self._labeled_images(),
                *arguments,
                *self._device(),
                *_assignments(student.settings),
                *words(student.flags),
            ),
            output_flag="workdir",
        )

    def _seed(self, number: int) -> str:
        """Returns a seed that no other pair of run's seed and number has."""
        return f"{self.config.rounds.seed}{number}{'' if number < 10 else '0'}"

    def _recipe(self, preset: str) -> tuple[Argument, ...]:
        if preset != AUTO:
            return settings(preset=preset)
        return (*settings(preset=self.chosen.preset), *words(self.chosen.flags))

    def _device(self) -> tuple[Argument, ...]:
        """Returns flags for TPUs, where layers compute in bfloat16, as in the paper."""
        if not self.config.runner.tpu:
            return ()
        hosts = "auto" if self.config.runner.tpu == "pod" else ""
        return settings(backend="jax", set="dtype=bfloat16", distributed=hosts)

    def _source_flags(self) -> tuple[Argument, ...]:
        images = self.config.images
        return (
            *places(data_dir=images.data_dir),
            *settings(class_names=images.class_names),
            *settings(
                image_feature=images.image_feature, label_feature=images.label_feature
            ),
        )

    def _test_images(self) -> tuple[Argument, ...]:
        return (
            *sources(evaluation=self.config.images.evaluation),
            *self._source_flags(),
        )

    def _labeled_images(self) -> tuple[Argument, ...]:
        return (*sources(labeled=self.config.images.labeled), *self._test_images())

    def _unlabeled_images(self) -> tuple[Argument, ...]:
        images = self.config.images
        return (
            *sources(images=images.unlabeled),
            *places(data_dir=images.data_dir),
            *settings(image_feature=images.unlabeled_image_feature),
        )

    def _local_labeling(self) -> tuple[Argument, ...]:
        labeling = self.config.labeling
        return (*runners.engine(labeling, None), *words(labeling.flags))

    @functools.cached_property
    def _compares(self) -> bool:
        """Whether features decide what a duplicate is."""
        return self.config.selection.duplicate_similarity is not None

    def _all_excluded(self, number: int) -> tuple[str, ...]:
        numbers = range(1, len(self.config.images.excluded()) + 1)
        return tuple(f"round-{number}/excluded/set-{index}" for index in numbers)

    def _own_calibration(self, number: int) -> str:
        """Returns the directory in which a probe has calibrated itself, if it has.

        It has not if each class has one labeled image.
        """
        is_own = number == 1 and self.features and not self.config.images.calibration
        return f"{self.teacher(1)[0]}/calibration" if is_own else ""

    def _calibration_of(self, number: int) -> tuple[Argument | IfThere, ...]:
        if own := self._own_calibration(number):
            return (IfThere(own, (_calibration(own),), ()),)
        is_made = self._is_calibrated(number)
        return (_calibration(f"round-{number}/calibration"),) if is_made else ()

    def _threshold(self, number: int) -> tuple[Argument | IfThere, ...]:
        selection = self.config.selection
        precision = settings(target_precision=selection.target_precision)
        threshold = settings(confidence_threshold=selection.confidence_threshold)
        if own := self._own_calibration(number):
            return (IfThere(own, precision, threshold),)
        return precision if self._is_calibrated(number) else threshold


def choice_stage(config: RunConfig) -> Stage:
    """Returns the stage that chooses what the preset `auto` stands for."""
    teacher, images = config.teacher, config.images
    needs_network = (
        teacher.num_members > 1
        or teacher.folds
        or teacher.consistency == "on"
        or config.labeling.neighbors
        or (not teacher.features and (teacher.settings or teacher.flags))
    )
    return Stage(
        name="choice",
        module="workflow.choose",
        arguments=(
            *sources(labeled=images.labeled, images=images.unlabeled),
            *places(data_dir=images.data_dir),
            *settings(
                class_names=images.class_names,
                image_feature=images.image_feature,
                label_feature=images.label_feature,
                unlabeled_image_feature=images.unlabeled_image_feature,
                features=teacher.features,
                network=bool(needs_network),
                tpu=bool(config.runner.tpu),
                minutes=config.rounds.minutes,
            ),
            *(_assignments(teacher.settings) if teacher.features else ()),
        ),
    )


def _calibration(name: str) -> Argument:
    return Argument("calibration", name, Kind.LOCAL_STAGE)


def _assignments(given: dict[str, object]) -> tuple[Argument, ...]:
    return _each("set", flat_settings(given), Kind.SETTING)


def _each(name: str, values: Iterable[str], kind: Kind) -> tuple[Argument, ...]:
    return tuple(Argument(name, value, kind) for value in values)
