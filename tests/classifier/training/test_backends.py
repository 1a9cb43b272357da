"""TensorFlow and JAX, one device and eight, one process and two: the same training.

In one process, JAX goes on from a checkpoint of TensorFlow, on eight devices. What it
computes on one device is compared in `jax_program`.
"""

import functools
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from classifier.inference import ensemble
from classifier.training import checkpoint
from tests import commands
from tests.images import random_images, write_folder

pytestmark = pytest.mark.slow  # `test_consistency_backends` is not.

NUM_STEPS = 10
NUM_IMAGES = 22
#: Ten steps that differ by rounding alone. There is no noise inside the network, whose
#: random numbers each backend draws in its own way. Where a ReLU's input is zero but
#: for its rounding, the gradient differs by the whole unit at that position: a learning
#: rate as low as in the first steps of a published warm-up, and many positions, keep
#: the effect small.
RECIPE = (
    "--preset=tiny",
    "--set=model.width_multiplier=0.0625",
    "--set=model.dropout_rate=0.0",
    "--set=image.size=64",
    # Building more of them takes longer than the steps.
    "--set=augment.num_ops=1",
    "--set=augment.operations=ShearX",
    "--set=optimizer.peak_learning_rate=0.002",
    "--set=optimizer.warmup_steps=5",
    "--set=global_batch_size=16",
    "--set=input_shards=2",
    f"--set=num_steps={NUM_STEPS}",
    "--set=log_every=1",
    "--set=checkpoint_every=4",
    "--set=checkpoints_to_keep=3",
)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory, exported):
    """Flags of every run: images, recipe, and the same initial weights."""
    root = tmp_path_factory.mktemp("images")
    labels = [i % 3 for i in range(NUM_IMAGES)]
    write_folder(root, random_images(NUM_IMAGES), labels)
    return (
        *RECIPE,
        f"--labeled=folder:{root}",
        f"--evaluation=folder:{root}",
        f"--init_from={exported[0]}",
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory, arguments):
    """Directories of the same training, done in two ways, and what was printed."""
    root = tmp_path_factory.mktemp("runs")

    def start(name, *more, devices=1):
        return commands.start(
            "teacher.train",
            *arguments,
            f"--workdir={root / name}",
            *more,
            devices=devices,
        )

    port = commands.free_port()
    processes = {
        "tensorflow": start("tensorflow", "--profile"),
        "two": start("two", "--profile", *commands.distributed(0, port), devices=2),
        "second": start("two", "--profile", *commands.distributed(1, port), devices=2),
    }
    return root, {name: commands.finish(each) for name, each in processes.items()}


@pytest.fixture(scope="module")
def handed_over(runs, arguments):
    """Returns the training that goes on, in another backend, from one's checkpoint."""
    root, _ = runs

    @functools.cache
    def go_on(first, second):
        workdir = root / f"{first}-{second}"
        (workdir / "checkpoints").mkdir(parents=True)
        for name in ("config.json", "checkpoints/step-00000004.npz"):
            shutil.copy(root / first / name, workdir / name)
        flags = (*arguments, f"--workdir={workdir}", f"--backend={second}")
        output = commands.finish(commands.start("teacher.train", *flags, devices=8))
        assert "resuming at step 4" in output
        assert second == "tensorflow" or "jax on 8 x cpu" in output
        return workdir

    return go_on


def losses(directory):
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return np.array([row["train/loss"] for row in rows if "train/loss" in row])


def final(directory):
    return checkpoint.read(directory / "checkpoints" / f"step-{NUM_STEPS:08d}.npz")


def differences(left, right, group):
    """The largest difference in each float array of a group."""
    names = [name for name in left if name.startswith(f"{group}/")]
    names = [name for name in names if left[name].dtype == np.float32]
    assert len(names) > 50
    return [np.abs(left[name] - right[name]).max() for name in names]


def assert_same_state(left, right):
    assert left.keys() == right.keys()
    for group in ("model", "ema"):
        assert np.median(differences(left, right, group)) < 1e-5
        assert np.max(differences(left, right, group)) < 1e-3
    assert np.median(differences(left, right, "velocity")) < 1e-4
    assert left["step"] == right["step"] == NUM_STEPS


def test_losses_weights_and_averages_are_the_same(runs):
    root, _ = runs
    # The weights have changed since the start.
    kernels = [
        checkpoint.read(path)
        for path in sorted(root.glob("tensorflow/checkpoints/step-*"))
    ]
    kernel = "model/logits/kernel"
    assert np.abs(kernels[-1][kernel] - kernels[0][kernel]).max() > 5e-4
    assert len(losses(root / "tensorflow")) == NUM_STEPS
    np.testing.assert_allclose(
        losses(root / "two"), losses(root / "tensorflow"), rtol=1e-4
    )
    assert_same_state(final(root / "tensorflow"), final(root / "two"))


@pytest.mark.parametrize("name", ["two", "eight"])
def test_the_exported_classifier_is_the_same(runs, handed_over, name):
    root, _ = runs
    directories = (
        root / "tensorflow",
        root / name if name == "two" else handed_over("tensorflow", "jax"),
    )
    facts = [json.loads((each / "classifier.json").read_text()) for each in directories]
    expected, found = (each.pop("evaluation") for each in facts)
    assert found["num_examples"] == expected["num_examples"] == NUM_IMAGES
    assert found["num_correct"] == expected["num_correct"]
    assert found["cross_entropy"] == pytest.approx(expected["cross_entropy"], rel=1e-4)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    probabilities = [
        tf.nn.softmax(ensemble.Classifier(each).logits(pixels)).numpy()
        for each in directories
    ]
    np.testing.assert_allclose(*probabilities, atol=1e-4)


def test_only_the_first_process_logs(runs):
    _, printed = runs
    assert "jax on 4 x cpu in 2 processes" in printed["two"]
    assert f"step {NUM_STEPS}/{NUM_STEPS}" in printed["two"]
    assert "step" not in printed["second"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("tensorflow", "jax"),
        pytest.param("two", "tensorflow", marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_of_one_backend_resumes_in_the_other(
    runs, handed_over, first, second
):
    root, _ = runs
    workdir = handed_over(first, second)
    np.testing.assert_allclose(losses(workdir), losses(root / first)[4:], rtol=1e-4)
    assert_same_state(final(root / first), final(workdir))


@pytest.mark.parametrize("name", ["tensorflow", "two"])
def test_the_profile_is_a_trace_that_names_its_steps(runs, name):
    root, printed = runs
    assert str(root / name / "profile") in printed[name]
    (path,) = (root / name / "profile").glob("plugins/profile/*/*.xplane.pb")
    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    steps = set()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                if plane.event_metadata[event.metadata_id].name == "train":
                    stats = {
                        plane.stat_metadata[stat.metadata_id].name: stat
                        for stat in event.stats
                    }
                    steps.add(stats["step_num"].int64_value)
    assert steps == {3, 4, 5, 6, 7}


def test_a_batch_that_the_devices_cannot_share_is_refused(arguments, tmp_path):
    process = commands.start(
        "teacher.train",
        *arguments,
        f"--workdir={tmp_path / 'run'}",
        "--backend=jax",
        devices=3,
    )
    output, _ = process.communicate()
    assert process.returncode == 1
    assert re.fullmatch(
        r"error: global_batch_size\b.*\b3\b.*\b16", output.splitlines()[-1]
    )
    assert not (tmp_path / "run").exists()
