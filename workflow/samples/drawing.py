"""Drawing the images of the report's contact sheets, and making them small.

No pipeline: which tiles there are is decided in one pass over the columns of a few
dozen shards, which takes a second, and then a few hundred images are read. Workers
would take longer to start, and what they found would have to come together again.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from etils import epath
from PIL import Image

from classifier.data import shard_manifest
from classifier.data.examples import Example
from classifier.data.image_header import FORMATS, MAX_PIXELS, claimed_pixels
from classifier.data.python_reader import read_examples
from classifier.data.readers import FolderReader
from classifier.data.sources import Source, open_source
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import PredictionSet, open_predictions
from pseudo_label.selection.decision import SELECTION, Selection, open_selection
from stage import artifact
from workflow.samples import choice
from workflow.samples.choice import Sample, SampleConfig

#: Files that are read side by side; each of them may be far away.
_READ_AT_ONCE = 4
_NO_BYTES = hashlib.sha256(b"").digest()
#: Behind what is transparent.
_GRAY = (128, 128, 128)
_JPEG_QUALITY = 75
#: What a tile tells of its image as the sample does.
_SHARED = ("sheet", "key", "shard", "row", "label", "confidence", "copies", "twin_key")
Log = Callable[[str], None]


class SamplingError(RuntimeError):
    """Why an image cannot be shown, in words for the user."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawingRequest:
    """What the user said, as the flags of `workflow.sample_images` explain it."""

    images: str
    predictions: str
    selection: str
    exclude: tuple[str, ...] = ()
    exclude_images: tuple[str, ...] = ()
    data_dir: str | None = None
    image_feature: str | None = None

    def __post_init__(self) -> None:
        if self.exclude_images and len(self.exclude_images) != len(self.exclude):
            raise ValueError(
                "expected as many --exclude_images as --exclude, or none, got "
                f"{len(self.exclude_images)} and {len(self.exclude)}"
            )


@dataclasses.dataclass(frozen=True)
class LabeledSet:
    """Images and what was said of them."""

    source: Source
    predictions: PredictionSet


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawingJob:
    """A drawing whose inputs are there and fit together.

    Attributes:
        corpus: To draw from.
        selection: Which of it is kept.
        selection_directory: Where that is.
        excluded: Sets whose images can be shown, by the selection's names for them.
        settings: What to draw.
        output: Directory of the samples.
    """

    corpus: LabeledSet
    selection: Selection
    selection_directory: str
    excluded: Mapping[str, LabeledSet]
    settings: SampleConfig
    output: str

    @property
    def config(self) -> dict[str, Any]:
        """What decides the content of the samples."""
        decision = epath.Path(self.selection_directory) / SELECTION
        return {
            "sample_version": choice.VERSION,
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
        """All images that can be shown; the name of the corpus is empty."""
        return {"": self.corpus, **self.excluded}


@dataclasses.dataclass(frozen=True)
class ImageLocation:
    """Where an image is: a set of `Job.sets`, an input shard, and the row there."""

    set_name: str
    shard: int
    row: int


@dataclasses.dataclass(frozen=True)
class Thumbnail:
    """A small image, or in words why there is none."""

    encoded: bytes | None
    error: str = ""


def plan(request: DrawingRequest, settings: SampleConfig, *, output: str) -> DrawingJob:
    """Returns the job, after checking that its inputs belong together.

    Raises:
        ValueError: If they do not.
        FileNotFoundError: If one is not there.
    """
    predictions = open_predictions(request.predictions)
    selection = open_selection(request.selection, predictions)
    excluded = _open_excluded(request)
    source = open_source(
        request.images, data_dir=request.data_dir, image_feature=request.image_feature
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
        OSError: If images cannot be.
    """
    artifact.delete_unfinished(job.output)
    with concurrent.futures.ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        found = pool.map(functools.partial(_find_candidates, job), job.shards)
        tiles = choice.choose(found, job.settings).to_pylist()
        shards = _rows_by_shard(job, tiles)
        num_images = sum(len(rows) for _, _, rows in shards)
        log(f"reading {num_images:,} images of {len(shards):,} shards")
        made = pool.map(lambda shard: _make_thumbnails(job, *shard), shards)
        thumbnails = dict(itertools.chain.from_iterable(of.items() for of in made))
    path = epath.Path(job.output) / choice.FILE
    with artifact.replacing(path) as temporary, temporary.open("wb") as file:
        choice.write_samples(file, _to_samples(tiles, thumbnails))


def tell(job: DrawingJob) -> str:
    """Returns what was drawn, in words."""
    count = collections.Counter(tile.sheet for tile in choice.read_samples(job.output))
    sheets = ", ".join(f"{count[sheet]} {sheet}" for sheet in choice.SHEETS)
    return (
        f"drew {count.total():,} tiles from {len(job.shards):,} of "
        f"{job.corpus.predictions.num_shards:,} shards: {sheets}"
    )


def _open_excluded(request: DrawingRequest) -> dict[str, LabeledSet]:
    """Opens the excluded sets; returns those whose images are known, by name."""
    config = artifact.read_json(epath.Path(request.selection) / artifact.CONFIG)
    names: dict[str, str] = config.get("excluded", {})
    excluded = {}
    specs = request.exclude_images or [None] * len(request.exclude)
    for directory, spec in zip(request.exclude, specs, strict=True):
        predictions = open_predictions(directory)
        own = [name for name, one in names.items() if one == predictions.fingerprint]
        if not own:
            raise ValueError(
                f"--exclude={directory} is none of the sets that "
                f"{request.selection} keeps out: {', '.join(names) or 'none'}"
            )
        if spec is not None:
            source = open_source(spec, data_dir=request.data_dir)
            excluded.update(dict.fromkeys(own, _match(source, predictions)))
    return excluded


def _match(source: Source, predictions: PredictionSet) -> LabeledSet:
    """Returns images with what was said of them; raises ValueError if it was not."""
    matched = shard_manifest.match_predictions(source, predictions.directory)
    return LabeledSet(matched, predictions)


def _find_candidates(job: DrawingJob, shard: int) -> pa.Table:
    """Returns what may become tiles of one input shard."""
    dropped = _read_dropped(job.selection_directory, shard)
    found = [
        choice.find_candidates(
            rows, dropped, job.selection, shard=shard, config=job.settings
        )
        for rows in prediction_schema.read_rows(
            job.corpus.predictions.path(shard), choice.COLUMNS
        )
    ]
    return choice.choose(found, job.settings)


def _read_dropped(directory: str, shard: int) -> pa.Table:
    none = (
        near_duplicates.dropped_schema()
        .empty_table()
        .select(list(choice.DROPPED_COLUMNS))
    )
    path = near_duplicates.dropped_path(directory, shard)
    if not path.exists():
        return none
    return pa.concat_tables(
        [none, *prediction_schema.read_rows(path, choice.DROPPED_COLUMNS)]
    )


def _rows_by_shard(
    job: DrawingJob, tiles: Iterable[Mapping[str, Any]]
) -> list[tuple[str, int, list[int]]]:
    """Returns sets, their shards, and the rows that are to be read of each."""
    shards = collections.defaultdict(list)
    for place in {place(tile) for tile in tiles for place in (_place, _twin_place)}:
        if place.set_name in job.sets:
            shards[place.set_name, place.shard].append(place.row)
    return [(*shard, sorted(shards[shard])) for shard in sorted(shards)]


def _place(tile: Mapping[str, Any]) -> ImageLocation:
    return ImageLocation("", tile["shard"], tile["row"])


def _twin_place(tile: Mapping[str, Any]) -> ImageLocation:
    return ImageLocation(tile["twin_set"], tile["twin_shard"], tile["twin_row"])


def _make_thumbnails(
    job: DrawingJob, set_name: str, shard: int, rows: Sequence[int]
) -> dict[ImageLocation, Thumbnail]:
    """Returns the thumbnails of some images of one shard, but of those without a byte.

    Raises:
        SamplingError: If one is not the image that was labeled.
        OSError: If the shard cannot be read.
    """
    labeled = job.sets[set_name]
    path = labeled.predictions.path(shard)
    table = prediction_schema.read_table(path, ["key", "image_sha256"]).take(
        pa.array(rows)
    )
    expected = {
        row: (key, digest)
        for row, key, digest in zip(rows, *table.to_pydict().values(), strict=True)
        if digest != _NO_BYTES
    }
    made = {}
    for row, example in examples_at(labeled.source, shard, list(expected)):
        key, digest = expected.pop(row)
        if hashlib.sha256(example.image).digest() != digest:
            because = f" ({example.status}: {example.error})" if example.error else ""
            raise SamplingError(
                f"shard {shard}, row {row} ({key}): the image is not the one that was "
                f"labeled{because}"
            )
        thumbnail = make_thumbnail(example.image, job.settings.thumbnail_size)
        made[ImageLocation(set_name, shard, row)] = thumbnail
    for row, (key, _) in expected.items():
        raise SamplingError(f"shard {shard}, row {row} ({key}): the image is gone")
    return made


def examples_at(
    source: Source, shard: int, rows: Sequence[int]
) -> Iterator[tuple[int, Example]]:
    """Yields the examples of some rows, ascending, of a shard that is read so far."""
    files = source.shards[shard].files
    if isinstance(source.reader, FolderReader):  # Of one image each.
        files = tuple(files[row] for row in rows)
        yield from zip(rows, read_examples(source.reader, files), strict=True)
        return
    wanted = set(rows)
    examples = enumerate(read_examples(source.reader, files))
    for row, example in itertools.islice(examples, max(rows, default=-1) + 1):
        if row in wanted:
            yield row, example


def make_thumbnail(encoded: bytes, size: int) -> Thumbnail:
    """Returns an image so small that its longer side has `size` pixels at most.

    One that is smaller still is enlarged, each pixel to a square. As for evaluation,
    an animation's first image counts, and no camera's note of which side is up.
    """
    pixels = claimed_pixels(encoded)
    if pixels is None:
        return Thumbnail(None, "no header of an image")
    if pixels > MAX_PIXELS:
        return Thumbnail(None, f"{pixels:,} pixels, expected at most {MAX_PIXELS:,}")
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        image.draft(None, (2 * size, 2 * size))  # Of a JPEG, no more is decoded.
        return Thumbnail(_encode(_resize(_to_eight_bits(image), size)))
    except Exception as error:  # Whatever a broken image does to Pillow's decoders.
        return Thumbnail(None, " ".join(str(error).split()) or type(error).__name__)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits.
        pixels = np.asarray(image).astype(np.uint32) >> 8
        image = Image.fromarray(pixels.astype(np.uint8))
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _resize(image: Image.Image, size: int) -> Image.Image:
    longer = max(image.size)
    if longer <= size:
        factor = size // longer
        width, height = (side * factor for side in image.size)
        return image.resize((width, height), Image.Resampling.NEAREST)
    width, height = (max(1, round(side * size / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


def _encode(image: Image.Image) -> bytes:
    """Returns a JPEG or a PNG, whichever is shorter."""
    if image.mode == "RGBA":
        ground = Image.new("RGBA", image.size, _GRAY)
        image = Image.alpha_composite(ground, image).convert("RGB")
    jpeg, png = io.BytesIO(), io.BytesIO()
    image.save(jpeg, "JPEG", quality=_JPEG_QUALITY)
    image.save(png, "PNG", optimize=True)
    return min(jpeg.getvalue(), png.getvalue(), key=len)


def _to_samples(
    tiles: Iterable[Mapping[str, Any]], thumbnails: Mapping[ImageLocation, Thumbnail]
) -> Iterator[Sample]:
    positions: collections.Counter[str] = collections.Counter()
    for tile in tiles:
        thumbnail = thumbnails.get(_place(tile), Thumbnail(None))
        twin = thumbnails.get(_twin_place(tile), Thumbnail(None))
        reason = tile["reason"]
        if tile["label"] is not None and thumbnail.error:
            reason = f"{reason}; " * bool(reason) + f"no thumbnail: {thumbnail.error}"
        yield Sample(
            **{name: tile[name] for name in _SHARED},
            position=positions[tile["sheet"]],
            reason=reason,
            thumbnail=thumbnail.encoded,
            twin_thumbnail=twin.encoded,
        )
        positions[tile["sheet"]] += 1
