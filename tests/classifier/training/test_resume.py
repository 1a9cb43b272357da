"""Runs that get a signal and, started again, end bit for bit like undisturbed ones."""

import json
import random
import signal
import time

import numpy as np
import pytest

from classifier.training import checkpoint
from stage import preemption
from tests import commands
from tests.images import random_images, write_folder

#: The signal that asks a run of each backend to stop, and the exit status.
NOTICES = {"tensorflow": (signal.SIGINT, 130), "jax": (signal.SIGTERM, 75)}
NUM_STEPS = 150
CHECKPOINT_EVERY = 20
RECIPE = (
    "--preset=tiny",
    "--set=model.width_multiplier=0.0625",
    "--set=model.stochastic_depth_rate=0.1",
    "--set=model.dropout_rate=0.1",
    # Thresholds whose state decides, and which some predictions reach.
    "--set=consistency.thresholds=curriculum",
    "--set=consistency.threshold=0.4",
    # Building more of them takes longer than the steps.
    "--set=augment.num_ops=1",
    "--set=augment.operations=ShearX",
    "--set=optimizer.warmup_steps=5",
    "--set=global_batch_size=8",
    "--set=input_shards=2",
    "--set=shuffle_buffer=6",
    f"--set=num_steps={NUM_STEPS}",
    "--set=log_every=1",
    "--set=evaluate_every=50",
    f"--set=checkpoint_every={CHECKPOINT_EVERY}",
)


def start(images, workdir, *more):
    return commands.start(
        "teacher.train",
        *RECIPE,
        f"--labeled=folder:{images}",
        f"--evaluation=folder:{images}",
        f"--unlabeled=folder:{images}",
        f"--workdir={workdir}",
        *more,
    )


def steps_done(workdir):
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    whole = [line for line in lines if line.endswith("}")]
    return json.loads(whole[-1])["step"] if whole else 0


def end(process, workdir, *, after, how):
    """Sends the signal `how` when so many steps are done; returns the output."""
    while steps_done(workdir) < after:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    process.send_signal(how)
    return process.communicate()[0]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    write_folder(root, random_images(15), [i % 3 for i in range(15)])
    return root


@pytest.mark.parametrize(
    "backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.slow)]
)
def test_an_ended_run_goes_on_bit_for_bit(images, tmp_path, backend):
    workdir, undisturbed = run_with_ends(images, tmp_path, backend)
    assert_equal(workdir, undisturbed)


def run_with_ends(images, root, backend):
    """Trains once undisturbed, and once ended by signals and started again.

    Both backends are asked to stop; JAX, which finds its step compiled, is killed, too.
    What follows a kill of TensorFlow is tested with the loop.
    """
    flag = f"--backend={backend}"
    workdir = root / "ended"
    # A random step: any must do.
    terminated = random.randrange(2, NUM_STEPS // 2)

    process = start(images, workdir, flag)
    notice, status = NOTICES[backend]
    output = end(process, workdir, after=terminated, how=notice)
    assert process.returncode == status, output
    saved = checkpoint.Checkpoints(workdir / "checkpoints", keep=2).steps()[-1]
    assert f"saved at step {saved};" in output.splitlines()[-1]
    assert saved == steps_done(workdir)

    undisturbed = start(images, root / "undisturbed", flag)
    outputs = []
    if backend == "jax":
        # Later than the saved step, which may be long after `terminated`.
        killed = random.randrange(saved + 1, NUM_STEPS - 20)
        process = start(images, workdir, flag)
        outputs.append(end(process, workdir, after=killed, how=signal.SIGKILL))
        assert process.returncode == -signal.SIGKILL

    # The unfinished file of a run killed while it saved its newest checkpoint.
    half = workdir / "checkpoints" / f".step-{NUM_STEPS:08d}.npz.{32 * 'a'}"
    half.write_bytes(b"half")
    outputs.append(commands.finish(start(images, workdir, flag)))
    assert f"resuming at step {saved}" in outputs[0]
    assert "resuming at step" in outputs[-1]
    assert not half.exists()

    commands.finish(undisturbed)
    return workdir, root / "undisturbed"


@pytest.mark.slow
def test_one_notice_ends_all_processes_after_the_same_step(images, tmp_path):
    def start_both():
        port = commands.free_port()
        return [
            start(images, tmp_path / "run", *commands.distributed(index, port))
            for index in range(2)
        ]

    first, second = start_both()
    end(second, tmp_path / "run", after=10, how=signal.SIGTERM)
    output = first.communicate()[0]
    statuses = [process.returncode for process in (first, second)]
    assert statuses == [preemption.EXIT_STATUS] * 2, output
    (saved,) = checkpoint.Checkpoints(tmp_path / "run" / "checkpoints", keep=2).steps()[
        -1:
    ]
    assert f"saved at step {saved}" in output
    outputs = [commands.finish(process) for process in start_both()]
    assert f"resuming at step {saved}" in outputs[0]
    assert (tmp_path / "run" / "COMPLETED").exists()
    assert steps_done(tmp_path / "run") == NUM_STEPS


def assert_equal(workdir, expected):
    for name in ("metrics.jsonl", "classifier.json", "config.json"):
        assert (workdir / name).read_text() == (expected / name).read_text()
    left, right = (
        {
            path.name: checkpoint.read(path)
            for path in (directory / "checkpoints").iterdir()
        }
        for directory in (workdir, expected)
    )
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    tops = {r["step"]: r["evaluation/top1"] for r in rows if "evaluation/top1" in r}
    best = max(tops, key=tops.get)
    assert left.keys() == {
        f"best-{best:08d}.npz",
        f"step-{NUM_STEPS - NUM_STEPS % CHECKPOINT_EVERY:08d}.npz",
        f"step-{NUM_STEPS:08d}.npz",
    }
    assert left.keys() == right.keys()
    for file in left:
        assert left[file].keys() == right[file].keys()
        assert (left[file]["thresholds/last_label"] >= 0).any()
        for name, array in left[file].items():
            np.testing.assert_array_equal(array, right[file][name], err_msg=name)
