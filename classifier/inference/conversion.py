"""Converts a classifier's network to `.keras`, SavedModel or ONNX.

The written file is loaded with its own library and given the same images as the
classifier. It gets its final name only if the logits agree.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import pathlib
import tempfile
import zipfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from classifier.export import onnx_file
from classifier.export.facts import (
    CLASSIFIER,
    EXPORT,
    KERAS,
    ONNX,
    SAVED_MODEL,
    ClassifierFacts,
    own_temperature,
    read_facts,
)
from classifier.export.onnx_file import NETWORK, PIXELS
from classifier.export.saved_classifier import load_network, rebuild_network
from classifier.export.saved_model import FILES, VARIABLES
from classifier.inference.engine import (
    REFERENCE,
    Network,
    NetworkLoader,
    with_fixed_batch,
)
from classifier.inference.onnx_network import open_session
from classifier.models import variants
from classifier.models.embedding import LOGITS
from classifier.models.resnet_rs import GroupedBatchNormalization, StochasticDepth
from stage import artifact
from stage.extras import install_extra
from stage.system import num_cores

#: Version of ONNX's operator set; runtimes of 2022 and later support it.
OPSET = 17
#: Largest difference of two logits, relative to the largest logit.
TOLERANCE = 1e-4
#: Images that are compared, from one color to noise.
NUM_IMAGES = 16
#: Most names of classes that a line has.
_MAX_NAMES = 10
#: Directory of a SavedModel for additional files.
_EXTRA = "assets.extra"


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How two networks' logits of the same images compare.

    Attributes:
        num_images: Number of images.
        num_same: Number of images with the same top class.
        difference: Largest absolute difference of two logits.
        scale: Largest absolute logit.
    """

    num_images: int
    num_same: int
    difference: float
    scale: float

    @property
    def is_close(self) -> bool:
        """Whether the logits agree; false if one is not finite."""
        is_close = self.difference <= TOLERANCE * self.scale
        return is_close and self.num_same == self.num_images

    def __str__(self) -> str:
        return (
            f"the same top class on {self.num_same} of {self.num_images} images, "
            f"logits up to {self.scale:.3g} differ by at most {self.difference:.1e}"
        )


def check_output(output: str, network: str = KERAS) -> None:
    """Raises ValueError if an output exists or cannot have its format.

    That is unknown, not installed, or does not hold this kind of network.
    """
    if artifact.reach(output).exists():
        raise ValueError(f"{output} already exists; delete it or name another output")
    suffix = _find_suffix(output)
    if network not in _KINDS[suffix]:
        raise ValueError(
            f"{output}: a network of the kind {network} cannot be written as "
            f"{suffix or 'SavedModel'}; name an output that ends in .onnx"
        )
    if suffix == ".onnx":
        for package in ("onnx", "onnxruntime", "tf2onnx"):
            if importlib.util.find_spec(package) is None:
                raise ValueError(
                    f"ONNX needs the package {package}: " + install_extra("onnx")
                )


def export(directory: epath.PathLike, output: str) -> Agreement:
    """Writes a complete classifier's network and returns how it compares.

    The suffix of the output is `.keras`, `.onnx`, or none for a SavedModel. Raises
    ValueError if the logits differ, or the format cannot hold the network.
    """
    suffix = _find_suffix(output)
    write, load = _FORMATS[suffix]
    path, target = epath.Path(directory), epath.Path(output)
    with tempfile.TemporaryDirectory() as scratch:
        written = epath.Path(scratch) / f"network{suffix}"
        write(path, written)
        facts = read_facts(path)
        pixels = sample_pixels(facts.image.size)
        if facts.network == ONNX:
            network = _load_onnx(path / NETWORK)
        else:
            network = _load_saved_model(path / EXPORT)
        agreement = compare(network(pixels), load(written)(pixels))
        if not agreement.is_close:
            raise ValueError(f"{output} differs from the classifier: {agreement}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with artifact.replacing(target) as temporary:
            _copy(written, temporary)
    return agreement


def describe(output: str, facts: ClassifierFacts) -> str:
    """Returns what goes into an exported network and what comes out, in a line."""
    size, names = facts.image.size, facts.class_names
    given = "`encoded`, bytes of images"
    if _find_suffix(output):
        given = (
            f"`pixels` uint8 [B,{size},{size},3], 0 to 255, not divided or normalized"
        )
    shown = ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")
    return f"in: {given}; out: `logits` float32 [B,{len(names)}] of {shown}"


def compare(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> Agreement:
    """Returns how logits [B,K] of two networks compare."""
    same = expected.argmax(axis=1) == actual.argmax(axis=1)
    return Agreement(
        num_images=len(expected),
        num_same=int(same.sum()),
        difference=float(np.abs(expected - actual).max()),
        scale=float(np.abs(expected).max()),
    )


def sample_pixels(size: int) -> NDArray[np.uint8]:
    """Returns images uint8 [B,S,S,3] of squares, from one color to noise."""
    rng = np.random.default_rng(0)
    images = []
    for side in np.geomspace(1, size, NUM_IMAGES).astype(int):
        squares = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        index = np.arange(size) * side // size
        images.append(squares[index][:, index])
    return np.stack(images)


def _find_suffix(output: str) -> str:
    name = epath.Path(output).name
    suffix = "" if output.endswith("/") else pathlib.PurePath(name).suffix
    if suffix not in _FORMATS:
        raise ValueError(
            "expected a name that ends in .keras or .onnx, or, for a SavedModel, with "
            f"no suffix or a slash, got {output!r}"
        )
    return suffix


# --- SavedModel ------------------------------------------------------------------
def _write_saved_model(classifier: epath.Path, output: epath.Path) -> None:
    (output / VARIABLES).mkdir(parents=True)
    for name in FILES:
        (classifier / EXPORT / name).copy(output / name)
    (output / _EXTRA).mkdir()
    (classifier / CLASSIFIER).copy(output / _EXTRA / CLASSIFIER)


def _load_saved_model(path: epath.Path) -> Network:
    return NetworkLoader(path).load(
        REFERENCE, batch_size=NUM_IMAGES, threads=num_cores()
    )


# --- Keras -----------------------------------------------------------------------
def _write_keras(classifier: epath.Path, output: epath.Path) -> None:
    model = rebuild_network(classifier)
    if model.name.startswith(variants.PREFIX):
        model = without_own_layers(model)
    model.save(str(output))
    # Keras ignores what else is in its archive.
    with zipfile.ZipFile(str(output), "a") as archive:
        archive.writestr(CLASSIFIER, (classifier / CLASSIFIER).read_bytes())


def without_own_layers(model: keras.Model) -> keras.Model:
    """Returns the same network with Keras's layers only, so that any Keras opens it.

    The layers of ResNet-RS's own, stochastic depth and grouped batch norm, differ in
    training only.
    """

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer:
        settings = layer.get_config()
        if isinstance(layer, StochasticDepth):
            return keras.layers.Identity(name=layer.name)
        if isinstance(layer, GroupedBatchNormalization):
            del settings["groups"]
            return keras.layers.BatchNormalization.from_config(settings)
        return type(layer).from_config(settings)

    plain = keras.models.clone_model(model, clone_function=replace, recursive=True)
    plain.set_weights(model.get_weights())
    return plain


def _load_keras(path: epath.Path) -> Network:
    model = load_network(path)
    return lambda pixels: np.asarray(model(pixels, training=False))


# --- ONNX ------------------------------------------------------------------------
def _write_onnx(classifier: epath.Path, output: epath.Path) -> None:
    import onnx

    facts = read_facts(classifier)
    if facts.network == ONNX:
        model = onnx_file.parse((classifier / NETWORK).read_bytes(), str(classifier))
    else:
        model = _convert(classifier / EXPORT)
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    properties = {
        "class_names": json.dumps(facts.class_names),
        "image_size": str(facts.image.size),
        "crop_fraction": str(facts.image.crop_fraction),
        "temperature": str(own_temperature(classifier, facts)),
        "fingerprint": facts.fingerprint,
    }
    onnx.helper.set_model_props(model, properties)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = f"ONNX cannot hold the network: {str(error).splitlines()[0]}"
        raise ValueError(f"{classifier}: {reason}") from error
    onnx.save(model, str(output))


def _convert(export: epath.Path) -> Any:
    """Returns the signature `pixels` of a SavedModel as a model of ONNX."""
    import tf2onnx

    # It logs every optimization that it skips.
    logging.getLogger(tf2onnx.__name__).setLevel(logging.CRITICAL)
    # Otherwise the converter would treat the graph's captured tensors as inputs.
    loader = NetworkLoader(export)
    frozen, place = loader.frozen, loader.output_names.index(LOGITS)
    (spec,) = frozen.inputs
    model, _ = tf2onnx.convert.from_function(
        tf.function(lambda pixels: {LOGITS: frozen(pixels)[place]}),
        input_signature=[tf.TensorSpec(spec.shape, spec.dtype, name="pixels")],
        opset=OPSET,
    )
    return model


def _load_onnx(path: epath.Path) -> Network:
    session = open_session(path)
    batch = session.get_inputs()[0].shape[0]

    def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return [session.run([LOGITS], {PIXELS: pixels})[0]]

    def run_both(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        # In two batches of different sizes: the batch size must be free.
        return [np.concatenate([run(part)[0] for part in (pixels[:1], pixels[1:])])]

    run_all = with_fixed_batch(run, batch) if isinstance(batch, int) else run_both
    return lambda pixels: run_all(pixels)[0]


def _copy(source: epath.Path, target: epath.Path) -> None:
    """Copies a file or a directory, also from or into a bucket."""
    if not source.is_dir():
        source.copy(target)
        return
    target.mkdir()
    for inner in source.iterdir():
        _copy(inner, target / inner.name)


#: Functions that write a classifier's network to a new path and load it, by suffix.
_FORMATS = {
    "": (_write_saved_model, _load_saved_model),
    ".keras": (_write_keras, _load_keras),
    ".onnx": (_write_onnx, _load_onnx),
}
#: Kinds of networks that a format holds, by suffix.
_KINDS = {
    "": (KERAS, SAVED_MODEL),
    ".keras": (KERAS,),
    ".onnx": (KERAS, SAVED_MODEL, ONNX),
}
