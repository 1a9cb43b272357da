"""ONNX Runtime: sessions, and the engine of classifiers whose network is an ONNX file.

ONNX Runtime and OpenVINO both read the file themselves, so that nothing is converted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath
from numpy.typing import NDArray

from classifier.export import onnx_file
from classifier.export.onnx_file import NETWORK, PIXELS
from classifier.inference.engine import (
    Engine,
    Network,
    Outputs,
    compile_openvino,
    openvino_core,
    with_fixed_batch,
)
from classifier.models.embedding import LOGITS
from stage.system import num_cores
from stage.typed_json import error_message

#: Images computed at once where a graph leaves it open: activations of so few stay in
#: the processor's caches.
BATCH = 8
#: Of ONNX Runtime's messages, those about errors that end the process.
_FATAL = 4


class OnnxLoader:
    """Loads the network of a classifier that is an ONNX file, see `engine`.

    Args:
        directory: Directory of the classifier.
    """

    def __init__(self, directory: epath.PathLike) -> None:
        self._path = epath.Path(directory) / NETWORK

    def load(self, engine: Engine, *, batch_size: int, threads: int) -> Network:
        """Returns the network to its logits, see `engine.NetworkLoader`."""
        run = self.load_outputs(
            engine, (LOGITS,), batch_size=batch_size, threads=threads
        )
        return lambda pixels: run(pixels)[0]

    def load_outputs(
        self, engine: Engine, names: Sequence[str], *, batch_size: int, threads: int
    ) -> Outputs:
        """Returns the network to some of its outputs.

        Both engines have batch sizes of their own, so `batch_size` has no effect.
        """
        del batch_size
        if engine.name == "onnxruntime":
            return run_session(open_session(self._path, threads), names)
        try:
            model = openvino_core().read_model(os.fspath(self._path))
            batch = model.input().partial_shape[0]
            size = BATCH if batch.is_dynamic else batch.get_length()
            run = compile_openvino(model, names, engine, threads, batch=size)
        except (RuntimeError, LookupError) as error:
            words = error_message(error)
            raise ValueError(
                f"{self._path}: {engine} cannot load it: {words}"
            ) from error
        return with_fixed_batch(run, size)


def open_session(model: epath.PathLike | bytes, threads: int | None = None) -> Any:
    """Returns a session of ONNX Runtime on the processor.

    Args:
        model: File, or its content, that `onnx_file` has checked.
        threads: Threads of the session; None for all cores.

    Raises:
        ValueError: If ONNX Runtime does not load it.
    """
    onnx_file.require_packages()
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(_FATAL)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads or num_cores()
    options.inter_op_num_threads = 1
    # A waiting thread spins, on a core that another process may need.
    shares = options.intra_op_num_threads < num_cores()
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0" if shares else "1"
    )
    content = model if isinstance(model, bytes) else os.fspath(model)
    try:
        return onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # Its errors have no class in common.
        name = "the graph" if isinstance(model, bytes) else f"{model}"
        words = error_message(error)
        raise ValueError(f"{name}: ONNX Runtime cannot load it: {words}") from error


def run_session(session: Any, names: Sequence[str]) -> Outputs:
    """Returns a session as a function of any number of images, in batches of one size.

    That is the graph's own if it has one.
    """
    batch = session.get_inputs()[0].shape[0]

    def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = session.run(list(names), {PIXELS: pixels})
        return outputs

    return with_fixed_batch(run, batch if isinstance(batch, int) else BATCH)
