"""One labeling job for all engines, and what the local runner makes of it."""

import dataclasses
import pathlib

import pytest

from tests.engines import jobs


@dataclasses.dataclass(frozen=True)
class Labeling:
    """A job, labeled by the local runner in `undisturbed`."""

    root: pathlib.Path

    def label(self, name, beam_flags, disturb=lambda process, output: None):
        """Labels with other flags, while `disturb` may do what it likes; compares."""
        output = self.root / name
        with jobs.running(self.root, output, beam_flags) as process:
            disturb(process, output)
            status = process.wait(jobs.PATIENCE)
        assert status == 0, jobs.log_of(output)
        jobs.compare(output, self.root / "undisturbed")


@pytest.fixture(scope="package")
def labeling(tmp_path_factory):
    labeling = Labeling(tmp_path_factory.mktemp("labeling"))
    jobs.prepare(labeling.root)
    labeling.label("undisturbed", jobs.LOCAL)
    return labeling
