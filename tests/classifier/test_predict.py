"""The command; the predictions of files are tested in test_file_predictions."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests import calibrations
from tests.commands import ENVIRONMENT, ROOT, call
from tests.images import random_images

#: More than a pipe holds of their output, and than a batch.
COUNT = 700
COMMAND = (sys.executable, "-m", "classifier.predict")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for index, image in enumerate(random_images(COUNT)):
        (root / f"{index:03d}.png").write_bytes(image)
    return root


def test_a_table_of_good_and_bad_images(exported, tmp_path):
    (image,) = random_images(1)
    (tmp_path / "bird.png").write_bytes(image)
    (tmp_path / "note.txt").write_text("a bird")
    process = call(
        "classifier.predict",
        f"--classifier={exported[0]}",
        tmp_path / "bird.png",
        tmp_path / "note.txt",
        tmp_path / "none.png",
        "--top_k=2",
    )
    assert process.returncode == 1
    lines = process.stdout.splitlines()
    assert lines[0].split() == ["file", "class", "probability", "next"]
    file, best, share, second, other = lines[1].split()
    assert file == str(tmp_path / "bird.png")
    assert {best, second} < {"a", "b", "c"}
    assert float(share.strip("%")) + float(other.strip("%")) <= 100
    for line, name, status in (
        (lines[2], "note.txt", "undecodable"),
        (lines[3], "none.png", "missing"),
    ):
        assert re.match(rf"{tmp_path}/{re.escape(name)} +{status}: .", line)
    assert len(lines) == 4


def test_the_former_flag_names_the_present_one(exported):
    process = call("classifier.predict", f"--classifier={exported[0]}", "--json", "a")
    assert process.returncode == 1
    assert process.stderr == "error: --json was renamed: use --format=json\n"


def test_a_calibration_in_its_directory_softens_confidences(exported, tmp_path):
    (image,) = random_images(1)
    (tmp_path / "bird.png").write_bytes(image)
    directory = shutil.copytree(exported[0], tmp_path / "probe")
    calibrations.write_own(directory, 0.01)
    sharp, raw = (
        json.loads(
            call(
                "classifier.predict",
                f"--classifier={each}",
                "--format=json",
                "--top_k=3",
                tmp_path / "bird.png",
            ).stdout
        )["top"]
        for each in (directory, exported[0])
    )
    found, expected = (
        np.array([top["probability"] for top in each]) for each in (sharp, raw)
    )
    expected = (expected / expected[0]) ** 100
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-3)


@pytest.mark.slow
def test_json_of_a_folder_by_two_classifiers(exported, exported_second, images):
    process = call(
        "classifier.predict",
        f"--classifier={exported[0]}",
        f"--classifier={exported_second[0]}",
        "--format=json",
        images,
    )
    assert process.returncode == 0, process.stderr
    rows = [json.loads(line) for line in process.stdout.splitlines()]
    assert [row["file"] for row in rows] == sorted(map(str, images.iterdir()))
    for row in rows:
        assert sum(top["probability"] for top in row["top"]) == pytest.approx(
            1, abs=1e-5
        )


@pytest.mark.slow
def test_it_ends_quietly_if_its_reader_ends(exported, images):
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
    assert line.startswith("file ")
    assert (process.returncode, errors) == (141, "")


def test_without_images_there_is_nothing_to_predict(exported):
    process = call("classifier.predict", f"--classifier={exported[0]}")
    assert process.returncode == 1
    assert not process.stdout
    assert len(process.stderr.splitlines()) == 1
