import pytest

from infra import estimate
from stage import cli
from tests.workflow.dataflow import recorded

RATE = "runner.dataflow.images_per_second=20"


@pytest.fixture
def lines(capsys):
    """Runs the command; returns its status and the lines that it prints."""

    def run(*assignments, num_images=130_000_000):
        flags = [f"--set={text}" for text in (*recorded.SETTINGS, *assignments)]
        flags.append(f"--num_images={num_images}")
        status = cli.call(estimate.main, estimate.FLAGS, flags)
        out, err = capsys.readouterr()
        return status, out.splitlines() or err.splitlines()

    return run


def test_it_is_that_of_the_documentation(lines):
    from tests.infra.test_dataflow_documentation import DOCUMENT

    status, found = lines(RATE)
    assert status == 0
    for line in found[:7]:
        assert line in DOCUMENT


def test_it_is_of_the_accelerator_and_the_machines(lines):
    given = ("runner.dataflow.accelerator=nvidia-l4", "runner.dataflow.max_workers=3")
    _, found = lines(RATE, *given)
    assert "20.0 a second by each g2-standard-8" in found[0]
    assert "with 3 workers" in found[2]


@pytest.mark.parametrize(
    ("given", "is_blended"),
    [
        ((), True),
        (("labeling.neighbors=0",), False),
        (("teacher.features=keras:EfficientNetV2B0",), False),
        (("data.calibration=folder:x",), False),
    ],
)
def test_what_leaves_the_cloud_depends_on_blending(lines, given, is_blended):
    _, found = lines(RATE, *given)
    blended = [line for line in found if "before and after blending" in line]
    assert bool(blended) == is_blended


def test_without_a_rate_the_setting_is_named(lines):
    status, (line,) = lines()
    assert status == 1
    assert "runner.dataflow.images_per_second (make: RATE=)" in line
