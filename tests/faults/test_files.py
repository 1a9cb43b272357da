"""Files of a folder that are unreadable or have odd names, labeled by one job."""

import contextlib
import errno
import os
import socket

import pytest

from classifier.data import opening
from classifier.data.examples import key_text
from stage import retry
from tests.faults import endings, job, page
from tests.images import random_images

#: Names of the images; whether each is there is told by its row.
NAMES = {
    "file that vanishes after the listing": "vanishing.png",
    "folder in the place of a file": "replaced.png",
    "image that is longer than it was listed": "growing.png",
    "image that was overwritten since the listing": "corrected.png",
    "pipe in the place of a file": "piped.png",
    "link to nothing": "dangling.png",
    "link that leads to itself": "circle.png",
    "file that may not be read": "forbidden.png",
    "file on a bad spot of the disk": "scratched.png",
    "read error that passes": "network.png",
    "file name that is not UTF-8": b"caf\xe9.png",
    "file name with a line break": "two\nlines.png",
    "file name with wildcards": "[a-z]*?.png",
}
UNLISTED = {
    "hidden file": ".DS_Store",
    "file in a hidden folder": ".thumbnails/small.png",
    "pipe in the folder": "pipe.png",
    "socket in the folder": "socket.png",
    "link to a pipe": "to_pipe.png",
    "link to a device without end": "zero.png",
    "link that leads back to its own folder": "again",
    "folders that link to each other": "one/to",
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory, exported):
    """The rows by key."""
    root = tmp_path_factory.mktemp("files")
    folder = root / "in"
    make_folder(folder)

    def change_files():
        (folder / "vanishing.png").unlink()
        (folder / "replaced.png").unlink()
        (folder / "replaced.png").mkdir()
        with (folder / "growing.png").open("ab") as file:
            file.write(b"more")
        os.utime(folder / "corrected.png", (7, 7))
        (folder / "piped.png").unlink()
        os.mkfifo(folder / "piped.png")

    with failing_reads():
        job.label(
            f"folder:{folder}",
            root / "out",
            lambda: job.settings(exported[0], max_bad_fraction=1.0),
            before_reading=change_files,
        )
    found = job.read_rows(root / "out")
    rows = {row["key"]: row for row in found}
    assert len(rows) == len(found)
    return rows


def make_folder(folder):
    (folder / ".thumbnails").mkdir(parents=True)
    (image,) = random_images(1)
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "dangling.png").symlink_to("nothing")
    (folder / "again").symlink_to(folder)
    for one, other in ("one", "two"), ("two", "one"):
        (folder / one).mkdir(exist_ok=True)
        for link in ("to", "too"):
            (folder / one / link).symlink_to(folder / other)
    os.mkfifo(folder / "pipe.png")
    (folder / "to_pipe.png").symlink_to("pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    with contextlib.chdir(folder), socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")  # The name of a socket must be short.
    for name in [*NAMES.values(), ".DS_Store", ".thumbnails/small.png"]:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        if not os.path.lexists(path):
            with open(path, "wb") as file:
                file.write(image)


@contextlib.contextmanager
def failing_reads():
    """Makes the reading of some files fail, whether or not the tests run as root."""
    numbers = {
        "forbidden.png": [errno.EACCES],
        "scratched.png": [errno.EIO] * (len(retry.DELAYS) + 1),
        "network.png": [errno.ETIMEDOUT],
    }
    open_file = opening._open

    def spoiled(file):
        name = os.path.basename(file.path)
        if numbers.get(name):
            number = numbers[name].pop()
            raise OSError(number, os.strerror(number), file.path)
        return open_file(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "_open", spoiled)
        patch.setattr(retry, "DELAYS", [0.0] * len(retry.DELAYS))
        yield


@page.holds(*NAMES)
def test_a_listed_file_is_a_row(fault, rows):
    found = rows[key_text(os.fsencode(NAMES[fault.name]))]
    assert found["status"] == fault.status
    if fault.status == "ok":
        assert not found["error"]
        assert found["label"] is not None
    else:
        fault.check(found["error"])


@page.holds(*UNLISTED)
def test_what_is_no_image_of_the_source_has_no_row(fault, rows):
    assert fault.end == endings.NO_ROW
    assert not any(key.startswith(UNLISTED[fault.name]) for key in rows)
    assert len(rows) == len(NAMES)
