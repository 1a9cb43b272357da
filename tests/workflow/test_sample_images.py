import concurrent.futures

import pytest

from stage import artifact
from tests import chain
from tests.commands import run, start
from workflow.samples import choice


@pytest.fixture
def words(tmp_path):
    found = chain.make(tmp_path / "chain")
    return (
        "workflow.sample_images",
        f"--images={found.images}",
        f"--predictions={found.predictions}",
        f"--selection={found.selection}",
        f"--output={tmp_path / 'samples'}",
    )


def test_the_command_draws(words, tmp_path):
    output = run(*words, "--per_sheet=3", "--thumbnail_size=48")
    lines = output.splitlines()
    assert len(lines) == 2
    assert "drew 17 tiles from 3 of 3 shards: 3 highest, 3 random" in lines[1]
    assert len(choice.read_samples(tmp_path / "samples")) == 17
    assert artifact.is_complete(tmp_path / "samples")


@pytest.mark.slow
def test_a_second_run_draws_nothing_anew(words, tmp_path):
    run(*words)
    path = tmp_path / "samples" / choice.FILE
    before = path.stat().st_mtime_ns
    assert "already complete" in run(*words)
    assert path.stat().st_mtime_ns == before
    (tmp_path / "samples" / artifact.COMPLETED).unlink()
    content = path.read_bytes()
    run(*words)
    assert path.read_bytes() == content
    assert path.stat().st_mtime_ns > before


@pytest.mark.slow
def test_one_clear_line_and_nothing_made(words, tmp_path):
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "file").touch()
    cases = {
        "--predictions=/no/such": "no directory '/no/such'",
        "--images=tfrecord:/no/such*": "no file matches",
        "--exclude_images=folder:/no/such": "as many --exclude_images as --exclude",
        "--per_sheet=0": "--per_sheet",
        f"--output={tmp_path}/occupied": "is not empty and was not made",
        "now": "expected Beam options as --name=value, got 'now'",
    }

    def refuse(word):
        process = start(*words, word)
        output, _ = process.communicate()
        return process.returncode, output

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(refuse, cases))
    for (status, output), message in zip(ends, cases.values(), strict=True):
        assert status != 0
        assert message in output
        assert "Traceback" not in output
    assert not (tmp_path / "samples").exists()
