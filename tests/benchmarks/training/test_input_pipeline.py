import dataclasses
import itertools
import json
import statistics

import numpy as np
import pytest

from benchmarks.training import input_pipeline as benchmark
from classifier.data import preprocessing
from classifier.training import input_pipeline, presets
from tests.benchmarks import patched

#: Images a second on TPUv3, 128 over the published step times.
PUBLISHED = {
    "resnet_rs_50_160": 1829,
    "resnet_rs_101_160": 1067,
    "resnet_rs_101_192": 753,
    "resnet_rs_152_192": 533,
    "resnet_rs_152_224": 400,
    "resnet_rs_152_256": 312,
    "resnet_rs_200_256": 225,
    "resnet_rs_270_256": 164,
    "resnet_rs_350_256": 116,
    "resnet_rs_350_320": 79,
    "resnet_rs_420_320": 61,
}
NUM_IMAGES = 64


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "NUM_IMAGES", NUM_IMAGES)
        yield benchmark.open_photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="module")
def jpegs(source):
    """The encoded images of the first file, none of them twice."""
    examples = source.reader.read(dataclasses.asdict(source.files[0]))
    images = [example["image"] for example in examples.as_numpy_iterator()]
    assert len(set(images)) == len(images)
    assert len(images) == benchmark.NUM_IMAGES // benchmark.NUM_FILES
    return images


def first(dataset):
    return next(dataset.as_numpy_iterator())


@pytest.mark.slow
def test_the_command_prints_every_figure():
    # Its process is made deterministic.
    lines = patched.run(
        "benchmarks.training.input_pipeline",
        "--turn_seconds=0",
        ROUNDS=2,
        SIZE_ROUNDS=1,
        NUM_IMAGES=NUM_IMAGES,
        SHUFFLE_BUFFER=32,
        BATCH=8,
    )
    figures = json.loads(lines[-1])
    speeds = figures["images_per_second"]
    ways = {"ours", "mixture", "crop", "decoder"}
    assert set(speeds) == set(figures["cores_at_work"]) == ways
    assert min([*speeds.values(), *figures["cores_at_work"].values()]) > 0
    rounds = figures["rounds"]
    medians = {name: statistics.median(turns) for name, turns in rounds.items()}
    assert speeds == pytest.approx(medians, abs=0.001)  # All are rounded.
    ratios = {"ours": "ratio_to_decoder", "mixture": "mixture_ratio_to_decoder"}
    for way, name in ratios.items():
        ratio = figures[name]
        expected = np.median(np.divide(rounds[way], rounds["decoder"]))
        assert ratio == pytest.approx(expected, rel=0.01)
        met = "yes" if ratio >= 0.7 else "no"
        (row,) = (line.split() for line in lines if line.startswith(f"{name} "))
        assert row == [name, f"{ratio:.3f}", ">=", "0.7", met]
    by_size = figures["images_per_second_by_size"]
    assert set(by_size) == {"160", "192", "224", "256", "320"}
    assert by_size["160"] == speeds["ours"]
    assert set(figures["cores_per_chip"]) == set(PUBLISHED)
    for name, cores in figures["cores_per_chip"].items():
        per_core = by_size[name.rpartition("_")[2]] / figures["num_cores"]
        assert cores * per_core == pytest.approx(PUBLISHED[name], rel=0.02)
        (row,) = (line.split() for line in lines if line.startswith(name))
        assert row[1] == str(PUBLISHED[name])


def test_the_warm_up_does_not_count():
    """Each batch takes its own time, and half of it two cores."""
    now = 0.0

    def batches():
        nonlocal now
        for seconds in itertools.chain([50.0, 3.0, 3.0], itertools.repeat(0.5)):
            now += seconds
            yield

    speed = benchmark.measure(
        batches(), seconds=10.0, clock=lambda: now, processor_clock=lambda: 1.5 * now
    )
    assert speed == {
        "images_per_second": benchmark.BATCH / 0.5,
        "cores_at_work": 1.5,
    }


def test_one_batch_is_measured_at_the_least():
    ticks = itertools.count(0.0, 0.25)
    speed = benchmark.measure(
        itertools.repeat(None), seconds=0.0, clock=lambda: next(ticks)
    )
    assert speed["images_per_second"] == benchmark.BATCH / 0.25


def test_ours_are_the_batches_of_training(source):
    config = presets.find("resnet_rs_101_192")
    batch = first(benchmark.ours(source, config))
    assert batch["image"].shape == (benchmark.BATCH, 192, 192, 3)
    assert batch["target"].shape == (benchmark.BATCH, 1000)
    assert len({image.tobytes() for image in batch["image"]}) == benchmark.BATCH


def test_a_size_stands_for_all_its_recipes():
    inputs = {(c.image, c.augment) for c in presets.PUBLISHED.values()}
    assert len(inputs) == len({image.size for image, _ in inputs})


def test_the_decoder_decodes_to_the_last_pixel(source, jpegs):
    found = first(benchmark.decoder(source))
    assert found.shape == (benchmark.BATCH, 3)
    # The files take turns: one image in INTERLEAVE is of the first.
    corners = [preprocessing.decode(jpeg).numpy()[-1, -1] for jpeg in jpegs]
    of_first = found[:: input_pipeline.INTERLEAVE]
    np.testing.assert_array_equal(of_first, corners[: len(of_first)])


def test_the_mixture_is_what_a_student_trains_on(source, jpegs, tmp_path):
    pseudo_labeled = benchmark.open_pseudo_labeled(tmp_path / "dataset", source)
    batch = first(benchmark.mixture(source, pseudo_labeled))
    assert batch["image"].shape == (32, 160, 160, 3)
    assert batch["target"].shape == (32, 1000)
    assert batch["mask/labeled"].sum() == 8
    np.testing.assert_allclose(batch["target"].sum(-1), 1, rtol=1e-4)
    examples = pseudo_labeled.reader.read(dataclasses.asdict(pseudo_labeled.files[0]))
    images = [example["image"] for example in examples.as_numpy_iterator()]
    assert images == jpegs
