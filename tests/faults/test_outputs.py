"""Outputs that are refused with one line before any work, and stay unchanged."""

import os

import pytest

from tests.commands import call
from tests.faults import disks, job, page
from tests.faults.conftest import snapshot
from tests.images import random_images


@pytest.fixture
def begun(place):
    """A place with a finished output."""
    place.label(**place.model)
    return place


@page.holds("output begun with another teacher")
def test_output_of_another_teacher(fault, place, exported_second):
    place.label()
    place.refused(fault, exported_second[0])


@page.holds("output that holds other files")
def test_output_that_holds_other_files(fault, place):
    place.output.mkdir()
    (place.output / "thesis.tex").write_text("chapter one")
    place.refused(fault, **place.model)


@page.holds("output inside the folder of images")
def test_output_among_the_images(fault, place):
    arguments = [f"--images=folder:{place.root}", f"--output={place.output}"]
    ended = call("beam_jobs.label_images", *arguments)
    assert ended.returncode == 1
    fault.check(ended.stderr)
    assert not place.output.exists()


@page.holds("output that is a file")
def test_output_that_is_a_file(fault, place):
    place.output.write_text("a file")
    place.refused(fault, **place.model)


@page.holds("output whose parent is a file")
def test_output_below_a_file(fault, place):
    (place.root / "file").write_text("a file")
    (place.root / "out").symlink_to(place.root / "file" / "out")
    place.refused(fault, **place.model)


@page.holds("output with a broken config.json")
def test_output_with_a_broken_config(fault, begun):
    (begun.output / "config.json").write_text('{"images": ')
    begun.refused(fault, **begun.model)


@page.holds("output with a broken shards.list")
def test_output_with_a_broken_manifest(fault, begun):
    path = begun.output / "shards.list"
    path.write_bytes(path.read_bytes()[:-20])
    begun.refused(fault, **begun.model)


@page.holds("image deleted since the first run")
def test_image_that_was_deleted(fault, begun):
    (begun.root / "in" / "00001.png").unlink()
    begun.refused(fault, **begun.model)


@page.holds("image of another size since the first run")
def test_image_that_changed(fault, begun):
    (begun.root / "in" / "00001.png").write_bytes(b"shorter")
    begun.refused(fault, **begun.model)


@page.holds("image replaced since the first run")
def test_image_that_was_corrected(fault, begun):
    os.utime(begun.root / "in" / "00001.png", (7, 7))
    begun.refused(fault, **begun.model)


@page.holds("image added since the first run")
def test_image_that_was_added(fault, begun):
    (begun.root / "in" / "00003.png").write_bytes(*random_images(1))
    begun.refused(fault, **begun.model)
    before = snapshot(begun.output)
    begun.label(allow_new_shards=True, **begun.model)
    assert [row["key"] for row in job.read_rows(begun.output)] == [
        f"{index:05d}.png" for index in range(4)
    ]
    first = begun.output / "predictions-00000.parquet"
    assert first.read_bytes() == before[first]


@page.holds("read-only output")
def test_read_only_output(fault, place):
    place.output.mkdir()
    if os.geteuid():
        place.output.chmod(0o555)
        place.refused(fault, **place.model)
    else:  # Root may write to all but what is mounted so.
        with disks.mounted(place.output, "ro"):
            place.refused(fault, **place.model)
