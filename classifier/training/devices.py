"""Backend, devices and processes of a training run.

Nothing here imports TensorFlow or JAX at module level: Keras reads its backend once,
when it is imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath
from numpy.typing import NDArray

from classifier.training import tracking
from classifier.training.config import TrainConfig
from classifier.training.tracker import Tracker
from classifier.training.tracking import TrackerSpec
from stage import artifact, cli, licenses
from stage.extras import install_extra
from stage.licenses import Ledger
from stage.validation import check

BACKENDS = ("tensorflow", "jax")
#: `--distributed` where the environment defines the processes, as on a TPU pod slice.
AUTO = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Devices:
    """The devices of all processes of a run.

    Attributes:
        backend: One of BACKENDS.
        kind: Name of the device type.
        count: Number of devices of all processes.
        process: Index of this process; only 0 writes and logs.
        num_processes: Number of processes that run the same command.
        remark: What to do about a GPU that is there but not found; "" for nothing.
    """

    backend: str = "tensorflow"
    kind: str = "CPU or GPU"
    count: int = 1
    process: int = 0
    num_processes: int = 1
    remark: str = ""

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.process == 0

    def describe(self) -> str:
        """Returns backend, devices and processes in one line."""
        line = f"{self.backend} on {self.count} x {self.kind}"
        if self.num_processes > 1:
            line += f" in {self.num_processes} processes"
        return line

    def check(self, config: TrainConfig) -> None:
        """Checks that every device and process can get an equal share of a batch.

        Raises:
            ValueError: If the batch is not divisible by the devices, or the input
                shards by the processes.
        """
        check(
            config.global_batch_size % self.count == 0,
            f"global_batch_size must be divisible by the {self.count} devices, got "
            f"{config.global_batch_size}",
        )
        self.input_shards(config.input_shards)

    def input_shards(self, count: int) -> range:
        """Returns this process's share of `count` input shards, a contiguous range.

        Raises:
            ValueError: If `count` is not divisible by the number of processes.
        """
        share, rest = divmod(count, self.num_processes)
        if rest:
            raise ValueError(
                f"expected input_shards as a multiple of the {self.num_processes} "
                f"processes, one a host, got {count}; give "
                f"--set=input_shards={(share + 1) * self.num_processes}"
            )
        return range(self.process * share, (self.process + 1) * share)

    def total(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the sum over all processes; each must call it."""
        if self.num_processes == 1:
            return figures
        from jax.experimental import multihost_utils

        # Sent as bytes, because JAX would round float64 to float32.
        gathered = multihost_utils.process_allgather(figures.view(np.uint8))
        return np.asarray(gathered).view(np.float64).sum(axis=0)

    def broadcast(self, number: int) -> int:
        """Returns the number of process 0; each process must call it."""
        if self.num_processes == 1:
            return number
        from jax.experimental import multihost_utils

        return int(multihost_utils.broadcast_one_to_all(np.int32(number)))

    def barrier(self) -> None:
        """Waits until every process has called it."""
        self.broadcast(0)

    def on_first_process(self, work: Callable[[], bool]) -> bool:
        """Calls `work` in process 0 alone; returns its result in every process.

        Raises:
            ValueError: If `work` raised a ValueError or OSError; process 0 raises the
                original error.
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
            raise ValueError("process 0 failed; see its error message")
        return bool(outcome)

    def is_preempted(self, step: int, *, here: bool) -> bool:
        """Whether to save and stop after `step` steps; each process must ask each time.

        `here`, whether this process has got SIGTERM, counts for a single process only:
        for several, JAX handles the signal and agrees on a common step.
        """
        if self.num_processes == 1:
            return here
        from jax.experimental import multihost_utils

        return bool(multihost_utils.reached_preemption_sync_point(step))


#: TensorFlow's devices: one CPU with all its cores, or one GPU.
ONE_PROCESS = Devices()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunContext:
    """Directory, log and devices of a run; they change at most its last bits.

    Attributes:
        workdir: Directory for `checkpoints/`, `metrics.jsonl`, TensorBoard events and
            a trace. All processes must see it.
        log: Function that prints one line of progress.
        devices: Devices to compute on.
        profile: Whether to trace a few steps.
        trackers: What receives the rows of `metrics.jsonl` besides TensorBoard; none
            in other processes than the first.
    """

    workdir: epath.PathLike
    log: cli.Log
    devices: Devices
    profile: bool = False
    trackers: tuple[Tracker, ...] = ()


def open_devices(backend: str, distributed: str | None = None) -> Devices:
    """Sets Keras's backend and finds the devices; call it before importing Keras.

    Args:
        backend: One of BACKENDS.
        distributed: None for a single process, `auto` where the environment defines
            the others, or `HOST:PORT,COUNT,INDEX` with the address of process 0, the
            number of processes and the index of this one.

    Raises:
        ValueError: If JAX is needed but missing, or `distributed` has another form.
        OSError: If the other processes cannot be reached.
    """
    if backend != "jax":
        if distributed is not None:
            raise ValueError("--distributed needs --backend=jax")
        os.environ["KERAS_BACKEND"] = backend
        return ONE_PROCESS
    if importlib.util.find_spec("jax") is None:
        raise ValueError(
            f"--backend=jax needs JAX: {install_extra('jax')}, on a TPU with [tpu], on "
            "GPUs with [cuda]"
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
        raise ValueError(
            f"expected --distributed with an index below {count}, got {distributed!r}"
        )
    is_local = address.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]")
    return {
        "coordinator_address": address,
        # Process 0 would listen on all interfaces.
        "coordinator_bind_address": address if is_local else None,
        "num_processes": count,
        "process_id": index,
    }


def _keep_models_on_host() -> None:
    """Keeps Keras's own copies of the weights out of the accelerator's memory."""
    import jax

    try:
        host = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS excludes the CPU.
        return
    jax.config.update("jax_default_device", host)


def load_backend(backend: str, distributed: str | None = None) -> Devices:
    """Opens the devices, see `open_devices`, and imports TensorFlow.

    TensorFlow reads the images for either backend.
    """
    found = open_devices(backend, distributed)
    cli.load_tensorflow()
    import tensorflow as tf

    if backend == "tensorflow":
        gpus = tf.config.list_physical_devices("GPU")
        found = dataclasses.replace(found, kind=_name_gpu(gpus[0]) if gpus else "CPU")
    else:
        tf.config.set_visible_devices([], "GPU")
    return dataclasses.replace(found, remark=_remark_on_gpu(found))


def _name_gpu(gpu: Any) -> str:
    """Returns the name of TensorFlow's GPU, such as "NVIDIA H200"."""
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(gpu)
    return str(details.get("device_name", "GPU"))


def _remark_on_gpu(found: Devices) -> str:
    """Returns what to install if there is an NVIDIA GPU and the backend has a CPU."""
    if found.kind.upper() != "CPU" or shutil.which("nvidia-smi") is None:
        return ""
    extra = "cuda" if found.backend == "jax" else "tensorflow-cuda"
    return (
        f"nvidia-smi is there, but {found.backend} finds no GPU: "
        f"{install_extra(extra)}, see docs/gpu.md"
    )


@contextlib.contextmanager
def started_run(
    description: dict[str, Any],
    devices: Devices,
    workdir: str,
    *,
    ledger: Ledger = (),
    profile: bool = False,
    log_to: Sequence[TrackerSpec] = (),
) -> Iterator[RunContext | None]:
    """Starts or resumes a run in its workdir; yields None if it is complete already.

    The first process holds the lock of the workdir meanwhile, and marks it as complete
    at the end. `description` is the content of the workdir's `config.json`, `ledger` of
    its `licenses.json`. Ledger and card are also written of a run that is complete.
    The first process opens the trackers `log_to`.

    Raises:
        ValueError: If the workdir has another config, holds something else, or another
            training is running in it; or if a tracker cannot be reached, see
            `tracking.tracked`.
        OSError: If the workdir cannot be written.
    """
    log = cli.log_for(workdir, is_first=devices.is_first)
    started = time.monotonic()
    trackers: tuple[Tracker, ...] = ()
    with contextlib.ExitStack() as stack:

        def start() -> bool:
            nonlocal trackers
            making = artifact.making(workdir, description, started=started)
            is_complete = stack.enter_context(making) is None
            licenses.write(workdir, ledger)
            if not is_complete:
                tracked = tracking.tracked(log_to, workdir, description, log)
                trackers = stack.enter_context(tracked)
            return is_complete

        def finish() -> bool:
            from classifier.export import model_card

            model_card.write(workdir)
            stack.close()
            return True

        if devices.on_first_process(start):
            log("already complete")
            yield None
        else:
            yield RunContext(
                workdir=workdir,
                log=log,
                devices=devices,
                profile=profile,
                trackers=trackers,
            )
        devices.on_first_process(finish)  # None exits before the run is complete.
