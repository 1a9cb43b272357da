"""The settings of a run, one dataclass for each section of the run file.

`docs/run_file.md` is made of the docstrings here (`python -m workflow settings`).
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
from typing import Any, Literal, TypeAlias

from stage.flags import MAX_SEED, is_folder_source
from stage.typed_json import Count, PositiveCount, Share
from stage.validation import check

#: Preset that is chosen by images, machine and time.
AUTO = "auto"
#: Stages that prepare images: names of their directories.
DIGITS, SPLIT = "data", "split"
#: Most rounds, members, folds and excluded sources: their numbers are part of seeds.
MAX_NUMBERED = 20
#: Settings of a recipe by path, such as `optimizer.warmup_steps`, as in `--set`.
Settings: TypeAlias = dict[str, Any]
#: Settings without which nothing runs on Dataflow, with examples.
_NEEDED_BY_DATAFLOW = {
    "project": "my-project",
    "region": "us-central1",
    "bucket": "my-bucket",
}
#: A name that Google allows for a bucket.
_BUCKET = re.compile(r"[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9]")
#: Parts of names that Google keeps for itself.
_OF_GOOGLE = re.compile("^goog|google")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DigitsSection:
    """Handwritten digits as the images, which the run prepares: those of the demo.

    Attributes:
        labels_per_class: Number of labeled images of each digit; 0: no digits.
        calibration_images: Number of labeled images to calibrate on.
    """

    labels_per_class: Count = 0
    calibration_images: Count = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSection:
    """Images. A source is written as in all commands, such as `folder:birds/unlabeled`.

    Attributes:
        labeled: Labeled images to learn from.
        evaluation: Labeled images to measure accuracy on, never learned from; without,
            a fifth of those of a folder is held out.
        unlabeled: Images to label; without, there is only `--until=teacher`.
        calibration: Labeled images to calibrate and compare the teachers of all rounds
            on, never learned from; without, see `teacher.folds` and `teacher.features`.
        exclude: Sources whose images, and duplicates of them, are not selected;
            without, `evaluation`, `labeled` and `calibration`.
        class_names: Text file with one class name a line, for sources without names.
        data_dir: Directory of TFDS datasets; TFDS's own without.
        image_feature: Feature or column of the labeled images' records that holds the
            image, if not the usual.
        label_feature: Feature or column that holds the label, if not the usual.
        unlabeled_image_feature: Feature or column of the unlabeled images' records that
            holds the image, if not the usual.
        digits: See below; without any of the sources above.
    """

    labeled: str = ""
    evaluation: str = ""
    unlabeled: str = ""
    calibration: str = ""
    exclude: tuple[str, ...] | None = None
    class_names: str = ""
    data_dir: str = ""
    image_feature: str = ""
    label_feature: str = ""
    unlabeled_image_feature: str = ""
    digits: DigitsSection = DigitsSection()

    def __post_init__(self) -> None:
        given = (self.labeled, self.evaluation, self.unlabeled, self.calibration)
        check(
            not (self.digits.labels_per_class and any(given)),
            "expected either data.digits or sources of images, got both",
        )

    def excluded(self) -> tuple[str, ...]:
        """Returns the sources whose images are not selected, each once."""
        labeled = (self.evaluation, self.labeled, self.calibration)
        given = labeled if self.exclude is None else self.exclude
        return tuple(dict.fromkeys(filter(None, given)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherSection:
    """The teacher of the first round; that of a later round is the last student.

    Attributes:
        preset: Recipe, or `auto`: recipes of teacher and student are chosen by images,
            machine and `rounds.minutes`.
        settings: Settings of the recipe to change, such as `num_steps`.
        features: Pretrained features of a probe, such as `keras:EfficientNetV2B0`,
            which then is the teacher; without, a network is trained.
        members: Number of networks whose probabilities are averaged; 0: one for each
            fold, or one.
        folds: Number of folds of the labeled images; each member leaves out one, to be
            calibrated on. 0: none.
        consistency: Whether networks also learn from unlabeled images; `auto`: if there
            are few labels.
        flags: Further flags of `teacher.train` or `teacher.probe`.
    """

    preset: str = AUTO
    settings: Settings = dataclasses.field(default_factory=dict)
    features: str = ""
    members: Count = 0
    folds: Count = 0
    consistency: Literal["on", "off", "auto"] = "auto"
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self.folds != 1, "folds must be 0 or at least 2, got 1")
        check(
            max(self.members, self.folds) <= MAX_NUMBERED,
            f"members and folds must be at most {MAX_NUMBERED}",
        )
        check(
            not self.folds or self.members in (0, self.folds),
            f"expected a member for each fold, got members={self.members} and "
            f"folds={self.folds}",
        )
        if self.features:
            given = {
                "members": self.members > 1,
                "folds": bool(self.folds),
                "consistency": self.consistency == "on",
            }
            wrong = [name for name, is_given in given.items() if is_given]
            check(
                not wrong,
                f"expected features without {', '.join(wrong)}: the teacher is one "
                "probe, which learns from labels alone and calibrates itself",
            )

    @property
    def num_members(self) -> int:
        """Number of networks, or probes, of the teacher."""
        return self.members or self.folds or 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelingSection:
    """Labeling all images with the teacher.

    Attributes:
        engine: What runs the teacher: `tensorflow`, `openvino`, `onnxruntime`; `auto`:
            the fastest on this machine.
        dtype: What it multiplies in: `float32`, `bfloat16`; `auto`: the fastest whose
            results agree.
        neighbors: Number of similar images whose labels are blended with the teacher's;
            0: none; without, 10, or 0 with a calibration, whose confidences are the
            teacher's.
        flags: Further flags of `beam_jobs.label_images`.
    """

    engine: Literal["auto", "tensorflow", "openvino", "onnxruntime"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    neighbors: Count | None = None
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(
            (self.neighbors or 0) <= 1000,
            f"neighbors must be at most 1000, got {self.neighbors}",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectionSection:
    """The pseudo-labels to keep.

    Attributes:
        target_precision: Share of the pseudo-labels that should be right, with a
            calibration.
        confidence_threshold: Lowest confidence to keep, without a calibration. Where
            similar images have another class than the teacher says, both have at most
            0.5.
        images_per_class: Number of records of each class, the most confident images;
            0: the number of images divided by that of classes.
        max_copies: Most records of an image, to fill classes with few images.
        duplicate_bits: Number of the 64 bits of a perceptual hash in which duplicates
            may differ, at most 3; -1 keeps duplicates.
        duplicate_similarity: Lowest cosine similarity of the teacher's features of
            duplicates, such as 0.95; without, features are not compared.
        flags: Further flags of `beam_jobs.select_labels`, such as `--what_if`.
    """

    target_precision: Share = 0.97
    confidence_threshold: Share = 0.51
    images_per_class: Count = 0
    max_copies: PositiveCount = 3
    duplicate_bits: Literal[-1, 0, 1, 2, 3] = 0
    duplicate_similarity: Share | None = None
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(
            self.max_copies <= 1000,
            f"max_copies must be at most 1000, got {self.max_copies}",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentSection:
    """The students of all rounds, and the control.

    Attributes:
        preset: Recipe, or `auto` as for the teacher; without, that of the teacher.
        settings: Settings of the recipe to change, such as `num_steps`.
        flags: Further flags of `student.train`.
    """

    preset: str = ""
    settings: Settings = dataclasses.field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundsSection:
    """How often a student becomes the next teacher.

    Attributes:
        count: Number of rounds; `noisy-student rounds` runs at most so many.
        patience: Number of students in a row without a new best after which
            `noisy-student rounds` stops.
        seed: Random seed of all trainings of the run.
        minutes: Longest time of a round and its control, roughly, for preset `auto`.
    """

    count: PositiveCount = 1
    patience: PositiveCount = 1
    seed: Count = 1
    minutes: PositiveCount = 30

    def __post_init__(self) -> None:
        check(
            self.count <= MAX_NUMBERED,
            f"count must be at most {MAX_NUMBERED}, got {self.count}",
        )
        limit = MAX_SEED // 1000 - 1  # Three digits behind it number the trainings.
        check(self.seed <= limit, f"seed must be at most {limit}, got {self.seed}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataflowSection:
    """Google Cloud, for `runner.name = "dataflow"`; see `docs/dataflow.md`.

    Attributes:
        project: Project that pays.
        region: Region, such as us-central1.
        bucket: Name of a bucket in that region, for images and the directories of jobs.
        accelerator: GPU of each labeling worker: nvidia-tesla-t4 or nvidia-l4; without,
            none.
        max_workers: Most workers of a job.
        max_hours: Hours after which a job is ended; the same command resumes it.
        machine: Machine type of the workers; without, one that fits.
        worker_account: Service account of the workers; without, noisy-student-rs@
            followed by the project.
        image: Container of the workers; without, that of `make container`.
        images_per_second: Expected throughput of a core or, with an accelerator, of a
            worker, to compare the cost with; 0: unknown.
        options: Further options of Beam, such as --subnetwork=regions/R/subnetworks/S.
    """

    project: str = ""
    region: str = ""
    bucket: str = ""
    accelerator: Literal["", "nvidia-tesla-t4", "nvidia-l4"] = ""
    max_workers: PositiveCount = 10
    max_hours: float = 24.0
    machine: str = ""
    worker_account: str = ""
    image: str = ""
    images_per_second: float = 0.0
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(
            self.images_per_second >= 0,
            f"images_per_second must not be negative, got {self.images_per_second}",
        )
        check(self.max_hours > 0, f"max_hours must be positive, got {self.max_hours}")
        name = self.bucket.removeprefix("gs://")
        is_address = re.fullmatch(r"([0-9]+[.]){3}[0-9]+", name)
        is_name = _BUCKET.fullmatch(name) and (len(name) <= 63 or "." in name)
        check(
            not name
            or bool(is_name and not is_address and not _OF_GOOGLE.search(name)),
            "bucket must be the name of a bucket: 3 to 63 lower-case letters, digits, "
            "hyphens, underscores and dots, with a letter or digit at both ends, and "
            f"not that of Google, got {self.bucket}",
        )

    @property
    def bucket_path(self) -> str:
        """URI of the bucket, with a slash at the end."""
        return f"gs://{self.bucket.removeprefix('gs://')}/"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunnerSection:
    """What runs the stages.

    Attributes:
        name: What runs Beam's jobs: `local`, `flink`, `prism` or `dataflow`.
        beam_options: Options of Beam's runner; without, the usual ones of `name`.
        jobs: Number of stages that run side by side; 0: one for each core.
        threads: Threads of a network's operation; 0: all cores, or one with several
            `jobs`.
        prism: Path of Beam's binary `prism`; without, the one that the shell finds.
        tpu: `vm` trains on the TPU of this host, `pod` on a slice, with this command on
            each host.
        dataflow: See below.
    """

    name: Literal["local", "flink", "prism", "dataflow"] = "local"
    beam_options: tuple[str, ...] | None = None
    jobs: Count = 1
    threads: Count = 0
    prism: str = ""
    tpu: Literal["", "vm", "pod"] = ""
    dataflow: DataflowSection = DataflowSection()

    def __post_init__(self) -> None:
        if self.name == "dataflow":
            for name, example in _NEEDED_BY_DATAFLOW.items():
                check(
                    bool(getattr(self.dataflow, name)),
                    f"expected dataflow.{name}, such as "
                    f"--set=runner.dataflow.{name}={example} (make: {name.upper()}=)",
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All settings of a run.

    Attributes:
        output: Directory of all that the run makes, relative to the run file.
    """

    output: str = "run"
    data: DataSection = DataSection()
    teacher: TeacherSection = dataclasses.field(default_factory=TeacherSection)
    labeling: LabelingSection = LabelingSection()
    selection: SelectionSection = SelectionSection()
    student: StudentSection = dataclasses.field(default_factory=StudentSection)
    rounds: RoundsSection = RoundsSection()
    runner: RunnerSection = RunnerSection()

    @property
    def is_split(self) -> bool:
        """Whether some of the labeled images are held out to evaluate on.

        They stay so when the folder is gone.
        """
        if not self.data.labeled or self.data.evaluation:
            return False
        is_done = os.path.isdir(f"{self.output}/{SPLIT}")
        return is_done or is_folder_source(self.data.labeled)

    @property
    def images(self) -> DataSection:
        """The images, those that the run prepares or holds out included."""
        digits = self.data.digits
        if self.is_split:
            directory = f"{self.output}/{SPLIT}"
            return dataclasses.replace(
                self.data,
                labeled=f"csv:{directory}/labeled.csv",
                evaluation=f"csv:{directory}/evaluation.csv",
            )
        if not digits.labels_per_class:
            return self.data
        held_out = digits.calibration_images
        name = f"digits/labels{digits.labels_per_class}_" + (
            f"calibration{held_out}_" if held_out else ""
        )
        spec = f"tfds:{name}seed{self.rounds.seed}"
        directory = f"{self.output}/data"
        return DataSection(
            labeled=f"{spec}:labeled",
            evaluation=f"{spec}:test",
            unlabeled=f"tfrecord:{glob.escape(directory)}/unlabeled/*.tfrecord",
            calibration=f"{spec}:calibration" if held_out else "",
            exclude=(f"{spec}:labeled+test{'+calibration' if held_out else ''}",),
            data_dir=directory,
        )

    def __post_init__(self) -> None:
        check(bool(self.output), "expected output, the directory to make, got none")
        neighbors = self.labeling.neighbors
        held_out = self.data.calibration or self.data.digits.calibration_images
        is_calibrated = self.teacher.features or self.teacher.folds or held_out
        check(
            not (neighbors and is_calibrated),
            "expected labeling.neighbors = 0 with teacher.features, teacher.folds or "
            "data.calibration, whose confidences are the teacher's, got "
            f"{neighbors}",
        )
        check(
            len(self.data.excluded()) <= MAX_NUMBERED,
            f"expected at most {MAX_NUMBERED} sources in data.exclude",
        )
