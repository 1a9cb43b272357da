"""TensorFlow and JAX, one device and eight, one process and two: the same training."""

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
from tests.conftest import export
from tests.images import random_images, write_folder

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
def arguments(tmp_path_factory, config):
    """Flags of every run: images, recipe, and the same initial weights."""
    root = tmp_path_factory.mktemp("images")
    labels = [i % 3 for i in range(NUM_IMAGES)]
    write_folder(root, random_images(NUM_IMAGES), labels)
    first, _ = export(tmp_path_factory.mktemp("first") / "classifier", config, seed=3)
    return (
        *RECIPE,
        f"--labeled=folder:{root}",
        f"--evaluation=folder:{root}",
        f"--init_from={first}",
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory, arguments):
    """Directories of the same training, done in four ways, and what was printed."""
    root = tmp_path_factory.mktemp("runs")

    def start(name, *more, devices=1):
        return commands.start(
            "teacher.train",
            *arguments,
            f"--workdir={root / name}",
            *more,
            devices=devices,
        )

    processes = {
        "tensorflow": start("tensorflow", "--profile"),
        "jax": start("jax", "--backend=jax", "--profile"),
    }
    printed = {name: commands.finish(process) for name, process in processes.items()}
    port = commands.free_port()
    processes = {
        "first": start("two", *commands.distributed(0, port), devices=2),
        "second": start("two", *commands.distributed(1, port), devices=2),
        "eight": start("eight", "--backend=jax", devices=8),
    }
    printed |= {name: commands.finish(process) for name, process in processes.items()}
    return root, printed


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


@pytest.mark.parametrize("name", ["jax", "eight", "two"])
def test_losses_weights_and_averages_are_the_same(runs, name):
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
        losses(root / name), losses(root / "tensorflow"), rtol=1e-4
    )
    assert_same_state(final(root / "tensorflow"), final(root / name))


@pytest.mark.parametrize("name", ["jax", "eight", "two"])
def test_the_exported_classifier_is_the_same(runs, name):
    root, _ = runs
    facts = [
        json.loads((root / each / "classifier.json").read_text())
        for each in ("tensorflow", name)
    ]
    expected, found = (each.pop("evaluation") for each in facts)
    assert found["num_examples"] == expected["num_examples"] == NUM_IMAGES
    assert found["num_correct"] == expected["num_correct"]
    assert found["cross_entropy"] == pytest.approx(expected["cross_entropy"], rel=1e-4)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    probabilities = [
        tf.nn.softmax(ensemble.Classifier(root / each).logits(pixels)).numpy()
        for each in ("tensorflow", name)
    ]
    np.testing.assert_allclose(*probabilities, atol=1e-4)


def test_only_the_first_process_logs(runs):
    _, printed = runs
    assert "jax on 4 x cpu in 2 processes" in printed["first"]
    assert f"step {NUM_STEPS}/{NUM_STEPS}" in printed["first"]
    assert "step" not in printed["second"]
    assert "jax on 8 x cpu" in printed["eight"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("tensorflow", "jax"),
        pytest.param("jax", "tensorflow", marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_of_one_backend_resumes_in_the_other(
    runs, arguments, tmp_path, first, second
):
    root, _ = runs
    workdir = tmp_path / "handed-over"
    (workdir / "checkpoints").mkdir(parents=True)
    for name in ("config.json", "checkpoints/step-00000004.npz"):
        shutil.copy(root / first / name, workdir / name)
    output = commands.run(
        "teacher.train", *arguments, f"--workdir={workdir}", f"--backend={second}"
    )
    assert "resuming at step 4" in output
    np.testing.assert_allclose(losses(workdir), losses(root / first)[4:], rtol=1e-4)
    assert_same_state(final(root / first), final(workdir))


@pytest.mark.parametrize("name", ["tensorflow", "jax"])
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
