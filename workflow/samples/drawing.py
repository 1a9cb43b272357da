"""Draws the tiles of the contact sheets: chooses images, reads them, makes thumbnails.

Runs in one process without Beam: the choice is one pass over a few columns of at most a
few dozen shards, about a second, after which a few hundred images are read. Starting
workers would take longer.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from etils import epath

from classifier.data import shard_manifest
from classifier.data.examples import Example
from classifier.data.python_reader import read_examples
from classifier.data.readers import FolderReader
from classifier.data.sources import Source, open_source
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import PredictionSet, open_predictions
from pseudo_label.selection.decision import SELECTION, Selection, open_selection
from stage import artifact, typed_json
from stage.cli import Log
from workflow.samples import choice, tiles
from workflow.samples.choice import SampleConfig
from workflow.samples.thumbnails import Thumbnail, make_thumbnail
from workflow.samples.tiles import Sample

#: Number of files that are read at once; each may be remote.
_READ_AT_ONCE = 4
_SHA256_OF_NOTHING = hashlib.sha256(b"").digest()
#: Columns that a candidate and a sample share.
_SHARED = ("sheet", "key", "shard", "row", "label", "confidence", "copies", "twin_key")


class SamplingError(RuntimeError):
    """An image is missing or is not the one that was labeled."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawingRequest:
    """The inputs, as the flags of `workflow.sample_images` describe them.

    `spec`, `data_dir` and `image_feature` are arguments of `open_source`;
    `excluded_image_feature` is that of `exclude_images`.
    """

    spec: str
    predictions: str
    selection: str
    exclude: Sequence[str] = ()
    exclude_images: Sequence[str] = ()
    data_dir: str | None = None
    image_feature: str | None = None
    excluded_image_feature: str | None = None

    def __post_init__(self) -> None:
        if self.exclude_images and len(self.exclude_images) != len(self.exclude):
            raise ValueError(
                "expected as many --exclude_images as --exclude, or none, got "
                f"{len(self.exclude_images)} and {len(self.exclude)}"
            )


@dataclasses.dataclass(frozen=True)
class LabeledSet:
    """Images and their predictions."""

    source: Source
    predictions: PredictionSet


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawingJob:
    """A drawing with checked inputs.

    `excluded` holds the excluded sets whose images are available, by the name that
    their predictions have in the selection.
    """

    corpus: LabeledSet
    selection: Selection
    selection_directory: str
    excluded: Mapping[str, LabeledSet]
    settings: SampleConfig
    output: str

    @property
    def config(self) -> dict[str, Any]:
        """Config of the artifact."""
        decision = epath.Path(self.selection_directory) / SELECTION
        return {
            "sample_version": tiles.VERSION,
            "predictions": self.corpus.predictions.fingerprint,
            "selection": hashlib.sha256(decision.read_bytes()).hexdigest(),
            "excluded": {
                name: labeled.predictions.fingerprint
                for name, labeled in self.excluded.items()
            },
            "settings": dataclasses.asdict(self.settings),
            "num_shards": self.corpus.predictions.num_shards,
            "num_shards_drawn_from": len(self.shards),
        }

    @functools.cached_property
    def shards(self) -> list[int]:
        """Input shards that the tiles are taken from."""
        num_shards = self.corpus.predictions.num_shards
        return choice.choose_shards(num_shards, self.settings)

    @property
    def sets(self) -> dict[str, LabeledSet]:
        """All sets with images; the corpus has the empty name."""
        return {"": self.corpus, **self.excluded}


@dataclasses.dataclass(frozen=True)
class ImageLocation:
    """Location of an image: a name of `DrawingJob.sets`, an input shard and a row."""

    set_name: str
    shard: int
    row: int


def plan(request: DrawingRequest, settings: SampleConfig, *, output: str) -> DrawingJob:
    """Returns the job, after checking that its inputs exist and belong together."""
    predictions = open_predictions(request.predictions)
    selection = open_selection(request.selection, predictions)
    excluded = _open_excluded(request)
    source = open_source(
        request.spec, data_dir=request.data_dir, image_feature=request.image_feature
    )
    return DrawingJob(
        corpus=_match(source, predictions),
        selection=selection,
        selection_directory=request.selection,
        excluded=excluded,
        settings=settings,
        output=output,
    )


def run(job: DrawingJob, *, log: Log = lambda line: None) -> None:
    """Draws the tiles and writes them.

    Raises:
        SamplingError: If an image is not the one that was labeled.
        ValueError: If predictions cannot be read.
        OSError: If images cannot be read.
    """
    artifact.delete_unfinished(job.output)
    with concurrent.futures.ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        found = pool.map(functools.partial(_find_candidates, job), job.shards)
        chosen = choice.choose(found, job.settings).to_pylist()
        shards = _rows_by_shard(job, chosen)
        num_images = sum(len(rows) for _, _, rows in shards)
        log(f"reading {num_images:,} images of {len(shards):,} shards")
        made = pool.map(lambda shard: _make_thumbnails(job, *shard), shards)
        thumbnails = dict(itertools.chain.from_iterable(part.items() for part in made))
    tiles.write_samples(job.output, _to_samples(chosen, thumbnails))


def format_summary(job: DrawingJob) -> str:
    """Returns the number of tiles drawn, by sheet, as a line."""
    count = collections.Counter(tile.sheet for tile in tiles.read_samples(job.output))
    sheets = ", ".join(f"{count[sheet]} {sheet}" for sheet in tiles.SHEETS)
    return (
        f"drew {count.total():,} tiles from {len(job.shards):,} of "
        f"{job.corpus.predictions.num_shards:,} shards: {sheets}"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Excluded:
    """What is read of a selection's `config.json`: fingerprints by name of a set."""

    excluded: dict[str, str] = dataclasses.field(default_factory=dict)


def _open_excluded(request: DrawingRequest) -> dict[str, LabeledSet]:
    """Opens the excluded sets; returns those whose images are available, by name."""
    config = epath.Path(request.selection) / artifact.CONFIG
    fingerprints = typed_json.read(config, _Excluded).excluded
    excluded = {}
    pairs = itertools.zip_longest(request.exclude, request.exclude_images)
    for directory, spec in pairs:
        predictions = open_predictions(directory)
        names = [n for n, f in fingerprints.items() if f == predictions.fingerprint]
        if not names:
            raise ValueError(
                f"--exclude={directory} is none of the sets that {request.selection} "
                f"excludes: {', '.join(fingerprints) or 'none'}"
            )
        if spec is not None:
            source = open_source(
                spec,
                data_dir=request.data_dir,
                image_feature=request.excluded_image_feature,
            )
            excluded.update(dict.fromkeys(names, _match(source, predictions)))
    return excluded


def _match(source: Source, predictions: PredictionSet) -> LabeledSet:
    """Returns images with their predictions; raises ValueError if they do not match."""
    matched = shard_manifest.match_predictions(source, predictions.directory)
    return LabeledSet(matched, predictions)


def _find_candidates(job: DrawingJob, shard: int) -> pa.Table:
    """Returns the candidates of one input shard."""
    dropped = near_duplicates.read_dropped_rows(
        job.selection_directory,
        shard,
        choice.DROPPED_COLUMNS,
        selection=job.selection.fingerprint,
    )
    found = [
        choice.find_candidates(
            rows, dropped, job.selection, shard=shard, config=job.settings
        )
        for rows in prediction_schema.read_rows(
            job.corpus.predictions.path(shard), choice.COLUMNS
        )
    ]
    return choice.choose(found, job.settings)


def _rows_by_shard(
    job: DrawingJob, chosen: Iterable[Mapping[str, Any]]
) -> list[tuple[str, int, list[int]]]:
    """Returns the name of the set, the shard, and its rows to read, ascending."""
    shards = collections.defaultdict(list)
    for at in {find(tile) for tile in chosen for find in (_location, _match_location)}:
        if at.set_name in job.sets:
            shards[at.set_name, at.shard].append(at.row)
    return [(*shard, sorted(shards[shard])) for shard in sorted(shards)]


def _location(tile: Mapping[str, Any]) -> ImageLocation:
    return ImageLocation("", tile["shard"], tile["row"])


def _match_location(tile: Mapping[str, Any]) -> ImageLocation:
    return ImageLocation(tile["twin_set"], tile["twin_shard"], tile["twin_row"])


def _make_thumbnails(
    job: DrawingJob, set_name: str, shard: int, rows: Sequence[int]
) -> dict[ImageLocation, Thumbnail]:
    """Returns the thumbnails of some images of a shard, except for empty files."""
    labeled = job.sets[set_name]
    path = labeled.predictions.path(shard)
    table = prediction_schema.read_table(path, ["key", "image_sha256"]).take(rows)
    expected = {
        row: (f"shard {shard}, row {row} ({key})", digest)
        for row, key, digest in zip(rows, *table.to_pydict().values(), strict=True)
        if digest != _SHA256_OF_NOTHING
    }
    made = {}
    for row, example in examples_at(labeled.source, shard, list(expected)):
        where, digest = expected.pop(row)
        if hashlib.sha256(example.image).digest() != digest:
            reason = f" ({example.status}: {example.error})" if example.error else ""
            raise SamplingError(
                f"{where}: the image is not the one that was labeled{reason}"
            )
        thumbnail = make_thumbnail(example.image, job.settings.thumbnail_size)
        made[ImageLocation(set_name, shard, row)] = thumbnail
    for where, _ in expected.values():
        raise SamplingError(f"{where}: expected the image that was labeled, found none")
    return made


def examples_at(
    source: Source, shard: int, rows: Sequence[int]
) -> Iterator[tuple[int, Example]]:
    """Yields rows of a shard, ascending; reads no further than the last of them."""
    files = source.shards[shard].files
    if isinstance(source.reader, FolderReader):  # One image per file.
        files = tuple(files[row] for row in rows)
        yield from zip(rows, read_examples(source.reader, files), strict=True)
        return
    wanted = set(rows)
    examples = enumerate(read_examples(source.reader, files))
    for row, example in itertools.islice(examples, max(rows, default=-1) + 1):
        if row in wanted:
            yield row, example


def _to_samples(
    chosen: Iterable[Mapping[str, Any]], thumbnails: Mapping[ImageLocation, Thumbnail]
) -> Iterator[Sample]:
    """Yields the tiles; `chosen` is ordered by sheet."""
    positions: collections.Counter[str] = collections.Counter()
    no_thumbnail = Thumbnail(None)
    for tile in chosen:
        thumbnail = thumbnails.get(_location(tile), no_thumbnail)
        reasons = [tile["reason"]]
        if tile["label"] is not None and thumbnail.error:
            reasons.append(f"no thumbnail: {thumbnail.error}")
        yield Sample(
            **{name: tile[name] for name in _SHARED},
            position=positions[tile["sheet"]],
            reason="; ".join(filter(None, reasons)),
            thumbnail=thumbnail.encoded,
            twin_thumbnail=thumbnails.get(_match_location(tile), no_thumbnail).encoded,
        )
        positions[tile["sheet"]] += 1
