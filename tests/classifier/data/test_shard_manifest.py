"""The frozen list of shards: a number always means the same images."""

import contextlib
import dataclasses
import json
import os
import shutil

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from classifier.data import shard_manifest, sources
from classifier.data.examples import File
from classifier.data.sources import Shard, open_source
from stage import artifact, parquet, shard_list
from tests.images import write_folder, write_records


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(sources, "FOLDER_SHARD_SIZE", 2)
    monkeypatch.setattr(shard_manifest, "_GROUP_ROWS", 3)


@pytest.fixture
def place(tmp_path):
    """A folder of five images; the job's directory."""
    write_folder(tmp_path / "photos", [b"%d" % i for i in range(5)])
    (tmp_path / "job").mkdir()
    return tmp_path


def open_photos(place, name="photos"):
    return open_source(f"folder:{place / name}")


def freeze(place, *, allow=False, name="photos"):
    return shard_manifest.freeze(
        open_photos(place, name), place / "job", allow_new_shards=allow
    )


def names(source):
    return [[file.name[:5] for file in shard.files] for shard in source.shards]


def test_workers_find_every_shard(place):
    source = freeze(place)
    assert source == open_photos(place)
    for shard in source.shards:
        assert shard_manifest.read_shard(place / "job", shard.index) == shard
    with pytest.raises(ValueError, match=r"\b3$"):
        shard_manifest.read_shard(place / "job", 3)


def test_a_worker_reads_the_groups_of_its_shard_alone(place):
    freeze(place)
    path = place / "job" / shard_list.NAME
    footer = pq.read_metadata(path)
    assert footer.num_row_groups == 2
    # Damage in the other group would raise.
    position = footer.row_group(1).column(0).data_page_offset
    with path.open("r+b") as file:
        file.seek(position)
        file.write(b"\xff" * 20)
    assert len(shard_manifest.read_shard(place / "job", 0).files) == 2
    with pytest.raises(ValueError, match=shard_list.NAME):
        shard_manifest.read_shard(place / "job", 2)


def test_the_same_source_changes_nothing(place):
    first = freeze(place)
    path = place / "job" / shard_list.NAME
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert freeze(place) == first
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [path.name for path in (place / "job").iterdir()] == [shard_list.NAME]


def test_the_source_may_be_elsewhere(place):
    first = freeze(place)
    os.rename(place / "photos", place / "moved")
    moved = freeze(place, name="moved")
    assert moved.describe() == first.describe()
    (file, *_) = shard_manifest.read_shard(place / "job", 0).files
    assert file.path == str(place / "moved" / "00000.png")


def test_numbers_hold_where_the_size_of_a_shard_changes(place, monkeypatch):
    first = freeze(place)
    monkeypatch.setattr(sources, "FOLDER_SHARD_SIZE", 3)
    assert freeze(place) == first


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda path: path.unlink(), "1 gone, 0 changed, 0 new"),
        (lambda path: path.write_bytes(b"longer"), "0 gone, 1 changed, 0 new"),
        (lambda path: os.utime(path, (7, 7)), "0 gone, 1 changed, 0 new"),
        (
            lambda path: path.rename(path.with_name("9.png")),
            "1 gone, 0 changed, 1 new",
        ),
    ],
    ids=["gone", "size", "time", "name"],
)
def test_a_source_that_changed_is_refused(place, allow, change, counts):
    freeze(place)
    before = (place / "job" / shard_list.NAME).read_bytes()
    change(place / "photos" / "00003.png")
    with pytest.raises(ValueError, match=rf"00003\.png .*{counts}"):
        freeze(place, allow=allow)
    assert (place / "job" / shard_list.NAME).read_bytes() == before


def test_ranges_that_changed_are_refused(place):
    source = open_photos(place)
    ranges = [File(path="x", name="x", skip=0, take=take) for take in (4, 5)]
    then, now = (
        dataclasses.replace(source, shards=(Shard(0, (file,)),)) for file in ranges
    )
    shard_manifest.freeze(then, place / "job", allow_new_shards=False)
    with pytest.raises(ValueError, match=r"^folder:.*\bx\b.*\b4\b.*\b5\b"):
        shard_manifest.match(now, place / "job", allow_new_shards=True)


def test_new_files_become_new_shards_behind_the_old(place):
    old = freeze(place)
    for name in ("00000a.png", "00009.png", "-first.png"):
        (place / "photos" / name).write_bytes(b"new")
    with pytest.raises(ValueError, match=r"-first\.png .*0 gone, 0 changed, 3 new"):
        freeze(place)
    added = freeze(place, allow=True)
    assert added.shards[:3] == old.shards
    assert names(added)[3:] == [["-firs", "00000"], ["00009"]]
    assert [shard.index for shard in added.shards] == list(range(5))
    assert [shard_manifest.read_shard(place / "job", i) for i in range(5)] == [
        *added.shards
    ]
    # Added files are not new any more.
    assert freeze(place) == added


def test_new_record_files_are_a_shard_each(tmp_path):
    (tmp_path / "job").mkdir()
    for name in "bca":
        write_records(tmp_path / "data" / name, [b"x"])
        source = shard_manifest.freeze(
            open_source(f"tfrecord:{tmp_path}/data/*"),
            tmp_path / "job",
            allow_new_shards=True,
        )
    assert names(source) == [["b"], ["c"], ["a"]]


@pytest.mark.parametrize("content", [b"", b"no Parquet"])
def test_a_broken_list_is_named(place, content):
    path = place / "job" / shard_list.NAME
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        shard_manifest.match(open_photos(place), place / "job", allow_new_shards=True)


def test_predictions_know_the_images_they_were_made_of(place):
    source = freeze(place)
    config = {"images": source.describe()}
    (place / "job" / "config.json").write_text(json.dumps(config))
    assert shard_manifest.match_predictions(open_photos(place), place / "job") == source
    config["images"]["fingerprint"] = "other"
    (place / "job" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match='"other"'):
        shard_manifest.match_predictions(open_photos(place), place / "job")


def test_times_do_not_count_where_images_are_compared(place):
    source = freeze(place)
    config = {"images": source.describe()}
    (place / "job" / "config.json").write_text(json.dumps(config))
    os.utime(place / "photos" / "00003.png", (7, 7))
    matched = shard_manifest.match_predictions(open_photos(place), place / "job")
    assert matched == open_photos(place) != source
    frozen = shard_manifest.freeze(
        matched, place / "job", allow_new_shards=False, with_times=False
    )
    assert shard_manifest.read_shard(place / "job", 1) == frozen.shards[1]
    (place / "photos" / "00003.png").write_bytes(b"longer")
    with pytest.raises(ValueError, match=r"00003\.png"):
        shard_manifest.match_predictions(open_photos(place), place / "job")


def test_lists_without_times_stay_readable(place):
    source = freeze(place)
    path = place / "job" / shard_list.NAME
    pq.write_table(pq.read_table(path).drop_columns(["mtime_ns"]), path)
    os.utime(place / "photos" / "00003.png", (7, 7))
    first = shard_manifest.read_shard(place / "job", 0)
    assert {file.mtime_ns for file in first.files} == {-1}
    now = freeze(place)
    assert now.describe() == source.describe()
    # From now on it has them.
    assert shard_manifest.read_shard(place / "job", 1) == now.shards[1]


def test_matching_writes_nothing(place):
    source = open_photos(place)
    match = shard_manifest.match(source, place / "nowhere", allow_new_shards=False)
    assert match is source
    assert not (place / "nowhere").exists()


def test_names_need_not_be_utf8(place):
    (place / "photos" / "\udcff.png").write_bytes(b"x")
    source = freeze(place)
    assert shard_manifest.read_shard(place / "job", 2) == source.shards[2]
    assert source.shards[2].files[1].name == "\udcff.png"


def test_a_list_that_is_rewritten_is_read_again(place):
    freeze(place)
    assert len(shard_manifest.read_shard(place / "job", 2).files) == 1
    for i in range(5, 15):
        (place / "photos" / f"{i:05d}.png").write_bytes(b"x")
    freeze(place, allow=True)
    assert len(shard_manifest.read_shard(place / "job", 7).files) == 2
    assert len(shard_manifest.read_shard(place / "job", 2).files) == 1


def test_a_list_that_is_rewritten_within_a_second_is_read_again(place):
    """It may even have the same size."""
    freeze(place)
    path = place / "job" / shard_list.NAME
    os.utime(path, ns=(0, 5_000_000_000))
    (before, _) = shard_manifest.read_shard(place / "job", 0).files
    table = parquet.read_parquet_file(path)
    at = table.schema.get_field_index("mtime_ns")
    later = pc.add(table["mtime_ns"], 1)
    parquet.write_parquet_file(path, table.set_column(at, "mtime_ns", later))
    os.utime(path, ns=(0, 5_000_000_001))
    (after, _) = shard_manifest.read_shard(place / "job", 0).files
    assert after.mtime_ns == before.mtime_ns + 1


def test_of_parts_that_start_at_once_the_first_decides(place, monkeypatch):
    """Another one freezes the list between this one's look and its own try."""
    create = artifact.create
    shutil.copytree(place / "photos", place / "moved" / "photos")

    def create_late(path, content):
        monkeypatch.setattr(artifact, "create", create)
        shard_manifest.freeze(
            open_photos(place), place / "job", allow_new_shards=False, is_shared=True
        )
        return create(path, content)

    for name in ("photos", "moved/photos"):
        (place / "job" / shard_list.NAME).unlink(missing_ok=True)
        monkeypatch.setattr(artifact, "create", create_late)
        expected = (
            pytest.raises(ValueError, match=r"same paths: expected .*, got .*/moved/")
            if "moved" in name
            else contextlib.nullcontext()
        )
        with expected:
            shard_manifest.freeze(
                open_photos(place, name),
                place / "job",
                allow_new_shards=False,
                with_times=False,
                is_shared=True,
            )
        shard = shard_manifest.read_shard(place / "job", 0)
        assert shard == open_photos(place).shards[0]


def test_a_directory_of_an_earlier_version_keeps_the_name_of_its_list(place):
    first = freeze(place)
    path = place / "job" / shard_list.NAME
    former = path.rename(place / "job" / shard_list.FORMER_NAME)
    assert freeze(place) == first
    assert shard_manifest.read_shard(place / "job", 1) == first.shards[1]
    (place / "photos" / "00005.png").write_bytes(b"5")
    with pytest.raises(ValueError, match=r"00005\.png is new"):
        freeze(place)
    grown = freeze(place, allow=True)
    assert shard_manifest.read_shard(place / "job", 3) == grown.shards[3]
    assert [*(place / "job").iterdir()] == [former]
