import csv

import pytest

from tests import chain
from tests.commands import call


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return chain.make(tmp_path_factory.mktemp("chain"))


@pytest.fixture
def words(made):
    return (
        "workflow.export_labels",
        f"--predictions={made.predictions}",
        f"--selection={made.selection}",
    )


def test_a_table_and_folders_hold_the_same_images(made, words, tmp_path):
    ended = call(*words, f"--output={tmp_path}/labels.csv")
    assert ended.returncode == 0, ended.stderr
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert ended.stdout == f"wrote {len(rows)} images to {tmp_path}/labels.csv\n"
    ended = call(*words, f"--output={tmp_path}/labels/", f"--images={made.images}")
    assert ended.returncode == 0, ended.stderr
    assert len(list((tmp_path / "labels").glob("*/*.png"))) == len(rows)


def test_bad_input_gives_one_line_and_no_output(made, words, tmp_path):
    images = f"--images={made.images}"
    cases = (
        ((f"--output={tmp_path}/out",), "a directory together with --images="),
        ((f"--output={tmp_path}/out.csv", images), "expected NAME.csv"),
        ((f"--output={tmp_path}/out", "--images=folder:/no/such"), "/no/such"),
        ((f"--output={made.root}", images), "already exists"),
        ((f"--output={tmp_path}/out.csv", "--selection=/no/such"), "'/no/such'"),
        ((f"--output={tmp_path}/out.csv", "now"), "'now'"),
    )
    for more, message in cases:
        ended = call(*words, *more)
        assert (ended.returncode, ended.stdout) == (1, ""), more
        assert message in ended.stderr and ended.stderr.count("\n") == 1, more
    assert not any(tmp_path.iterdir())
