import pytest

from workflow.choice.cost import Counts, count_run
from workflow.choice.networks import Backbone, offered

DEMO = Counts(labeled=50, unlabeled=1147, classes=10)
TINY = offered()[0]


def test_the_demo_costs_what_its_report_says():
    # README.md: 1.38e12 multiply-adds of the chain, and as many of the control.
    assert count_run(TINY, None, DEMO) == pytest.approx(2 * 1.38e12, rel=0.1)


def test_a_probe_costs_an_embedding_of_each_image():
    free = count_run(TINY, Backbone(spec="onnx:x"), DEMO)
    costly = count_run(TINY, Backbone(spec="onnx:x", multiply_adds=1e9), DEMO)
    # The labeled images are embedded to be excluded, too.
    assert costly - free == 2 * 1e9 * (1147 + 2 * 50)
    assert free < count_run(TINY, None, DEMO)


def test_a_teacher_alone_needs_no_unlabeled_images():
    alone = Counts(labeled=50, unlabeled=0, classes=10)
    # 800 steps of 32 images, three passes, of teacher and control.
    expected = 2 * (3 * 800 * 32 + 2 * 50) * TINY.multiply_adds
    assert count_run(TINY, None, alone) == expected
