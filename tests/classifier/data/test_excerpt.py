import dataclasses
import pathlib

from classifier.data import excerpt, image_sides
from classifier.data.sources import Shard, open_source
from tests.images import blank, random_images, write_folder, write_records

IMAGES = random_images(10)


def test_local_images_are_their_own_excerpt(tmp_path):
    write_records(tmp_path / "a", IMAGES)
    source = open_source(f"tfrecord:{tmp_path}/a")
    with excerpt.take(source) as found:
        assert found.part is source
        assert found.share == 1


def test_a_copy_lasts_as_long_as_it_is_needed(bucket):
    write_records(bucket.folder / "a", IMAGES)
    with excerpt.take(open_source("tfrecord:gs://bucket/a")) as found:
        (file,) = found.part.files
        copy = pathlib.Path(file.path)
        assert copy.read_bytes() == (bucket.folder / "a").read_bytes()
        assert found.share == 1
    assert not copy.exists()


def test_sizes_that_were_listed_are_not_asked_for(bucket):
    write_records(bucket.folder / "a", IMAGES)
    source = open_source("tfrecord:gs://bucket/a")
    size = (bucket.folder / "a").stat().st_size
    (file,) = source.files
    listed = Shard(0, (dataclasses.replace(file, size=size),))
    with excerpt.take(dataclasses.replace(source, shards=(listed,))) as found:
        assert found.share == 1
    assert bucket.num_stats == 0


def test_of_a_part_of_a_file_any_record_is_in_it(bucket):
    write_records(bucket.folder / "a", IMAGES)
    source = open_source("tfrecord:gs://bucket/a")
    (file,) = source.files
    part = Shard(0, (dataclasses.replace(file, skip=8, take=2),))
    with excerpt.take(dataclasses.replace(source, shards=(part,))) as found:
        assert list(image_sides.shorter_sides(found.part)) == [20] * len(IMAGES)


def test_many_images_of_a_folder_are_not_all_fetched(bucket):
    write_folder(bucket.folder / "a", [blank(40, 100)] * 300)
    with excerpt.take(open_source("folder:gs://bucket/a")) as found:
        sides = list(image_sides.shorter_sides(found.part))
    assert sides == [40] * 64
    assert len(bucket.opened) == 64
