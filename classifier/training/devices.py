"""What a run computes on: the backend, its devices, and the processes that share it.

Imports neither TensorFlow nor JAX before it is asked to: Keras reads its backend once,
when it is imported.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.training.config import TrainConfig
from stage import cli

BACKENDS = ("tensorflow", "jax")
#: `--distributed` where the environment knows the processes, as on a TPU pod slice.
AUTO = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Devices:
    """All devices of all processes.

    Attributes:
        backend: One of BACKENDS.
        kind: What the devices call themselves.
        count: Devices of all processes together.
        process: Index of this process; 0 writes, and speaks.
        num_processes: How many run the same command.
    """

    backend: str = "tensorflow"
    kind: str = "CPU or GPU"
    count: int = 1
    process: int = 0
    num_processes: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.process == 0

    def describe(self) -> str:
        """Returns one line about them."""
        processes = f" in {self.num_processes} processes"
        return (
            f"{self.backend} on {self.count} x {self.kind}"
            f"{processes if self.num_processes > 1 else ''}"
        )

    def check(self, config: TrainConfig) -> None:
        """Refuses a recipe that they cannot share.

        Raises:
            ValueError: If not every device gets the same number of images, or not
                every process the same number of input shards.
        """
        config.per_device_batch_size(self.count)
        self.input_shards(config.input_shards)

    def input_shards(self, count: int) -> range:
        """Returns this process's share of `count` input shards, neighbors all.

        Raises:
            ValueError: If the processes cannot share them evenly.
        """
        share, rest = divmod(count, self.num_processes)
        if rest:
            raise ValueError(
                f"expected input_shards to be a multiple of the {self.num_processes} "
                f"processes, got {count}; give --set=input_shards={self.num_processes}"
            )
        return range(self.process * share, (self.process + 1) * share)

    def total(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the sum over the processes; each must call it."""
        if self.num_processes == 1:
            return figures
        from jax.experimental import multihost_utils

        # As bytes: JAX would round float64 to float32.
        gathered = multihost_utils.process_allgather(figures.view(np.uint8))
        return np.asarray(gathered).view(np.float64).sum(axis=0)

    def broadcast(self, number: int) -> int:
        """Returns the first process's number; each must call it."""
        if self.num_processes == 1:
            return number
        from jax.experimental import multihost_utils

        return int(multihost_utils.broadcast_one_to_all(np.int32(number)))

    def barrier(self) -> None:
        """Waits until every process has called it."""
        self.broadcast(0)

    def first_does(self, work: Callable[[], bool]) -> bool:
        """Lets the first process do what only one may; returns its answer to all.

        Raises:
            ValueError: If the first process's `work` raised it, or an OSError; there,
                what it raised.
        """
        outcome, error = 0, None
        if self.is_first:
            try:
                outcome = int(work())
            except (ValueError, OSError) as raised:
                outcome, error = -1, raised
        outcome = self.broadcast(outcome)
        if error is not None:
            raise error
        if outcome < 0:
            raise ValueError("process 0 refused to go on; see what it says")
        return bool(outcome)

    def is_preempted(self, step: int, *, here: bool) -> bool:
        """Whether to save and end after a step; each process must ask at each step.

        Args:
            step: Steps done.
            here: Whether this process was told to end. With more than one, JAX listens
                for itself, and lets all end after the same step.
        """
        if self.num_processes == 1:
            return here
        from jax.experimental import multihost_utils

        return bool(multihost_utils.reached_preemption_sync_point(step))


#: TensorFlow's: one CPU, with all its cores, or one GPU.
ONE_PROCESS = Devices()


def open_devices(backend: str, distributed: str | None = None) -> Devices:
    """Decides Keras's backend and finds the devices; comes before Keras's import.

    Args:
        backend: One of BACKENDS.
        distributed: None for this process alone, `auto` where the environment knows
            the others, or `HOST:PORT,COUNT,INDEX`: where process 0 can be reached, how
            many there are, and which this one is.

    Raises:
        ValueError: If JAX is needed and not there, or `distributed` has another form.
        OSError: If the other processes cannot be reached.
    """
    if backend != "jax":
        if distributed is not None:
            raise ValueError("--distributed needs --backend=jax")
        os.environ["KERAS_BACKEND"] = backend
        return ONE_PROCESS
    if importlib.util.find_spec("jax") is None:
        raise ValueError(
            "--backend=jax needs JAX; install it with pip install "
            "'noisy-student-rs[jax]', on a TPU with [tpu], on GPUs with [cuda]"
        )
    arguments = _distributed_arguments(distributed)
    os.environ["KERAS_BACKEND"] = "jax"
    import jax

    if arguments is not None:
        try:
            jax.distributed.initialize(**arguments)
        except (RuntimeError, ValueError) as error:
            raise OSError(f"--distributed={distributed}: {error}") from error
    _keep_models_on_host()
    return Devices(
        backend="jax",
        kind=jax.devices()[0].device_kind,
        count=jax.device_count(),
        process=jax.process_index(),
        num_processes=jax.process_count(),
    )


def _distributed_arguments(distributed: str | None) -> dict[str, Any] | None:
    if distributed is None:
        return None
    if distributed == AUTO:
        return {}
    address, *numbers = distributed.split(",")
    if ":" not in address or len(numbers) != 2 or not all(map(str.isdigit, numbers)):
        raise ValueError(
            f"expected --distributed as {AUTO} or HOST:PORT,COUNT,INDEX, got "
            f"{distributed!r}"
        )
    count, index = map(int, numbers)
    if index >= count:
        raise ValueError(f"expected an index below {count}, got {distributed!r}")
    return {
        "coordinator_address": address,
        "num_processes": count,
        "process_id": index,
    }


def _keep_models_on_host() -> None:
    """Leaves an accelerator's memory to the state: Keras's own copies stay outside."""
    import jax

    try:
        host = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS names the accelerator alone.
        return
    jax.config.update("jax_default_device", host)


def load_backend(backend: str, distributed: str | None = None) -> Devices:
    """Decides what the process computes with, and imports it.

    TensorFlow reads the images in any case.

    Raises:
        ValueError: As `open_devices` does.
        OSError: Likewise.
    """
    found = open_devices(backend, distributed)
    cli.load_tensorflow()
    if backend != "tensorflow":
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")
    return found
