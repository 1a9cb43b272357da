"""One labeling job for all engines, and what the local runner makes of it."""

import dataclasses
import pathlib

import pytest

from tests.infra import jobs


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

    def select_and_write(self, name, beam_flags):
        """Does what follows with other flags, and by the local runner; compares."""
        if not (self.root / "excluded").exists():
            jobs.label_excluded(self.root)
        for engine, flags in ((name, beam_flags), ("local", jobs.LOCAL)):
            selection = self.root / f"selection-{engine}"
            dataset = self.root / f"dataset-{engine}"
            jobs.select(self.root, selection, flags)
            selected = selection if engine == name else self.root / f"selection-{name}"
            jobs.write(self.root, dataset, flags, selection=selected)
        jobs.compare(self.root / f"selection-{name}", self.root / "selection-local")
        jobs.compare(self.root / f"dataset-{name}", self.root / "dataset-local")


@pytest.fixture(scope="package")
def labeling(tmp_path_factory):
    labeling = Labeling(tmp_path_factory.mktemp("labeling"))
    jobs.prepare(labeling.root)
    labeling.label("undisturbed", jobs.LOCAL)
    return labeling
