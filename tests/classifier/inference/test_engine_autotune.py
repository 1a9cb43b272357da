import pytest

from classifier.inference import engine, engine_autotune
from classifier.inference.engine import REFERENCE, Engine
from classifier.inference.engine_autotune import BATCH_SIZE, EngineTiming
from classifier.inference.ensemble import Classifier
from tests.images import random_images, to_examples

#: Those that run a SavedModel.
ALL = [
    Engine(name, dtype)
    for name in ("tensorflow", "openvino")
    for dtype in engine.DTYPES
]


@pytest.fixture(scope="module")
def classifier(exported):
    return Classifier(exported[0])


def test_every_engine_is_timed_and_compared_with_the_reference(classifier):
    examples = to_examples(random_images(8 * BATCH_SIZE))
    timings = engine_autotune.time_engines(classifier, ALL, examples, seconds=0.1)
    assert [timing.engine for timing in timings] == ALL
    assert timings[0].agreement == 1.0
    assert all(timing.images_per_second > 0 for timing in timings)
    table = engine_autotune.describe(timings, ALL[2])
    assert len(table) == 1 + len(ALL)
    assert [line for line in table if "chosen" in line] == [table[3]]


def test_without_images_the_reference_is_chosen(classifier):
    timings = engine_autotune.time_engines(classifier, ALL, to_examples([b"text"] * 20))
    assert engine_autotune.choose(timings) == REFERENCE


@pytest.mark.parametrize("num_images", [0, BATCH_SIZE - 1])
def test_with_too_few_images_one_line_says_that_nothing_was_timed(
    classifier, num_images, monkeypatch
):
    monkeypatch.setattr(
        classifier.loader, "load", lambda *_, **__: pytest.fail("a network was loaded")
    )
    examples = to_examples([*random_images(num_images), b"text"])
    timings = engine_autotune.time_engines(classifier, ALL, examples)
    (line,) = engine_autotune.describe(timings, engine_autotune.choose(timings))
    assert f"at least {BATCH_SIZE} images" in line and f"{REFERENCE}" in line
    assert "0.0" not in line


def test_images_that_cannot_be_decoded_do_not_take_others_with_them(classifier):
    good = random_images(BATCH_SIZE)
    examples = to_examples([*good[:3], b"text", *good[3:]])
    timings = engine_autotune.time_engines(classifier, ALL[:1], examples, seconds=0.1)
    assert timings[0].images_per_second > 0


def test_the_fastest_that_agrees_is_chosen():
    def choose(*speeds_and_agreements):
        return engine_autotune.choose(
            [
                EngineTiming(candidate, *figures)
                for candidate, figures in zip(ALL, speeds_and_agreements, strict=False)
            ]
        )

    assert choose((10, 1), (20, 1), (15, 1), (40, 1)) == ALL[3]
    assert choose((10, 1), (20, 1), (15, 1), (40, 0.99)) == ALL[1]
    assert choose((10, 1), (20, 0.9), (10.4, 1)) == REFERENCE  # May be noise.
    assert choose((10, 1), (9, 1)) == REFERENCE
    assert choose((10, 1)) == REFERENCE
