"""Engines that run an exported network, in float32 or bfloat16.

TensorFlow and OpenVINO run a SavedModel, ONNX Runtime and OpenVINO an ONNX file. Which
is fastest depends on the processor: `classifier.inference.engine_autotune` measures
them on real images. OpenVINO is the extra `[openvino]`, ONNX Runtime `[onnx]`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from classifier.export import saved_model
from classifier.export.facts import KERAS, ONNX, SAVED_MODEL
from classifier.models.embedding import LOGITS
from stage.extras import install_extra

#: The first that a network runs on is its reference.
ENGINES = ("tensorflow", "onnxruntime", "openvino")
DTYPES = ("float32", "bfloat16")
AUTO = "auto"
#: Engines by the kind of network they run.
_RUN_BY = {
    KERAS: ("tensorflow", "openvino"),
    SAVED_MODEL: ("tensorflow", "openvino"),
    ONNX: ("onnxruntime", "openvino"),
}
_NO_ENGINE = ("onnxruntime", "bfloat16")

#: Function from pixels uint8 [B,S,S,3], B at least 1, to logits float32 [B,K].
Network = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
#: The same, to several outputs [B,...].
Outputs = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]

#: Flags in /proc/cpuinfo of processors with bfloat16 arithmetic.
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
_BFLOAT16_OPTION = "auto_mixed_precision_onednn_bfloat16"
#: Batch size of OpenVINO: activations of so few images stay in the processor's caches,
#: which is worth 5 % in bfloat16 (docs/benchmarks.md).
OPENVINO_BATCH = 8
_OPENVINO_DTYPES = {"float32": "f32", "bfloat16": "bf16"}


def _check_one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"expected {what} {' or '.join(known)}, got {value!r}")


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine and the dtype in which it multiplies."""

    name: str = "tensorflow"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        _check_one_of("engine", self.name, ENGINES)
        _check_one_of("dtype", self.dtype, DTYPES)
        if (self.name, self.dtype) == _NO_ENGINE:
            raise ValueError("onnxruntime computes in float32 only, got bfloat16")

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}"


#: By kind of network, the engine that others must agree with.
REFERENCE = Engine()
REFERENCES = {KERAS: REFERENCE, SAVED_MODEL: REFERENCE, ONNX: Engine("onnxruntime")}


def candidates(
    name: str = AUTO, dtype: str = AUTO, networks: Collection[str] = (KERAS,)
) -> list[Engine]:
    """Returns the engines to choose from on this machine, the reference first.

    With a GPU that is TensorFlow alone, for networks that it runs. Unless asked for,
    bfloat16 is left out if the processor has no arithmetic for it, and TensorFlow's
    bfloat16 if OpenVINO is installed, which was twice as fast wherever measured
    (docs/benchmarks.md).

    Args:
        name: Name of the engine, or `auto`.
        dtype: Type that it multiplies in, or `auto`.
        networks: Kinds of the networks that one engine is to run.

    Raises:
        ValueError: If a name is unknown, or the engine does not run the networks or is
            not installed.
    """
    _check_one_of("engine", name, (AUTO, *ENGINES))
    _check_one_of("dtype", dtype, (AUTO, *DTYPES))
    names = _names(name, networks)
    dtypes = [dtype] if dtype != AUTO else list(DTYPES)
    if dtype == AUTO and (has_gpu() or not has_bfloat16()):
        dtypes = ["float32"]
    engines = [
        Engine(*pair) for pair in itertools.product(names, dtypes) if pair != _NO_ENGINE
    ]
    if not engines:
        raise ValueError("--dtype=bfloat16: ONNX Runtime computes in float32 only")
    if name == dtype == AUTO and "openvino" in names:
        slower = Engine("tensorflow", "bfloat16")
        engines = [engine for engine in engines if engine != slower]
    return engines


def _names(name: str, networks: Collection[str]) -> list[str]:
    """Returns the names of the engines that run all networks, or the one asked for."""
    able = [each for each in ENGINES if all(each in _RUN_BY[kind] for kind in networks)]
    if name != AUTO and name not in able:
        raise ValueError(
            f"--engine={name}: the network runs on {' or '.join(able)} only"
        )
    if name == "openvino" and not has_openvino():
        raise ValueError(
            f"--engine=openvino: OpenVINO is not installed; {install_extra('openvino')}"
        )
    if name != AUTO:
        return [name]
    if "tensorflow" in able and has_gpu():
        return ["tensorflow"]
    names = [each for each in able if each != "openvino" or has_openvino()]
    if not names:
        raise ValueError(
            "only OpenVINO runs ONNX files and other networks as one ensemble, and it "
            f"is not installed; {install_extra('openvino')}"
        )
    return names


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
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
    """Loads the network of an exported classifier.

    Each engine reads the files itself when it is first asked for: OpenVINO in a second,
    and without TensorFlow's gigabyte of memory.

    Args:
        export: Directory of the SavedModel; its signature `pixels` is the network.
    """

    def __init__(self, export: epath.PathLike) -> None:
        self._export = export
        self._openvino_models: dict[tuple[str, ...], Any] = {}

    def load(self, engine: Engine, *, batch_size: int, threads: int) -> Network:
        """Returns the network to its logits, for any number of images.

        Args:
            engine: Engine that runs the network.
            batch_size: Images that TensorFlow computes at once.
            threads: Threads of OpenVINO; TensorFlow uses those of the process.
        """
        run = self.load_outputs(
            engine, (LOGITS,), batch_size=batch_size, threads=threads
        )
        return lambda pixels: run(pixels)[0]

    def load_outputs(
        self, engine: Engine, names: Sequence[str], *, batch_size: int, threads: int
    ) -> Outputs:
        """Returns the network to some outputs of its signature, see `load`."""
        try:
            if engine.name == "openvino":
                model = self._read_openvino(names)
                run = compile_openvino(model, names, engine, threads)
                return with_fixed_batch(run, OPENVINO_BATCH)
            if engine.dtype == "bfloat16":
                return with_fixed_batch(self._load_bfloat16(names), batch_size)
            return with_fixed_batch(self._load_float32(names), batch_size)
        except (RuntimeError, LookupError, tf.errors.OpError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(
                f"{self._export}: {engine} cannot load it: {reason[-1]}"
            ) from error

    def _load_float32(self, names: Sequence[str]) -> Outputs:
        loaded = self._loaded  # The signature alone would lose its variables.

        def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
            # By keyword: see `saved_model.load_preprocess`.
            outputs = loaded.signatures["pixels"](pixels=tf.constant(pixels))
            return [outputs[name].numpy() for name in names]

        return run

    def _load_bfloat16(self, names: Sequence[str]) -> Outputs:
        frozen = self.frozen  # TensorFlow rewrites only weights that are constants.
        places = [self.output_names.index(name) for name in names]

        def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
            with _rewritten_to_bfloat16():
                outputs = frozen(tf.constant(pixels))
            return [outputs[place].numpy() for place in places]

        return run

    @functools.cached_property
    def _loaded(self) -> Any:
        return saved_model.load(self._export)

    @functools.cached_property
    def frozen(self) -> Any:
        """Network as a concrete function of TensorFlow whose weights are constants.

        It returns a list in the order of `output_names`.
        """
        from tensorflow.python.framework.convert_to_constants import (
            convert_variables_to_constants_v2,
        )

        return convert_variables_to_constants_v2(self._loaded.signatures["pixels"])

    @property
    def output_names(self) -> list[str]:
        """Outputs of the signature, as TensorFlow sorts them."""
        return sorted(self._loaded.signatures["pixels"].structured_outputs)

    def _read_openvino(self, names: Sequence[str]) -> Any:
        key = tuple(names)
        if key not in self._openvino_models:
            # `openvino.convert_model` takes seconds in Python and sends telemetry.
            with saved_model.serving("pixels", self._export, names) as directory:
                self._openvino_models[key] = openvino_core().read_model(directory)
        return self._openvino_models[key]


@functools.cache
def openvino_core() -> Any:
    """Returns the one OpenVINO of this process, which is never freed.

    Each one sets a signal stack of its own and, when it is freed, sets the one before
    again, which may be freed already: the next signal would then crash the process.
    """
    import openvino

    return openvino.Core()


def with_fixed_batch(run: Outputs, size: int) -> Outputs:
    """Returns a network that computes batches of one size, the last padded with zeros.

    The outputs of an image then do not depend on the number of images.
    """

    def run_batches(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        parts = []
        for start in range(0, len(pixels), size):
            batch = pixels[start : start + size]
            if missing := size - len(batch):
                batch = np.pad(batch, [(0, missing), (0, 0), (0, 0), (0, 0)])
            parts.append(run(batch))
        outputs = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return [output[: len(pixels)] for output in outputs]

    return run_batches


def compile_openvino(
    model: Any,
    names: Sequence[str],
    engine: Engine,
    threads: int,
    batch: int = OPENVINO_BATCH,
) -> Outputs:
    """Returns a model of OpenVINO's as a function of exactly `batch` images."""
    model.reshape([batch, *list(model.input().partial_shape)[1:]])
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _OPENVINO_DTYPES[engine.dtype],
        "INFERENCE_NUM_THREADS": threads,
        # Several processes would pin their threads to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    compiled = openvino_core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()

    outputs = [compiled.output(name) for name in names]

    def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        found = request.infer([pixels])
        # The next request overwrites the originals.
        return [np.array(found[output]) for output in outputs]

    return run


@contextlib.contextmanager
def _rewritten_to_bfloat16() -> Iterator[None]:
    """Sets TensorFlow's process-wide option to rewrite the graphs that are called."""
    tf.config.optimizer.set_experimental_options({_BFLOAT16_OPTION: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_BFLOAT16_OPTION: False})
