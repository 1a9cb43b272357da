import dataclasses
import itertools
import json
import re

import numpy as np
import pytest
import tensorflow as tf

from classifier.data.sources import open_source
from classifier.models.config import ModelConfig
from classifier.training import input_pipeline, loop, losses, trainer
from classifier.training.backend_tensorflow import TensorFlowBackend
from classifier.training.checkpoint import Checkpoints
from classifier.training.config import OptimizerConfig, TrainConfig
from classifier.training.devices import ONE_PROCESS, RunContext
from tests.images import random_images, write_folder

LABELS = [0, 1, 2, 0, 1]


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("labeled")
    write_folder(root, random_images(len(LABELS)), LABELS)
    return open_source(f"folder:{root}")


def read_rows(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def make_backend(config):
    return TensorFlowBackend(
        *(trainer.build(config, num_classes=3) for _ in "12"), config
    )


def fit(workdir, source, config, *, kill_after=None, transform=lambda batch: batch):
    """Trains in `workdir`; returns the backend, the lines said and the evaluation."""

    def make_batches(start_step):
        batches = input_pipeline.training_batches(
            source,
            config,
            batch_size=config.global_batch_size,
            make_target=trainer.hard_targets(config, num_classes=3),
            start_step=start_step,
        )
        for step, batch in enumerate(batches, start=start_step):
            if step == kill_after:
                raise KilledError
            yield transform(batch)

    backend = make_backend(config)
    said = []
    evaluation = loop.fit(
        backend,
        config,
        make_batches=make_batches,
        make_evaluation_batches=lambda: input_pipeline.evaluation_batches(
            source, config.image, batch_size=config.global_batch_size
        ),
        context=RunContext(workdir=workdir, log=said.append, devices=ONE_PROCESS),
    )
    return backend, said, evaluation


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, source, config):
    workdir = tmp_path_factory.mktemp("undisturbed")
    return workdir, *fit(workdir, source, config)


@pytest.mark.parametrize("kill_after", [1, 3])
def test_a_killed_run_ends_bit_for_bit_like_an_undisturbed_one(
    tmp_path, source, config, undisturbed, kill_after
):
    workdir, backend, _, evaluation = undisturbed
    with pytest.raises(KilledError):
        fit(tmp_path, source, config, kill_after=kill_after)
    resumed, said, resumed_evaluation = fit(tmp_path, source, config)
    saved = kill_after - kill_after % config.checkpoint_every
    assert (f"resuming at step {saved}" in said) == (saved > 0)
    expected = backend.arrays()
    for name, array in resumed.arrays().items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert resumed_evaluation == evaluation
    read = [(d / "metrics.jsonl").read_text() for d in (tmp_path, workdir)]
    assert read[0] == read[1]


def test_another_network_resumes_bit_for_bit_too(tmp_path, source, config):
    """Its unnamed layers and its seeds of dropout must be found again."""
    other = dataclasses.replace(config, model=ModelConfig(name="MobileNet"))
    expected = fit(tmp_path / "undisturbed", source, other)[0].arrays()
    with pytest.raises(KilledError):
        fit(tmp_path / "killed", source, other, kill_after=3)
    resumed = fit(tmp_path / "killed", source, other)[0].arrays()
    assert resumed.keys() == expected.keys()
    for name, array in resumed.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_a_finished_run_only_evaluates_again(undisturbed, source, config):
    workdir, _, _, evaluation = undisturbed
    _, said, again = fit(workdir, source, config, kill_after=0)
    assert said[0] == f"resuming at step {config.num_steps}"
    assert again == evaluation


def test_metrics_have_a_row_for_every_due_step(undisturbed, config):
    workdir, *_ = undisturbed
    rows = read_rows(workdir)
    steps = [row["step"] for row in rows if "train/loss" in row]
    assert steps == list(range(1, config.num_steps + 1))
    assert [row["step"] for row in rows if "evaluation/top1" in row] == [3, 6]
    assert list((workdir / "events").iterdir())


def test_a_loss_that_is_not_finite_stops_with_step_and_checkpoint(
    tmp_path, source, config
):
    steps = itertools.count()

    def poison(batch):
        if next(steps) < 3:
            return batch
        return {**batch, "target": batch["target"] * np.float32("nan")}

    named = r"\bnan\b.*\b4\b.*\b3\b.*/step-00000002.npz"
    with pytest.raises(FloatingPointError, match=named):
        fit(tmp_path, source, config, transform=poison)


class FakeBackend:
    """A state of one number; counts how often a scalar is fetched."""

    def __init__(self, tops=(), poisoned_at=None):
        self.step, self.fetched = 0, 0
        self.tops, self.poisoned_at = list(tops), poisoned_at

    def train_step(self, batch):
        self.step += 1
        return {"train/loss": self}

    def __float__(self):
        self.fetched += 1
        return 1.0

    def predict(self, images):
        """Is right about so many of the ten images as it is told to be."""
        right = self.tops.pop(0) if self.tops else 5
        return np.eye(2)[(np.arange(10) >= right).astype(int)]

    def arrays(self):
        is_bad = self.poisoned_at is not None and self.step >= self.poisoned_at
        return {"weight": np.array([1.0, np.inf if is_bad else 2.0])}

    def load_arrays(self, arrays):
        pass


def fit_fake(workdir, backend, **changes):
    config = TrainConfig(
        optimizer=OptimizerConfig(warmup_steps=0),
        **{"num_steps": 12, "global_batch_size": 10, **changes},
    )
    labels = np.zeros(10, int)
    batch = {"image": None, "label": labels, "weight": np.ones(10)}
    said = []
    loop.fit(
        backend,
        config,
        make_batches=lambda start: itertools.repeat({}),
        make_evaluation_batches=lambda: [batch],
        context=RunContext(workdir=workdir, log=said.append, devices=ONE_PROCESS),
    )
    return said


def test_scalars_are_fetched_only_when_they_are_written(tmp_path):
    backend = FakeBackend()
    said = fit_fake(tmp_path, backend, log_every=5)
    assert backend.fetched == 3
    steps = [row["step"] for row in read_rows(tmp_path) if "train/loss" in row]
    assert steps == [5, 10, 12]
    shown = [line for line in said if "images/s" in line]
    assert len(shown) == 3
    assert all(re.search(r"images/s  ETA \d+:\d\d:\d\d$", line) for line in shown)


def test_a_state_that_is_not_finite_is_never_saved(tmp_path):
    backend = FakeBackend(poisoned_at=7)
    named = r"\bweight\b.*\b8\b.*\b5\b.*/step-00000004.npz"
    with pytest.raises(FloatingPointError, match=named):
        fit_fake(tmp_path, backend, log_every=5, checkpoint_every=4)
    assert Checkpoints(tmp_path / "checkpoints", keep=1).steps() == [4]


def test_an_evaluation_that_is_not_finite_is_not_the_best(tmp_path):
    backend = FakeBackend()
    backend.predict = lambda images: np.full((10, 2), np.nan)
    with pytest.raises(FloatingPointError, match=r"\b3\b.*\b0\b"):
        fit_fake(tmp_path, backend, evaluate_every=3)
    assert Checkpoints(tmp_path / "checkpoints", keep=1).steps("best") == []


def test_the_checkpoint_of_the_best_evaluation_stays(tmp_path):
    fit_fake(tmp_path, FakeBackend(tops=[3, 8, 8, 7]), evaluate_every=3)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1)
    assert checkpoints.steps("best") == [6]
    assert checkpoints.steps() == [12]


def test_the_best_of_an_earlier_start_is_remembered(tmp_path):
    changes = {"evaluate_every": 3, "checkpoint_every": 6}
    with pytest.raises(FloatingPointError):
        fit_fake(tmp_path, FakeBackend(tops=[3, 8], poisoned_at=12), **changes)
    fit_fake(tmp_path, FakeBackend(tops=[7, 6]), **changes)
    assert Checkpoints(tmp_path / "checkpoints", keep=1).steps("best") == [6]


def test_a_checkpoint_of_another_network_is_refused(undisturbed, config):
    workdir, backend, *_ = undisturbed
    _, arrays = Checkpoints(workdir / "checkpoints", keep=1).load_latest()
    arrays.pop("ema/logits/bias")
    with pytest.raises(ValueError, match="ema/logits/bias differs"):
        backend.load_arrays(arrays)


def test_ema_follows_weights_and_batch_norm_statistics_with_the_ramp(source, config):
    backend = make_backend(config)
    names = ("logits/kernel", "stem_0_bn/moving_mean")
    average = {name: backend.arrays()[f"ema/{name}"] for name in names}
    batches = input_pipeline.training_batches(
        source,
        config,
        batch_size=4,
        make_target=trainer.hard_targets(config, num_classes=3),
    )
    for step, batch in zip(range(4), batches, strict=False):
        backend.train_step(batch)
        arrays = backend.arrays()
        decay = min(config.optimizer.ema_decay, (1 + step) / (10 + step))
        for name in names:
            value = arrays[f"model/{name}"]
            average[name] = decay * average[name] + (1 - decay) * value
            np.testing.assert_allclose(
                arrays[f"ema/{name}"], average[name], rtol=1e-4, atol=1e-6
            )


def test_without_an_average_the_last_weights_are_evaluated(source, config):
    plain = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, batch_norm_momentum=0.9),
        optimizer=dataclasses.replace(config.optimizer, ema_decay=0.0),
    )
    backend = make_backend(plain)
    images = tf.zeros([4, 32, 32, 3], tf.uint8)
    for _ in range(2):
        backend.train_step({"image": images, "target": tf.fill([4, 3], 1 / 3)})
    arrays = backend.arrays()
    averages = [name for name in arrays if name.startswith("ema/")]
    assert len(averages) > 50
    for name in averages:
        np.testing.assert_array_equal(
            arrays[name], arrays[name.replace("ema/", "model/")]
        )


def test_the_average_starts_where_the_weights_start(config):
    model, average = (trainer.build(config, num_classes=3) for _ in "12")
    model.get_layer("logits").bias.assign([1.0, 2.0, 3.0])
    arrays = TensorFlowBackend(model, average, config).arrays()
    np.testing.assert_array_equal(arrays["ema/logits/bias"], [1.0, 2.0, 3.0])


def test_weight_decay_covers_all_but_the_scales_and_offsets_of_batch_norm(config):
    backend = make_backend(
        dataclasses.replace(config, model=ModelConfig(name="resnet_rs_50"))
    )
    decayed = sum(
        array.size
        for name, array in backend.arrays().items()
        if name.startswith("velocity/") and losses.is_decayed(name)
    )
    # Of the published count at 1000 classes, 26,688 channels of batch-norm, and the
    # 2,049 weights a class has in the head.
    assert decayed == 35_691_912 - 2 * 26_688 - 997 * 2_049


def test_the_loss_falls(tmp_path, source, config):
    longer = dataclasses.replace(
        config,
        num_steps=40,
        evaluate_every=100,
        model=dataclasses.replace(
            config.model, dropout_rate=0.0, stochastic_depth_rate=0.0
        ),
        augment=dataclasses.replace(config.augment, num_ops=0),
    )
    fit(tmp_path, source, longer)
    losses = [row["train/loss"] for row in read_rows(tmp_path) if "train/loss" in row]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_evaluation_counts_by_weight():
    class Backend:
        def predict(self, images):
            return images

    logits = np.array([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0], [9.0, 0.0]])
    batch = {"image": logits, "label": [0, 1, 1, 0], "weight": [1.0, 1.0, 1.0, 0.0]}
    result = loop.evaluate(Backend(), [batch], ONE_PROCESS)
    expected = np.mean(
        [np.log1p(np.exp(-2)), np.log1p(np.exp(-1)), np.log1p(np.exp(5))]
    )
    assert (result.num_examples, result.num_correct) == (3, 2)
    assert result.cross_entropy == pytest.approx(expected)
    assert result.top1 == pytest.approx(2 / 3)
