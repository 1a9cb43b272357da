"""A backend without a network, for tests of the loop and of what it writes."""

import itertools
import json

import numpy as np

from classifier.training import loop
from classifier.training.config import OptimizerConfig, TrainConfig
from classifier.training.devices import ONE_PROCESS, RunContext


class FakeBackend:
    """A state of one number; counts how often a scalar is fetched.

    Attributes:
        num_correct: Images (of ten) predicted correctly in the next evaluations.
        poisoned_at: Step from which the state is not finite.
    """

    def __init__(self, num_correct=(), poisoned_at=None):
        self.step, self.fetched = 0, 0
        self.num_correct, self.poisoned_at = list(num_correct), poisoned_at

    def train_step(self, batch):
        self.step += 1
        return {"train/loss": self, "train/top1": 0.5}

    def __float__(self):
        self.fetched += 1
        return 1.0

    def predict(self, images):
        num_correct = self.num_correct.pop(0) if self.num_correct else 5
        return np.eye(2)[(np.arange(10) >= num_correct).astype(int)]

    def arrays(self):
        is_bad = self.poisoned_at is not None and self.step >= self.poisoned_at
        return {"weight": np.array([1.0, np.inf if is_bad else 2.0])}

    def load_arrays(self, arrays):
        pass


def fake_config(**changes):
    return TrainConfig(
        optimizer=OptimizerConfig(warmup_steps=0),
        **{"num_steps": 12, "global_batch_size": 10, **changes},
    )


def run_context(workdir, *, devices=ONE_PROCESS, **more):
    """A context whose `log` collects lines; returns both."""
    lines = []
    context = RunContext(workdir=workdir, log=lines.append, devices=devices, **more)
    return context, lines


def fit_fake(workdir, backend, *, batches=None, profile=False, **changes):
    """Trains a fake backend in `workdir`; returns the lines logged."""
    batch = {"image": None, "label": np.zeros(10, int), "weight": np.ones(10)}
    context, lines = run_context(workdir, profile=profile)
    loop.fit(
        backend,
        fake_config(**changes),
        make_batches=lambda start: batches or itertools.repeat({}),
        make_evaluation_batches=lambda: [batch],
        context=context,
    )
    return lines


def read_rows(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
