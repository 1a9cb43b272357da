"""How the flags reach the job, which is tested in writing/."""

import pytest

from stage import artifact
from tests import chain
from tests.commands import call


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return chain.make(tmp_path_factory.mktemp("chain"))


def write(place, output, *flags):
    return call(
        "beam_jobs.write_records",
        f"--images={place.images}",
        *(f"--predictions={place.predictions}", f"--selection={place.selection}"),
        *(f"--output={output}", *flags, "--", "--direct_num_workers=1"),
    )


def files(directory):
    """Content of all files but those that say how it was made, and of what."""
    others = {artifact.COMPLETED, *artifact.DESCRIPTIONS}
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name not in others
    }


def test_the_dataset_is_that_of_the_job(place):
    place.write(num_shards=5, round_number=2)
    output = place.root / "written"
    process = write(place, output, "--num_shards=5", "--round=2")
    assert process.returncode == 0, process.stderr
    assert files(output) == files(place.dataset)
    assert artifact.is_complete(output)
    process = write(place, output, "--num_shards=5", "--round=2")
    assert "already complete" in process.stdout


def test_another_round_is_another_dataset(place):
    output = place.root / "other"
    assert write(place, output).returncode == 0
    process = write(place, output, "--round=2")
    assert process.returncode == 1
    assert "round" in process.stderr
