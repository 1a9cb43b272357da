import pytest

from stage import artifact
from tests import chain
from tests.commands import call
from workflow.samples import tiles


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return chain.make(tmp_path_factory.mktemp("chain"))


@pytest.fixture
def words(made, tmp_path):
    return (
        "workflow.sample_images",
        f"--images={made.images}",
        f"--predictions={made.predictions}",
        f"--selection={made.selection}",
        f"--output={tmp_path / 'samples'}",
    )


def test_the_command_draws(words, tmp_path):
    process = call(*words, "--per_sheet=3", "--thumbnail_size=48")
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert len(lines) == 2
    assert "17 tiles" in lines[1]
    assert len(tiles.read_samples(tmp_path / "samples")) == 17
    assert artifact.is_complete(tmp_path / "samples")


def test_a_second_run_draws_nothing_anew(words, tmp_path):
    assert call(*words).returncode == 0
    path = tmp_path / "samples" / tiles.FILE
    before = path.stat().st_mtime_ns
    assert "already complete" in call(*words).stdout
    assert path.stat().st_mtime_ns == before
    (tmp_path / "samples" / artifact.COMPLETED).unlink()
    content = path.read_bytes()
    assert call(*words).returncode == 0
    assert path.read_bytes() == content
    assert path.stat().st_mtime_ns > before


def test_bad_input_gives_one_line_and_no_output(words, tmp_path):
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "file").touch()
    cases = {
        "--predictions=/no/such": "'/no/such'",
        "--images=tfrecord:/no/such*": "/no/such*",
        "--exclude_images=folder:/no/such": "--exclude_images",
        "--per_sheet=0": "--per_sheet",
        f"--output={tmp_path}/occupied": f"{tmp_path}/occupied",
        "now": "'now'",
    }
    for word, message in cases.items():
        process = call(*words, word)
        assert process.returncode == 1
        assert message in process.stderr.splitlines()[0]
    assert not (tmp_path / "samples").exists()
