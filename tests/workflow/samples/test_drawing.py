import dataclasses
import io
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from etils import epath
from PIL import Image

from benchmarks.measuring.photographs import make_photographs
from classifier.data.python_reader import read_examples
from classifier.data.readers import read_files
from classifier.data.sources import open_source
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from stage import artifact
from tests import chain
from tests.faults.images import BROKEN, ODD
from tests.images import (
    encode,
    random_images,
    write_folder,
    write_records,
    write_tar,
)
from workflow.samples import choice, drawing
from workflow.samples.choice import SampleConfig

NUM_SHARDS = 6
SEVEN = SampleConfig(per_sheet=7)
#: By shard the rows that are dropped, and their twins: set, shard and row.
DROPPED = {
    1: {2: ("leaked", "x/test", 1, 3), 4: ("duplicate", "", 5, 1)},
    2: {3: ("leaked", "y/other", 0, 5), 5: ("duplicate", "", 2, 6)},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A chain of which some images leaked, or are there twice."""
    found = chain.make(
        tmp_path_factory.mktemp("chain") / "run",
        num_shards=NUM_SHARDS,
        images_per_class=12,
        dropped={shard: list(rows) for shard, rows in DROPPED.items()},
    )
    test = chain.Chain(found.root / "test")
    for shard in range(2):
        path = test.root / "images" / f"part-{shard:02d}"
        write_records(path, random_images(8, seed=9 + shard))
    chain.predict(test, ("0123abc",))
    for shard, rows in DROPPED.items():
        write_dropped(found, shard, rows)
    config = artifact.read_json(epath.Path(test.predictions) / artifact.CONFIG)
    artifact.write_json(
        epath.Path(found.selection) / artifact.CONFIG,
        {"excluded": {"x/test": artifact.config_fingerprint(config), "y/other": "no"}},
    )
    return found


def write_dropped(found, shard, rows):
    columns = {
        "record_index": list(rows),
        "key": [f"part-{shard:02d}#{row}" for row in rows],
        "reason": [reason for reason, *_ in rows.values()],
        "same_bytes": [False] * len(rows),
        "distance": [0] * len(rows),
        "twin_set": [name for _, name, _, _ in rows.values()],
        "twin_shard": [twin_shard for *_, twin_shard, _ in rows.values()],
        "twin_row": [twin_row for *_, twin_row in rows.values()],
        "twin_key": [f"part-{s:02d}#{row}" for _, _, s, row in rows.values()],
    }
    with near_duplicates.dropped_path(found.selection, shard).open("wb") as file:
        near_duplicates.write_dropped(
            file, pa.table(columns, schema=near_duplicates.dropped_schema())
        )


@pytest.fixture
def run(made, tmp_path):
    """A copy of it, to be disturbed."""
    shutil.copytree(made.root, tmp_path / "run")
    return chain.Chain(tmp_path / "run")


def request(found, **more):
    test = chain.Chain(found.root / "test")
    asked = {
        "images": found.images,
        "predictions": found.predictions,
        "selection": found.selection,
        "exclude": (test.predictions,),
        "exclude_images": (test.images,),
    }
    return drawing.DrawingRequest(**{**asked, **more})


def plan(found, settings=SEVEN, **more):
    output = str(found.root / "samples")
    return drawing.plan(request(found, **more), settings, output=output)


def draw(job):
    artifact.start_or_resume(job.output, job.config)
    drawing.run(job)
    return choice.read_samples(job.output)


def images_of(spec):
    """The images by key, read by TensorFlow."""
    source = open_source(spec)
    return {
        example["key"].decode(): example["image"]
        for example in read_files(source.reader, source.files).as_numpy_iterator()
    }


def rows_of(found):
    paths = sorted(pathlib.Path(found.predictions).glob("predictions-*"))
    return {
        row["key"]: row for path in paths for row in pq.read_table(path).to_pylist()
    }


def test_each_tile_shows_its_image(run):
    tiles = draw(plan(run))
    images, rows = images_of(run.images), rows_of(run)
    assert [tile.sheet for tile in tiles] == sorted(
        (tile.sheet for tile in tiles), key=choice.SHEETS.index
    )
    for sheet in choice.SHEETS:
        positions = [tile.position for tile in tiles if tile.sheet == sheet]
        assert positions == list(range(len(positions)))
    assert {tile.sheet for tile in tiles} == set(choice.SHEETS)
    for tile in tiles:
        row = rows[tile.key]
        assert tile.key == f"part-{tile.shard:02d}#{tile.row}"
        assert (tile.label, tile.confidence) == (row["label"], row["confidence"])
        expected = drawing.make_thumbnail(images[tile.key], 96)
        assert tile.thumbnail == expected.encoded is not None


def test_twins_stand_beside_what_was_dropped(run):
    tiles = {t.key: t for t in draw(plan(run)) if t.sheet in ("leaked", "duplicate")}
    corpus, test = (
        images_of(run.images),
        images_of(f"tfrecord:{run.root}/test/images/*"),
    )
    thumbnails = {
        "part-01#2": drawing.make_thumbnail(test["part-01#3"], 96).encoded,
        "part-01#4": drawing.make_thumbnail(corpus["part-05#1"], 96).encoded,
        "part-02#3": None,  # Of a set that was not given.
        "part-02#5": drawing.make_thumbnail(corpus["part-02#6"], 96).encoded,
    }
    assert {key: tile.twin_thumbnail for key, tile in tiles.items()} == thumbnails
    assert tiles["part-02#3"].twin_key == "part-00#5"
    assert tiles["part-02#3"].reason == "looks the same, in y/other"


def test_of_sets_whose_images_are_unknown_only_keys_are_shown(run):
    tiles = draw(plan(run, exclude_images=()))
    (tile,) = [tile for tile in tiles if tile.key == "part-01#2"]
    assert (tile.sheet, tile.reason) == ("leaked", "looks the same, in x/test")
    assert (tile.twin_key, tile.twin_thumbnail) == ("part-01#3", None)
    assert tile.thumbnail is not None


def test_threads_and_blocks_decide_nothing(run, monkeypatch):
    contents = set()
    for threads, rows_at_once in ((1, 1000), (5, 3)):
        monkeypatch.setattr(drawing, "_READ_AT_ONCE", threads)
        monkeypatch.setattr(prediction_schema, "_GROUP_ROWS", rows_at_once)
        draw(plan(run))
        contents.add((run.root / "samples" / choice.FILE).read_bytes())
    assert len(contents) == 1


def test_no_more_shards_are_read_than_asked_for(run):
    settings = SampleConfig(per_sheet=7, max_shards=2, seed=1)
    job = plan(run, settings)
    assert len(job.shards) == 2
    for shard in set(range(NUM_SHARDS)) - {*job.shards, 5}:  # There is a twin in 5.
        (run.root / "images" / f"part-{shard:02d}").unlink()
        pathlib.Path(job.corpus.predictions.path(shard)).unlink()
    assert {tile.shard for tile in draw(job)} == set(job.shards)
    assert drawing.tell(job).startswith("drew ")
    assert "from 2 of 6 shards: 7 highest, 7 random" in drawing.tell(job)


def test_an_image_that_changed_is_not_shown(run):
    tiles = draw(plan(run))
    shutil.rmtree(run.root / "samples")
    tile = next(tile for tile in tiles if tile.sheet == "most_copied")
    path = run.root / "images" / f"part-{tile.shard:02d}"
    images = random_images(NUM_SHARDS * 8)[tile.shard :: NUM_SHARDS]
    images[tile.row] = images[tile.row][:-1] + b"x"
    job = plan(run)
    write_records(path, images)
    words = rf"shard {tile.shard}, row {tile.row} \(part-.*\): the image is not the one"
    with pytest.raises(drawing.SamplingError, match=words):
        draw(job)
    assert not (run.root / "samples" / choice.FILE).exists()
    write_records(path, images[: tile.row])
    with pytest.raises(drawing.SamplingError, match="the image is gone"):
        draw(job)
    write_records(path, random_images(NUM_SHARDS * 8)[tile.shard :: NUM_SHARDS])
    assert draw(job) == tiles


def test_what_pillow_cannot_decode_is_told(tmp_path):
    """TensorFlow has labeled it, as a later version may."""
    found = chain.Chain(tmp_path)
    write_records(tmp_path / "images" / "part-00", [b"", b"", b"a new format"])
    chain.predict(found, ("0123abc",))
    chain.select(found, threshold=0.0)
    tiles = draw(plan(found, exclude=(), exclude_images=()))
    reasons = {(tile.key, tile.reason) for tile in tiles}
    assert reasons == {
        ("part-00#0", "undecodable: broken"),
        ("part-00#1", ""),  # Of no byte, there is nothing to read.
        ("part-00#2", "no thumbnail: no header of an image"),
    }
    assert not any(tile.thumbnail for tile in tiles)


def test_inputs_must_belong_together(made, tmp_path):
    with pytest.raises(ValueError, match="as many --exclude_images as --exclude"):
        request(made, exclude=())
    with pytest.raises(ValueError, match=r"is none of the sets .*: x/test, y/other"):
        plan(made, exclude=(made.predictions,), exclude_images=())
    with pytest.raises(ValueError, match="is not what"):
        plan(made, exclude_images=(made.images,))
    with pytest.raises(ValueError, match="is not what"):
        plan(made, images=f"tfrecord:{made.root}/images/part-00")
    with pytest.raises(FileNotFoundError, match="no directory"):
        plan(made, selection=str(tmp_path / "none"))


def test_the_config_tells_all_that_decides(made):
    before = plan(made).config
    assert before["num_shards"] == before["num_shards_drawn_from"] == NUM_SHARDS
    for name in ("per_sheet", "thumbnail_size", "max_shards", "seed"):
        settings = dataclasses.replace(SEVEN, **{name: 3})
        assert plan(made, settings).config != before
    assert plan(made, exclude_images=()).config != before
    # Without its images, an excluded set changes nothing.
    alone = plan(made, exclude=(), exclude_images=())
    assert alone.config == plan(made, exclude_images=()).config
    assert str(made.root) not in str(before)


@pytest.mark.parametrize("kind", ["folder", "tfrecord", "webdataset"])
def test_images_are_found_by_their_rows(tmp_path, kind):
    images = random_images(9)
    write_folder(tmp_path / "folder", images)
    write_records(tmp_path / "part", images)
    write_tar(tmp_path / "tar", [(f"{i}.png", one) for i, one in enumerate(images)])
    names = {"folder": "folder", "tfrecord": "part", "webdataset": "tar"}
    source = open_source(f"{kind}:{tmp_path / names[kind]}")
    every = list(read_examples(source.reader, source.shards[0].files))
    for rows in ([], [0], [2, 3, 8]):
        expected = [(row, every[row]) for row in rows]
        assert list(drawing.examples_at(source, 0, rows)) == expected


def decoded(encoded, size=96):
    thumbnail = drawing.make_thumbnail(encoded, size)
    assert thumbnail.error == ""
    image = Image.open(io.BytesIO(thumbnail.encoded))
    assert image.format in ("JPEG", "PNG")
    return np.asarray(image.convert("RGB")).astype(int)


#: Behind transparency, TensorFlow shows what is there; one is too wide to be enlarged.
OPAQUE = [name for name in ODD if "alpha" not in name and "thousand" not in name]


@pytest.mark.parametrize("name", OPAQUE)
def test_thumbnails_are_what_evaluation_sees(name):
    encoded, _ = ODD[name]
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy()
    factor = 96 // max(image.shape[:2])
    enlarged = image.repeat(factor, axis=0).repeat(factor, axis=1)
    shown = decoded(encoded)
    assert shown.shape == enlarged.shape
    # What JPEG loses at the edges of squares.
    assert np.abs(shown - enlarged).mean() < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_images_are_averaged(kind):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (48, 24, 1), np.uint8).repeat(3, axis=2)
    pixels = blocks.repeat(20, axis=0).repeat(20, axis=1)
    expected = blocks.repeat(2, axis=0).repeat(2, axis=1)
    assert np.abs(decoded(encode(pixels, kind)) - expected).mean() < 16


@pytest.mark.parametrize("name", BROKEN)
def test_no_broken_image_stops_anything(name, monkeypatch):
    monkeypatch.setattr(drawing, "MAX_PIXELS", 100_000)
    thumbnail = drawing.make_thumbnail(BROKEN[name], 96)
    # Which TensorFlow does not decode, and Pillow does.
    assert (thumbnail.encoded is None) == (name != "animated WebP")
    assert bool(thumbnail.error) == (thumbnail.encoded is None)
    assert "\n" not in thumbnail.error


@pytest.mark.parametrize("side", [1, 8, 31, 48, 49, 96])
def test_small_images_are_enlarged_to_squares(side):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 2, (side, side, 1), np.uint8).repeat(3, axis=2) * 255
    factor = 96 // side
    expected = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    assert (decoded(encode(pixels)) == expected).all()


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((300, 200), 96, (96, 64)),
        ((97, 97), 96, (96, 96)),
        ((2, 1000), 96, (1, 96)),
        ((10, 100), 7, (1, 7)),
        ((60, 24), 128, (120, 48)),
    ],
)
def test_the_longer_side_decides(shape, size, expected):
    pixels = np.zeros((*shape, 3), np.uint8)
    assert decoded(encode(pixels), size).shape == (*expected, 3)


def test_what_is_transparent_is_gray():
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[:, 20:] = (255, 0, 0, 255)
    shown = decoded(encode(pixels), 40)
    assert (shown[:, :20] == 128).all()
    assert (shown[:, 20:] == (255, 0, 0)).all()


def test_sheets_of_photographs_are_small():
    """Eight of 24 tiles, two of the eight with twins."""
    rng = np.random.default_rng(0)
    for side in (200, 96, 48, 32):
        photographs = make_photographs(rng, 6, height=side, width=side)
        made = [drawing.make_thumbnail(encode(one), 96) for one in photographs]
        assert 10 * 24 * np.mean([len(one.encoded) for one in made]) < 1_200_000
