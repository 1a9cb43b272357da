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
`label_images` makes `round-N/predictions`. Before all, `workflow.digits` makes images
in `data`, or `workflow.split` holds out some in `split`, and `workflow.choose` finds
teacher and student in `choice`, if the settings say so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from workflow.chain import runners
from workflow.chain.shared_flags import Chosen, SharedFlags, assignments, each
from workflow.chain.stage import Kind, Stage, places, reads, settings, sources, words
from workflow.run_file.config import DIGITS, SPLIT, RunConfig

__all__ = ["CHOICE", "Chain", "Chosen", "choice_stages"]
#: The stage that chooses for the preset `auto`.
CHOICE = "choice"
#: Numbers of students, for seeds: none begins with the weights of a teacher.
_FIRST_STUDENT = 21


@dataclasses.dataclass(frozen=True)
class Chain(SharedFlags):
    """All stages of a run with `num_rounds` rounds."""

    def stages(self) -> dict[str, Stage]:
        """Returns the stages by name, parents first."""
        found = {stage.name: stage for stage in self._list_stages()}
        made = tuple(self.preparation())
        return {
            name: dataclasses.replace(stage, after=made)
            if made and name not in made and stage.sources
            else stage
            for name, stage in found.items()
        }

    def preparation(self) -> dict[str, Stage]:
        """Returns the stages that make images for others, by name."""
        found = {}
        if self.config.data.digits.labels_per_class:
            found[DIGITS] = self._digits()
        if self.config.is_split:
            found[SPLIT] = self._split()
        return found

    def _list_stages(self) -> Iterator[Stage]:
        yield from self.preparation().values()
        for index in range(self.config.teacher.num_members):
            yield self._member(index)
        yield self._teacher_evaluation()
        if not self.config.images.unlabeled:
            if self.is_calibrated(1):
                yield self._calibration(1)
            return
        for number in range(1, self.num_rounds + 1):
            yield from self._list_round(number)
        # It also calibrates the last student, to compare the rounds.
        if self.config.images.calibration:
            yield self._calibration(self.num_rounds + 1)
        yield self._control()
        yield self._control_evaluation()

    def _list_round(self, number: int) -> Iterator[Stage]:
        if self.is_calibrated(number):
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
                is_made = self.is_calibrated(number)
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

    def _split(self) -> Stage:
        return Stage(
            name=SPLIT,
            module="workflow.split",
            arguments=(
                *sources(labeled=self.config.data.labeled),
                *settings(seed=self.config.rounds.seed),
            ),
        )

    def _member(self, index: int) -> Stage:
        teacher, images = self.config.teacher, self.config.images
        name = self.teacher(1)[index]
        common = self.labeled_images()
        seed = settings(seed=self.seed(index + 1))
        if self.features:
            return Stage(
                name=name,
                module="teacher.probe",
                arguments=(
                    *settings(features=self.features),
                    *common,
                    *seed,
                    *assignments(teacher.settings),
                    *words(teacher.flags),
                ),
                output_flag="workdir",
            )
        fold = settings(folds=teacher.folds, fold=str(index)) if teacher.folds else ()
        unlabeled = (
            *sources(unlabeled=images.unlabeled),
            *settings(consistency=teacher.consistency),
            *each("exclude", images.excluded(), Kind.SOURCE),
            *settings(unlabeled_image_feature=images.unlabeled_image_feature),
        )
        return Stage(
            name=name,
            module="teacher.train",
            arguments=(
                *self.recipe(teacher.preset),
                *common,
                *(unlabeled if images.unlabeled else ()),
                *seed,
                *fold,
                *self.device(),
                *assignments(teacher.settings),
                *words(teacher.flags),
            ),
            output_flag="workdir",
        )

    def _teacher_evaluation(self) -> Stage:
        return Stage(
            name="round-1/teacher/evaluation",
            module="teacher.evaluate",
            arguments=(*reads(teacher=self.teacher(1)), *self.test_images()),
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
                *self.source_flags(),
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
                *self.unlabeled_images(),
                *reads(teacher=self.teacher(number)),
                *self.calibration_of(number),
                *settings(embeddings=self.compares or bool(self.neighbors)),
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
                *self.source_flags(),
                *reads(teacher=self.teacher(number)),
                *settings(embeddings=True),
                *self.local_labeling(),
            ),
        )

    def _blended_predictions(self, number: int) -> Stage:
        return self.job(
            f"round-{number}/predictions",
            "beam_jobs.propagate_labels",
            *reads(
                predictions=f"round-{number}/teacher_predictions",
                labeled=f"round-{number}/labeled_predictions",
            ),
            *settings(neighbors=self.neighbors, embeddings=self.compares),
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
                *settings(embeddings=self.compares),
                *self.local_labeling(),
                *settings(image_feature=images.image_feature),
            ),
        )

    # --- selection and students --------------------------------------------------

    def _selection(self, number: int) -> Stage:
        chosen = self.config.selection
        return self.job(
            f"round-{number}/selection",
            "beam_jobs.select_labels",
            *reads(
                predictions=f"round-{number}/predictions",
                exclude=self.all_excluded(number),
            ),
            *settings(
                duplicate_bits=chosen.duplicate_bits,
                duplicate_similarity=chosen.duplicate_similarity,
            ),
            *words(chosen.flags),
            *self.calibration_of(number),
            *self.threshold(number),
            *settings(
                images_per_class=chosen.images_per_class, max_copies=chosen.max_copies
            ),
        )

    def _dataset(self, number: int) -> Stage:
        return self.job(
            f"round-{number}/dataset",
            "beam_jobs.write_records",
            *self.unlabeled_images(),
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
                *self.unlabeled_images(),
                *reads(
                    predictions=f"round-{number}/predictions",
                    selection=f"round-{number}/selection",
                    exclude=self.all_excluded(number),
                ),
                *each("exclude_images", images.excluded(), Kind.SOURCE),
                *settings(excluded_image_feature=images.image_feature),
            ),
            beam_options=runners.local_options(self.config.runner),
        )

    def _student(self, number: int) -> Stage:
        return self.training(
            f"round-{number}/student",
            *reads(pseudo_labeled=f"round-{number}/dataset"),
            *settings(seed=self.seed(_FIRST_STUDENT + number - 1)),
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
                *self.test_images(),
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
            *self.all_excluded(1),
        )
        return self.training(
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
            arguments=(*reads(student="control"), *self.test_images()),
        )


def choice_stages(config: RunConfig) -> dict[str, Stage]:
    """Returns what chooses for the preset `auto`, and what that needs, by name."""
    prepared = Chain(config, Chosen(), 1).preparation()
    return {**prepared, CHOICE: _choice(config, tuple(prepared))}


def _choice(config: RunConfig, after: tuple[str, ...]) -> Stage:
    teacher, images = config.teacher, config.images
    needs_network = (
        teacher.num_members > 1
        or teacher.folds
        or teacher.consistency == "on"
        or config.labeling.neighbors
        or (not teacher.features and (teacher.settings or teacher.flags))
    )
    return Stage(
        name=CHOICE,
        module="workflow.choose",
        after=after,
        arguments=(
            *sources(labeled=images.labeled, images=images.unlabeled),
            *places(data_dir=images.data_dir),
            *sources(class_names=images.class_names),
            *settings(
                image_feature=images.image_feature,
                label_feature=images.label_feature,
                unlabeled_image_feature=images.unlabeled_image_feature,
                features=teacher.features,
                network=bool(needs_network),
                tpu=bool(config.runner.tpu),
                minutes=config.rounds.minutes,
            ),
            *(assignments(teacher.settings) if teacher.features else ()),
        ),
    )
