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
    "file deleted after the source was listed": "vanishing.png",
    "file replaced by a folder after the source was listed": "replaced.png",
    "image file that grew after the source was listed": "growing.png",
    "image file overwritten after the source was listed": "corrected.png",
    "file replaced by a named pipe after the source was listed": "piped.png",
    "dangling symbolic link": "dangling.png",
    "symbolic link to itself": "circle.png",
    "file without read permission": "forbidden.png",
    "file on a damaged part of the disk": "scratched.png",
    "temporary read error": "network.png",
    "file name that is not UTF-8": b"caf\xe9.png",
    "file name with a line break": "two\nlines.png",
    "file name with wildcards": "[a-z]*?.png",
}
UNLISTED = {
    "hidden file": ".DS_Store",
    "file in a hidden folder": ".thumbnails/small.png",
    "named pipe in the folder": "pipe.png",
    "socket in the folder": "socket.png",
    "symbolic link to a named pipe": "to_pipe.png",
    "symbolic link to an endless device": "zero.png",
    "symbolic link to the folder that holds it": "again",
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
