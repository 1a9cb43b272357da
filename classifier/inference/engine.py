"""What runs an exported network: TensorFlow or OpenVINO, in float32 or bfloat16.

Which of them is fastest depends on the processor, so
`classifier.inference.engine_autotune` measures them on real images. OpenVINO is the
extra `[openvino]`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from classifier.export import saved_model

ENGINES = ("tensorflow", "openvino")
DTYPES = ("float32", "bfloat16")
AUTO = "auto"

#: From pixels uint8 [B,S,S,3], B at least 1, to logits float32 [B,K].
Network = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

#: Flags of /proc/cpuinfo that tell of bfloat16 arithmetic.
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
_BFLOAT16_OPTION = "auto_mixed_precision_onednn_bfloat16"
#: Images that OpenVINO computes at once: so few stay in the processor's caches, which
#: is worth 5 % in bfloat16 (docs/benchmarks.md).
OPENVINO_BATCH = 8
_OPENVINO_DTYPES = {"float32": "f32", "bfloat16": "bf16"}


def _check_one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"expected {what} {' or '.join(known)}, got {value!r}")


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine and the precision that it multiplies in."""

    name: str = "tensorflow"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        _check_one_of("engine", self.name, ENGINES)
        _check_one_of("dtype", self.dtype, DTYPES)

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}"


#: What is there everywhere, and what others must agree with.
REFERENCE = Engine()


def candidates(name: str = AUTO, dtype: str = AUTO) -> list[Engine]:
    """Returns the engines to choose from on this machine, the reference first.

    With a GPU that is TensorFlow alone. bfloat16 is left out where the processor has
    no arithmetic for it, and TensorFlow's where there is OpenVINO's, which was twice
    as fast wherever both were measured (docs/benchmarks.md); unless it is asked for.

    Args:
        name: One of `ENGINES`, or auto.
        dtype: One of `DTYPES`, or auto.

    Raises:
        ValueError: If a name is unknown, or OpenVINO is asked for and not installed.
    """
    _check_one_of("engine", name, (AUTO, *ENGINES))
    _check_one_of("dtype", dtype, (AUTO, *DTYPES))
    names = [name] if name != AUTO else list(ENGINES)
    dtypes = [dtype] if dtype != AUTO else list(DTYPES)
    if name == AUTO and (has_gpu() or not has_openvino()):
        names = ["tensorflow"]
    if dtype == AUTO and (has_gpu() or not has_bfloat16()):
        dtypes = ["float32"]
    if name == "openvino" and not has_openvino():
        raise ValueError(
            "--engine=openvino: OpenVINO is not installed; "
            "pip install 'noisy-student-rs[openvino]'"
        )
    found = [Engine(one, other) for one in names for other in dtypes]
    if name == dtype == AUTO and "openvino" in names:
        found = [one for one in found if one != Engine("tensorflow", "bfloat16")]
    return found


def has_openvino() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("openvino") is not None


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return False
    return any(flag in flags.split() for flag in _BFLOAT16_FLAGS)


class NetworkLoader:
    """Makes the network of an exported classifier ready to run.

    Each engine reads it by itself, when it is asked for: OpenVINO in a second, and
    without TensorFlow's gigabyte.

    Args:
        export: The SavedModel; its signature `pixels` is the network.
    """

    def __init__(self, export: epath.PathLike) -> None:
        self._export = export

    def load(self, engine: Engine, *, batch_size: int, threads: int) -> Network:
        """Returns the network.

        Args:
            engine: What runs it.
            batch_size: Images that TensorFlow computes at once.
            threads: That OpenVINO computes with; TensorFlow's are the process's.

        Raises:
            ValueError: If the engine cannot load it: files may be cut off.
        """
        try:
            if engine.name == "openvino":
                run = _compile(self._openvino_model, engine, threads)
                return _in_batches(run, OPENVINO_BATCH)
            if engine.dtype == "bfloat16":
                return _in_batches(self._load_bfloat16(), batch_size)
            return _in_batches(self._load_float32(), batch_size)
        except (RuntimeError, LookupError, tf.errors.OpError) as error:
            words = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(
                f"{self._export}: {engine} cannot load it: {words[-1]}"
            ) from error

    def _load_float32(self) -> Network:
        loaded = self._loaded  # The signature alone would lose its variables.

        def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            # By name: see `saved_model.load_preprocess`.
            found = loaded.signatures["pixels"](pixels=tf.constant(pixels))["logits"]
            result: NDArray[np.float32] = found.numpy()
            return result

        return run

    def _load_bfloat16(self) -> Network:
        frozen = self._frozen  # Only weights that are constants are rewritten.

        def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            with _rewritten_to_bfloat16():
                (logits,) = frozen(tf.constant(pixels))
            result: NDArray[np.float32] = logits.numpy()
            return result

        return run

    @functools.cached_property
    def _loaded(self) -> Any:
        return tf.saved_model.load(str(self._export))

    @functools.cached_property
    def _frozen(self) -> Any:
        """The signature as a function without variables."""
        from tensorflow.python.framework.convert_to_constants import (
            convert_variables_to_constants_v2,
        )

        return convert_variables_to_constants_v2(self._loaded.signatures["pixels"])

    @functools.cached_property
    def _openvino_model(self) -> Any:
        import openvino

        # Not by `openvino.convert_model`: that takes seconds in Python, and tells
        # OpenVINO's makers of each use.
        with saved_model.serving("pixels", self._export) as directory:
            return openvino.Core().read_model(directory)


def _in_batches(run: Network, size: int) -> Network:
    """Returns a network that computes so many images at once, the last filled up.

    So an image's logits do not depend on how many others there are.
    """

    def run_filled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        filled = pixels
        if len(pixels) < size:
            filled = np.zeros((size, *pixels.shape[1:]), np.uint8)
            filled[: len(pixels)] = pixels
        return run(filled)[: len(pixels)]

    def run_all(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        starts = range(0, len(pixels), size)
        return np.concatenate([run_filled(pixels[i : i + size]) for i in starts])

    return run_all


def _compile(model: Any, engine: Engine, threads: int) -> Network:
    import openvino

    model.reshape([OPENVINO_BATCH, *list(model.input().partial_shape)[1:]])
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _OPENVINO_DTYPES[engine.dtype],
        "INFERENCE_NUM_THREADS": threads,
        # Each of several processes would pin its threads to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.compile_model(model, "CPU", settings).create_infer_request()

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        (logits,) = request.infer([pixels]).values()
        return np.array(logits)  # The request's own memory is overwritten.

    return run


@contextlib.contextmanager
def _rewritten_to_bfloat16() -> Iterator[None]:
    """Has TensorFlow rewrite the graphs that are called: an option of the process."""
    tf.config.optimizer.set_experimental_options({_BFLOAT16_OPTION: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_BFLOAT16_OPTION: False})
