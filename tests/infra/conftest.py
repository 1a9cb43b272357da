"""One labeling job for all runners, and its output by the local runner."""

import dataclasses
import pathlib

import pytest

from tests.infra import jobs, local_flink


@dataclasses.dataclass(frozen=True)
class Labeling:
    """A job, labeled by the local runner in `undisturbed`."""

    root: pathlib.Path

    def label(self, name, beam_flags, disturb=lambda process, output: None):
        """Labels with other flags while `disturb` runs; compares the outputs."""
        output = self.root / name
        with jobs.running(self.root, output, beam_flags) as process:
            disturb(process, output)
            status = process.wait(jobs.PATIENCE)
        assert status == 0, jobs.log_of(output)
        jobs.compare(output, self.root / "undisturbed")

    def select_and_write(self, name, beam_flags):
        """Runs both jobs with other flags and by the local runner; compares."""
        if not (self.root / "excluded").exists():
            jobs.label_excluded(self.root)
        # Both datasets name this selection as their input.
        selected = self.root / f"selection-{name}"
        for runner, flags in ((name, beam_flags), (f"local-{name}", jobs.LOCAL)):
            jobs.select(self.root, self.root / f"selection-{runner}", flags)
            dataset = self.root / f"dataset-{runner}"
            jobs.write(self.root, dataset, flags, selection=selected)
        for stage in ("selection", "dataset"):
            ours, local = f"{stage}-{name}", f"{stage}-local-{name}"
            jobs.compare(self.root / ours, self.root / local)


@pytest.fixture(scope="package")
def labeling(tmp_path_factory):
    labeling = Labeling(tmp_path_factory.mktemp("labeling"))
    jobs.prepare(labeling.root)
    labeling.label("undisturbed", jobs.LOCAL)
    return labeling


@pytest.fixture(scope="package")
def compare_propagation(tmp_path_factory):
    """Spreads labels on a runner and on the local one, and compares."""
    root = tmp_path_factory.mktemp("propagation")
    jobs.prepare_features(root)

    def compare(name, beam_flags, *, exact_images):
        local = root / f"local-{exact_images}"
        if not local.exists():
            jobs.propagate(root, local, jobs.LOCAL, exact_images=exact_images)
        output = root / f"{name}-{exact_images}"
        jobs.propagate(root, output, beam_flags, exact_images=exact_images)
        jobs.compare(output, local)

    return compare


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A Flink cluster on this machine."""
    cluster = local_flink.Cluster(tmp_path_factory.mktemp("flink"))
    try:
        cluster.do("up")
        yield cluster
    finally:
        cluster.do("down")
