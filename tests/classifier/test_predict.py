"""The command; what it says is tested in test_top_classes."""

import json
import subprocess
import sys

import pytest

from tests.commands import ENVIRONMENT, ROOT, run, start
from tests.images import random_images

#: More than a pipe holds of what is said of them, and than a batch.
COUNT = 700
COMMAND = (sys.executable, "-m", "classifier.predict")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for index, image in enumerate(random_images(COUNT)):
        (root / f"{index:03d}.png").write_bytes(image)
    return root


def test_a_table_of_good_and_bad_images(exported, images, tmp_path):
    (tmp_path / "note.txt").write_text("a bird")
    process = start(
        "classifier.predict",
        f"--classifier={exported[0]}",
        images / "000.png",
        tmp_path / "note.txt",
        tmp_path / "none.png",
        "--top_k=2",
    )
    output, _ = process.communicate()
    assert process.returncode == 1
    lines = output.splitlines()
    assert lines[0] == str(images / "000.png")
    assert [line.split()[0] for line in lines[1:3]] == ["1", "2"]
    assert {line.split()[1] for line in lines[1:3]} < {"a", "b", "c"}
    assert lines[3] == str(tmp_path / "note.txt")
    assert lines[4].startswith("  undecodable: no header of a JPEG")
    assert lines[5:] == [
        str(tmp_path / "none.png"),
        "  missing: No such file or directory",
    ]


@pytest.mark.slow
def test_json_of_a_folder_by_two_classifiers(exported, exported_second, images):
    output = run(
        "classifier.predict",
        f"--classifier={exported[0]}",
        f"--classifier={exported_second[0]}",
        "--json",
        images,
    )
    answers = [json.loads(line) for line in output.splitlines()]
    assert [one["file"] for one in answers] == sorted(map(str, images.iterdir()))
    for answer in answers:
        assert sum(one["probability"] for one in answer["top"]) == pytest.approx(1)


@pytest.mark.slow
def test_it_ends_quietly_where_nobody_reads_on(exported, images):
    process = subprocess.Popen(
        [*COMMAND, f"--classifier={exported[0]}", str(images)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    process.stdout.close()
    _, errors = process.communicate()
    assert line == f"{images}/000.png\n"
    assert (process.returncode, errors) == (1, "")


@pytest.mark.slow
def test_without_images_it_says_what_it_expects(exported):
    process = start("classifier.predict", f"--classifier={exported[0]}")
    output, _ = process.communicate()
    assert process.returncode == 1
    assert output == "error: expected images: files, or directories of them\n"
