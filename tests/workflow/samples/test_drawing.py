import dataclasses
import pathlib
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from etils import epath

from classifier.data.python_reader import read_examples
from classifier.data.readers import read_files
from classifier.data.sources import open_source
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import open_predictions
from stage import artifact
from tests import chain
from tests.images import (
    random_images,
    write_csv,
    write_folder,
    write_parquet,
    write_records,
    write_tar,
)
from tests.pseudo_label.dataset import spoiling
from workflow.samples import drawing
from workflow.samples.choice import SampleConfig
from workflow.samples.thumbnails import make_thumbnail
from workflow.samples.tiles import FILE, SHEETS, read_samples

NUM_SHARDS = 6
SEVEN = SampleConfig(per_sheet=7)
#: By shard the rows that are dropped, and their twins: set, shard and row.
DROPPED = {
    1: {2: ("leaked", "x/test", 1, 3), 4: ("duplicate", "", 5, 1)},
    2: {3: ("leaked", "y/other", 0, 5), 5: ("duplicate", "", 2, 6)},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A chain with leaked and duplicate images."""
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
    fingerprint = open_predictions(test.predictions).fingerprint
    config = {"excluded": {"x/test": fingerprint, "y/other": "no"}}
    selection = epath.Path(found.selection)
    artifact.write_json(selection / artifact.CONFIG, config)
    spoiling.change_json(
        selection / "selection.json",
        lambda content: content.update(fingerprint=artifact.config_fingerprint(config)),
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
    table = pa.table(columns, schema=near_duplicates.dropped_schema())
    near_duplicates.write_dropped(found.selection, shard, table)


@pytest.fixture
def run(made, tmp_path):
    """A copy of the chain that a test may change."""
    shutil.copytree(made.root, tmp_path / "run")
    return chain.Chain(tmp_path / "run")


def request(found, **more):
    test = chain.Chain(found.root / "test")
    asked = {
        "spec": found.images,
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
    return read_samples(job.output)


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
        (tile.sheet for tile in tiles), key=SHEETS.index
    )
    for sheet in SHEETS:
        positions = [tile.position for tile in tiles if tile.sheet == sheet]
        assert positions == list(range(len(positions)))
    assert {tile.sheet for tile in tiles} == set(SHEETS)
    for tile in tiles:
        row = rows[tile.key]
        assert tile.key == f"part-{tile.shard:02d}#{tile.row}"
        assert (tile.label, tile.confidence) == (row["label"], row["confidence"])
        expected = make_thumbnail(images[tile.key], 96)
        assert tile.thumbnail == expected.encoded is not None


def test_matches_are_drawn_beside_dropped_images(run):
    tiles = {t.key: t for t in draw(plan(run)) if t.sheet in ("leaked", "duplicate")}
    corpus, test = (
        images_of(run.images),
        images_of(f"tfrecord:{run.root}/test/images/*"),
    )
    thumbnails = {
        "part-01#2": make_thumbnail(test["part-01#3"], 96).encoded,
        "part-01#4": make_thumbnail(corpus["part-05#1"], 96).encoded,
        "part-02#3": None,  # Of a set that was not given.
        "part-02#5": make_thumbnail(corpus["part-02#6"], 96).encoded,
    }
    assert {key: tile.twin_thumbnail for key, tile in tiles.items()} == thumbnails
    assert tiles["part-02#3"].twin_key == "part-00#5"
    assert tiles["part-02#3"].reason == "looks the same, in y/other"


def test_matches_without_images_have_keys_only(run):
    tiles = draw(plan(run, exclude_images=()))
    (tile,) = [tile for tile in tiles if tile.key == "part-01#2"]
    assert (tile.sheet, tile.reason) == ("leaked", "looks the same, in x/test")
    assert (tile.twin_key, tile.twin_thumbnail) == ("part-01#3", None)
    assert tile.thumbnail is not None


def test_each_set_is_read_by_its_own_feature(made):
    job = plan(made, image_feature="corpus", excluded_image_feature="test")
    (test,) = job.excluded.values()
    features = [images.source.reader.image_feature for images in (job.corpus, test)]
    assert features == ["corpus", "test"]


def test_threads_and_blocks_do_not_change_the_file(run, monkeypatch):
    contents = set()
    for threads, rows_at_once in ((1, 1000), (5, 3)):
        monkeypatch.setattr(drawing, "_READ_AT_ONCE", threads)
        monkeypatch.setattr(prediction_schema, "_GROUP_ROWS", rows_at_once)
        draw(plan(run))
        contents.add((run.root / "samples" / FILE).read_bytes())
    assert len(contents) == 1


def test_no_more_shards_are_read_than_asked_for(run):
    settings = SampleConfig(per_sheet=7, max_shards=2, seed=1)
    job = plan(run, settings)
    assert len(job.shards) == 2
    for shard in set(range(NUM_SHARDS)) - {*job.shards, 5}:  # There is a match in 5.
        (run.root / "images" / f"part-{shard:02d}").unlink()
        pathlib.Path(job.corpus.predictions.path(shard)).unlink()
    assert {tile.shard for tile in draw(job)} == set(job.shards)
    assert drawing.format_summary(job).startswith("drew ")
    assert "from 2 of 6 shards: 7 highest, 7 random" in drawing.format_summary(job)


def test_an_image_that_changed_is_not_shown(run):
    tiles = draw(plan(run))
    shutil.rmtree(run.root / "samples")
    tile = next(tile for tile in tiles if tile.sheet == "most_copied")
    path = run.root / "images" / f"part-{tile.shard:02d}"
    images = random_images(NUM_SHARDS * 8)[tile.shard :: NUM_SHARDS]
    images[tile.row] = images[tile.row][:-1] + b"x"
    write_records(path, images)
    job = plan(run)
    words = rf"shard {tile.shard}, row {tile.row} \(part-"
    with pytest.raises(drawing.SamplingError, match=words):
        draw(job)
    assert not (run.root / "samples" / FILE).exists()
    write_records(path, images[: tile.row])
    words = rf"shard {tile.shard}, row \d+ \(part-.*bytes"
    with pytest.raises(drawing.SamplingError, match=words):
        draw(job)
    write_records(path, random_images(NUM_SHARDS * 8)[tile.shard :: NUM_SHARDS])
    assert draw(plan(run)) == tiles


def test_images_that_pillow_cannot_decode_have_a_reason(tmp_path):
    """The last image is labeled all the same, as by a later TensorFlow."""
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
    with pytest.raises(ValueError, match="--exclude_images"):
        request(made, exclude=())
    with pytest.raises(ValueError, match=r"--exclude=.*x/test, y/other"):
        plan(made, exclude=(made.predictions,), exclude_images=())
    with pytest.raises(ValueError, match="is not what"):
        plan(made, exclude_images=(made.images,))
    with pytest.raises(ValueError, match="is not what"):
        plan(made, spec=f"tfrecord:{made.root}/images/part-00")
    with pytest.raises(FileNotFoundError, match="no directory"):
        plan(made, selection=str(tmp_path / "none"))


def test_the_config_holds_all_that_decides(made):
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


@pytest.mark.parametrize("kind", ["folder", "csv", "parquet", "tfrecord", "webdataset"])
def test_images_are_found_by_their_rows(tmp_path, kind):
    images = random_images(9)
    write_folder(tmp_path / "folder", images)
    write_records(tmp_path / "part", images)
    write_tar(tmp_path / "tar", [(f"{i}.png", image) for i, image in enumerate(images)])
    write_parquet(tmp_path / "table", images)
    listed = [(f"folder/{i:05d}.png",) for i in range(9)]
    write_csv(tmp_path / "list", listed, ("path",))
    names = {"tfrecord": "part", "webdataset": "tar", "parquet": "table", "csv": "list"}
    source = open_source(f"{kind}:{tmp_path / names.get(kind, kind)}")
    every = list(read_examples(source.reader, source.shards[0].files))
    for rows in ([], [0], [2, 3, 8]):
        expected = [(row, every[row]) for row in rows]
        assert list(drawing.examples_at(source, 0, rows)) == expected
