"""The labeling job: plan, run, check that every shard is labeled."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow.compute as pc
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs.io import shards
from beam_jobs.labeling import worker as labeling_worker
from beam_jobs.labeling.progress import Progress
from beam_jobs.labeling.worker import (
    Labeling,
    LabelingError,
    LabelShards,
    PredictorLoader,
    Teachers,
)
from beam_jobs.runners import run as runners
from beam_jobs.runners.options import PipelineJob
from classifier.data import orientation, python_reader, shard_manifest
from classifier.data.class_names import read_class_names
from classifier.data.image_header import MAX_PIXELS
from classifier.data.sources import Shard, Source
from classifier.export.facts import ClassifierFacts, read_facts
from classifier.export.saved_model import embedding_size, read_ensemble_facts
from classifier.inference import engine, engine_autotune
from classifier.inference.engine import AUTO, Engine
from classifier.inference.ensemble import Classifier
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.embeddings import EMBEDDING, EMBEDDING_NORM
from pseudo_label.predictions.prediction_set import SUMMARY
from pseudo_label.predictions.schema import TRUE_LABEL, ShardFacts
from stage import artifact, licenses, parts, typed_json
from stage.calibration_files import read_temperature
from stage.cli import Log
from stage.licenses import Ledger, Origin
from stage.parts import WHOLE, Part
from stage.status import CORRUPT_RECORD, OK
from stage.system import read_in_parallel
from stage.text import printable
from stage.validation import check, check_positive

#: Most images without prediction that the summary names.
_MAX_NAMED = 3
_LOST = "one corrupt_record may stand for all images that are lost with it"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelingConfig:
    """Values of the flags of `beam_jobs.label_images`, which describe them."""

    teachers: Sequence[str] = ()
    model_handler: str | None = None
    class_names_file: str | None = None
    calibration: str | None = None
    top_k: int = 10
    engine: str = AUTO
    dtype: str = AUTO
    embeddings: bool = False
    max_pixels: int = MAX_PIXELS
    max_bad_fraction: float = 0.5
    allow_new_shards: bool = False

    def __post_init__(self) -> None:
        if bool(self.teachers) == bool(self.model_handler):
            raise ValueError("expected one of --teacher and --model_handler")
        if self.model_handler and self.embeddings:
            raise ValueError("--embeddings needs --teacher, got --model_handler")
        if self.model_handler and not self.class_names_file:
            raise ValueError("--model_handler needs --class_names")
        needs = self.model_handler or self.embeddings
        if self.class_names_file and not needs:
            raise ValueError("--class_names needs --model_handler or --embeddings")
        if self.model_handler and self.calibration:
            raise ValueError("--calibration needs --teacher, got --model_handler")
        if self.model_handler and {self.engine, self.dtype} != {AUTO}:
            raise ValueError("--engine and --dtype need --teacher, got --model_handler")
        check(
            0 <= self.max_bad_fraction <= 1,
            f"max_bad_fraction must be in [0, 1], got {self.max_bad_fraction}",
        )
        check_positive("max_pixels", self.max_pixels)


@dataclasses.dataclass(frozen=True)
class LabelingJob:
    """A labeling job and the config that identifies it.

    `image_multiply_adds` are those of all members for one image; None if they were not
    counted.
    """

    labeling: Labeling
    config: dict[str, Any]
    image_multiply_adds: float | None = None


def plan(
    source: Source,
    settings: LabelingConfig,
    *,
    output: str,
    part: Part = WHOLE,
    threads: int = 0,
    accelerator: str | None = None,
    log: Log = lambda line: None,
) -> LabelingJob:
    """Returns the job, after checking its inputs.

    An earlier run to `output` has numbered the shards of the source, of which a `part`
    is labeled. A worker process computes with `threads` threads, 0 for all cores, and
    on the `accelerator` that it was given; `log` receives the timings of the engines.
    """
    artifact.check_startable(output)
    predictor, described = (
        _plan_handler(settings)
        if settings.model_handler
        else _plan_teachers(source, settings, output, threads, accelerator, log)
    )
    config = {
        "images": source.describe(),
        **described,
        "top_k": min(settings.top_k, len(described["class_names"])),
        "max_pixels": settings.max_pixels,
    }
    labeling = Labeling(
        reader=source.reader,
        num_shards=len(source.shards),
        predictor=predictor,
        top_k=config["top_k"],
        output=output,
        # Without the images, to which shards may be added.
        fingerprint=artifact.config_fingerprint(config, leaving_out="images"),
        max_bad_fraction=settings.max_bad_fraction,
        more_columns=_more_columns(config),
        part=part,
    )
    return LabelingJob(labeling, config, _count_multiply_adds(settings))


def _count_multiply_adds(settings: LabelingConfig) -> float | None:
    """Returns the multiply-adds of all members for one image, if all were counted."""
    if settings.model_handler:
        return None
    facts = map(read_facts, settings.teachers)
    counts = [member.image_multiply_adds for member in facts]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _more_columns(config: dict[str, Any]) -> list[str]:
    """Returns the columns besides those of all predictions."""
    settings = {
        EMBEDDING: "embedding_size",
        EMBEDDING_NORM: "has_embedding_norms",
        TRUE_LABEL: "has_true_labels",
    }
    return [name for name, setting in settings.items() if config.get(setting)]


@contextlib.contextmanager
def beginning(
    source: Source, job: LabelingJob, settings: LabelingConfig
) -> Iterator[bool]:
    """Starts or resumes the output and freezes its shards, see `artifact.beginning`."""
    labeling = job.labeling
    may_change = "images" if settings.allow_new_shards else ""
    with artifact.beginning(
        labeling.output,
        job.config,
        may_change=may_change,
        part=labeling.part,
        scratch=(),
    ) as is_complete:
        if not is_complete:
            _freeze(source, labeling, settings)
        yield is_complete


def trace(
    source: Source, settings: LabelingConfig, stated: Mapping[str, str]
) -> Ledger:
    """Returns what the predictions are made of; `stated` is of `licenses.parse`."""
    ledger = licenses.inherit(settings.teachers)
    if settings.model_handler:
        name = licenses.public_name(settings.model_handler)
        handler = Origin(kind="weights", name=name)
        ledger = (licenses.state(handler, stated.get("model_handler")),)
    return licenses.merge(ledger, [source.origin(stated.get("images"))])


def _freeze(source: Source, labeling: Labeling, settings: LabelingConfig) -> None:
    try:
        shard_manifest.freeze(
            source,
            labeling.output,
            allow_new_shards=settings.allow_new_shards,
            is_shared=not labeling.part.is_whole,
        )
    except OSError as error:
        raise OSError(f"cannot write to {labeling.output}: {error}") from error


def run(labeling: Labeling, options: PipelineOptions, *, log: Log) -> dict[str, float]:
    """Labels the shards that are not labeled yet and logs the progress.

    Returns:
        `images_per_second` of this run from the first shard's start to the last one's
        end; empty if nothing was labeled or the runner has no metrics.
    """

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Shards" >> shards.Shards(labeling.num_shards, labeling.part)
            | "Label" >> beam.ParDo(LabelShards(labeling))
        )

    delete_unfinished = functools.partial(
        artifact.delete_unfinished, labeling.output, _own_names(labeling)
    )
    with Progress(labeling, log) as progress:
        missing = len(labeling.own_shards) - progress.count_shards()
        if not missing:
            delete_unfinished()
            return {}
        job = PipelineJob(
            build=build,
            output=labeling.output,
            prepare=delete_unfinished,
            count_done=progress.count_shards,
            units=missing,
        )
        result = runners.run_pipeline(job, options, log=log)
    # Left by workers that were killed while others went on.
    delete_unfinished()
    return _speed(result)


def _own_names(labeling: Labeling) -> set[str] | None:
    """Returns the names of the part's files; None for all, if there is one part."""
    if labeling.part.is_whole:
        return None
    return {labeling.path(index).name for index in labeling.own_shards}


def describe_rest(labeling: Labeling) -> str:
    """Returns a line about shards that other parts have yet to label; or nothing."""
    if labeling.part.is_whole:
        return ""
    found = prediction_schema.list_files(labeling.output)
    total = labeling.num_shards
    done = sum(prediction_schema.shard_name(index) in found for index in range(total))
    return parts.describe_rest(labeling.part, done=done, total=total, what="labeled")


def finish(
    labeling: Labeling,
    images: Iterable[Shard],
    *,
    image_multiply_adds: float | None = None,
    images_per_second: float | None = None,
) -> str:
    """Writes `summary.json`; returns its content as a line for the user.

    Raises:
        RuntimeError: If a shard has no predictions or those of another job, the
            source has no image, or too many images are bad.
    """
    counts: collections.Counter[str] = collections.Counter()
    listed = prediction_schema.list_files(labeling.output)
    facts = read_in_parallel(functools.partial(_read_facts, labeling, listed), images)
    for of_shard in facts:
        counts.update(of_shard.status_counts)
    if not counts.total():
        raise LabelingError("expected images in the source, got none")
    labeling_worker.check_bad_fraction(counts, labeling.max_bad_fraction)
    status = dict(sorted(counts.items()))
    checksums = [of_shard.checksum for of_shard in facts]
    summary = {"images": counts.total(), "status": status, "checksums": checksums}
    if turned := sum(of_shard.turned for of_shard in facts):
        summary["turned"] = turned
    if image_multiply_adds is not None:
        summary["multiply_adds"] = counts[OK] * image_multiply_adds
    artifact.write_json(epath.Path(labeling.output) / SUMMARY, summary)
    bad = ", ".join(f"{count} {name}" for name, count in status.items() if name != OK)
    unlabeled = counts.total() - counts[OK]
    speed = f", {images_per_second} a second once the workers had started"
    return (
        f"labeled {counts[OK]:,} of {counts.total():,} images"
        + (f" ({bad})" if bad else "")
        + (speed if images_per_second else "")
        + (f"; {_LOST}" if counts[CORRUPT_RECORD] else "")
        + (_name_unlabeled(labeling, facts, unlabeled) if unlabeled else "")
        + (f"; {orientation.describe(turned, 'them')}" if turned else "")
    )


def _name_unlabeled(labeling: Labeling, facts: Sequence[ShardFacts], count: int) -> str:
    """Returns in words the first of so many images without prediction."""
    names: list[str] = []
    for index, of_shard in enumerate(facts):
        if of_shard.status_counts.keys() - {OK}:
            rows = prediction_schema.read_table(labeling.path(index), ["key", "status"])
            bad = rows.filter(pc.not_equal(rows["status"], OK))
            names += bad["key"].slice(0, _MAX_NAMED - len(names)).to_pylist()
        if len(names) == _MAX_NAMED:
            break
    named = ", ".join(map(printable, names)) + (", ..." if count > len(names) else "")
    return f"; no prediction for {named}; docs/faults.md shows how to list them"


def _read_facts(
    labeling: Labeling, listed: Mapping[str, epath.Path], shard: Shard
) -> ShardFacts:
    name = prediction_schema.shard_name(shard.index)
    return prediction_schema.read_own_facts(
        listed.get(name) or labeling.path(shard.index),
        fingerprint=labeling.fingerprint,
        shard=labeling_worker.fingerprint(shard),
    )


def _plan_handler(
    settings: LabelingConfig,
) -> tuple[PredictorLoader, dict[str, Any]]:
    # Lazy: Beam's handlers import every framework that is installed.
    from beam_jobs.labeling.model_handler import ModelHandlerLoader

    class_names = list(read_class_names(str(settings.class_names_file)))
    loader = ModelHandlerLoader(
        spec=str(settings.model_handler),
        num_classes=len(class_names),
        max_pixels=settings.max_pixels,
    )
    return loader, {
        "teachers": [loader.fingerprint()],
        "class_names": class_names,
        "temperature": 1.0,
    }


def _plan_teachers(
    source: Source,
    settings: LabelingConfig,
    output: str,
    threads: int,
    accelerator: str | None,
    log: Log,
) -> tuple[PredictorLoader, dict[str, Any]]:
    facts = read_ensemble_facts(settings.teachers)
    more = {}
    if settings.embeddings:
        more = _describe_embeddings(source, settings, facts, log)
    temperature = _find_temperature(facts, settings.calibration)
    networks = {member.network for member in facts}
    chosen = _choose_engine(source, settings, networks, output, log)
    loader = Teachers(
        directories=settings.teachers,
        engine=chosen,
        threads=threads,
        max_pixels=settings.max_pixels,
        temperature=temperature,
        embeddings=settings.embeddings,
        accelerator=accelerator,
    )
    return loader, {
        "teachers": [member.fingerprint for member in facts],
        "class_names": facts[0].class_names,
        "temperature": temperature,
        "engine": chosen.name,
        "dtype": chosen.dtype,
        **more,
    }


def _describe_embeddings(
    source: Source,
    settings: LabelingConfig,
    facts: Sequence[ClassifierFacts],
    log: Log,
) -> dict[str, Any]:
    """Returns what `prediction_set.LabelingFacts` says of the embeddings.

    Labels are stored if they are classes of the teacher: folders of an unlabeled source
    may have other names.
    """
    sizes = []
    for directory in settings.teachers:
        sizes.append(embedding_size(directory))
        if not sizes[-1]:
            raise ValueError(
                f"{directory}: --embeddings needs a network that gives them; this one "
                "was exported by an earlier version, or has no pooled features: train "
                "another, or label without"
            )
    names = tuple(facts[0].class_names)
    if source.class_names is not None and source.class_names != names:
        log(
            "no labels are stored, as images and teacher have other classes: "
            f"{_describe_other_classes(source.class_names, names)}"
        )
    described: dict[str, Any] = {
        "embedding_size": sum(sizes),
        "has_true_labels": source.class_names == names,
    }
    if len(facts) == 1:
        described["has_embedding_norms"] = True
        if facts[0].features:
            described["features"] = facts[0].features
    return described


def _describe_other_classes(ours: Sequence[str], teachers: Sequence[str]) -> str:
    """Returns in words how two lists of class names differ."""
    parts = [
        f"{len(names)} only in the {whose} ({', '.join(map(repr, names[:3]))}"
        f"{', ...' if len(names) > 3 else ''})"
        for whose, names in (
            ("images", sorted(set(ours) - set(teachers))),
            ("teacher", sorted(set(teachers) - set(ours))),
        )
        if names
    ]
    return " and ".join(parts) or "another order"


def _find_temperature(facts: list[ClassifierFacts], directory: str | None) -> float:
    """Returns the temperature of the calibration, or else of all teachers."""
    if directory is not None:
        teachers = [member.fingerprint for member in facts]
        return read_temperature(directory, teachers=teachers)
    own = {member.temperature for member in facts}
    if len(own) > 1:
        raise ValueError(
            f"expected teachers of one temperature, got {sorted(own)}: give a "
            "--calibration of them"
        )
    return float(own.pop())


def _choose_engine(
    source: Source,
    settings: LabelingConfig,
    networks: Collection[str],
    output: str,
    log: Log,
) -> Engine:
    """Returns the engine of the settings or of the first run, else the fastest one.

    It runs all kinds of networks that the teachers have.
    """
    candidates = engine.candidates(settings.engine, settings.dtype, networks)
    path = epath.Path(output) / artifact.CONFIG
    if path.exists():
        return _engine_of_first_run(path, settings) or candidates[0]
    if len(candidates) == 1:
        return candidates[0]
    read = python_reader.read_examples(source.reader, source.shards[0].files)
    good = (example for example in read if example.status == OK and example.image)
    examples = list(itertools.islice(good, engine_autotune.NUM_IMAGES))
    with tempfile.TemporaryDirectory() as scratch:
        teacher = Classifier(
            labeling_worker.fetch_teacher(settings.teachers[0], scratch)
        )
        timings = engine_autotune.time_engines(teacher, candidates, examples)
    chosen = engine_autotune.choose(timings)
    for line in engine_autotune.describe(timings, chosen, teacher.reference):
        log(line)
    return chosen


@dataclasses.dataclass(frozen=True, kw_only=True)
class _FirstRun:
    """The engine in a `config.json`.

    Other outputs than a teacher's predictions have none, and no `dtype` has a job begun
    before the rename. They are refused as other settings.
    """

    engine: str | None = None
    dtype: str | None = None


def _engine_of_first_run(path: epath.Path, settings: LabelingConfig) -> Engine | None:
    """Returns the engine that an output was begun with, unless settings name another.

    None if it was begun with other settings: then no engine need be tried. Raises
    ValueError if something else was begun there.
    """
    first_run = typed_json.read(path, _FirstRun)
    if first_run.engine is None and first_run.dtype is None:
        raise ValueError(
            f"{path.parent} was not begun by labeling with teachers; choose another "
            "output"
        )
    if first_run.engine is None or first_run.dtype is None:
        return None
    return Engine(
        first_run.engine if settings.engine == AUTO else settings.engine,
        first_run.dtype if settings.dtype == AUTO else settings.dtype,
    )


def _speed(result: Any) -> dict[str, float]:
    """Returns the images per second, from the first shard's start to the last end."""
    try:
        every = MetricsFilter().with_namespace(labeling_worker.NAMESPACE)
        found = result.metrics().query(every)
    except Exception:  # Not every runner has metrics; the job itself is complete.
        return {}
    images = sum(counter.committed or 0 for counter in found["counters"])
    times = {
        distribution.key.metric.name: distribution.committed
        for distribution in found["distributions"]
        if distribution.committed is not None
    }
    if not images or len(times) < 2:
        return {}
    seconds = (times["ended_ms"].max - times["started_ms"].min) / 1000
    if seconds <= 0:  # The clock was set back.
        return {}
    return {"images_per_second": round(images / seconds, 1)}
