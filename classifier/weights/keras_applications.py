"""Published weights of `keras.applications`, and the preprocessing of each family.

Pixels are scaled as the family's `preprocess_input`, or the layers in its network,
scale them. Size, crop and resampling are those of the code that the weights were
trained with: TensorFlow-Slim for Inception, MobileNet, NASNet, ResNet V2 and Xception,
the repositories of the papers for the others.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras.src.utils import file_utils
from numpy.typing import NDArray

from classifier.data.config import ImageConfig
from classifier.models import variants
from classifier.models.config import IMAGENET_STDDEV, ModelConfig
from classifier.models.keras_licenses import license_of
from classifier.weights import files
from classifier.weights.files import Arrays, Hdf5
from classifier.weights.published import Weights
from stage import artifact
from stage.overrides import unknown
from stage.typed_json import error_message

#: Scaling of pixels as Keras's modes "tf" and "caffe" have it; its "torch" is the
#: default of `ModelConfig`.
_TF = {"pixel_mean": (0.5,) * 3, "pixel_stddev": (0.5,) * 3}
_CAFFE = {
    "pixel_mean": (103.939 / 255, 116.779 / 255, 123.68 / 255),
    "pixel_stddev": (1 / 255,) * 3,
    "channel_order": "bgr",
}
_TORCH: dict[str, Any] = {}
#: (x - 128) / 128.
_SIGNED = {"pixel_mean": (128 / 255,) * 3, "pixel_stddev": (128 / 255,) * 3}
_BILINEAR = {"interpolation": "bilinear"}
#: Scaling and resampling by the beginning of the name, the first that matches.
_FAMILIES: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("ConvNeXt", _TORCH, {"antialias": True}),
    ("DenseNet", _TORCH, {}),
    ("EfficientNetB", _TORCH, {}),
    ("EfficientNetV2B", _TORCH, {}),
    ("EfficientNetV2", _SIGNED, _BILINEAR),
    (r"ResNet\d+V2", _TF, _BILINEAR),
    ("ResNet|VGG", _CAFFE, _BILINEAR),
    ("Inception|MobileNet|NASNet|Xception", _TF, _BILINEAR),
)
#: Sides of the inputs that weights were published for, if not 224 pixels.
_SIZES = {
    "EfficientNetB1": 240,
    "EfficientNetB2": 260,
    "EfficientNetB3": 300,
    "EfficientNetB4": 380,
    "EfficientNetB5": 456,
    "EfficientNetB6": 528,
    "EfficientNetB7": 600,
    "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300,
    "EfficientNetV2S": 384,
    "EfficientNetV2M": 480,
    "EfficientNetV2L": 480,
    "InceptionResNetV2": 299,
    "InceptionV3": 299,
    "NASNetLarge": 331,
    "Xception": 299,
}
#: Pixels around the center crop of an EfficientNet, at its input's size.
_CROP_PADDING = 32


def open_imagenet(spec: str, name: str) -> Weights:
    """Returns the weights that Keras publishes, downloaded or in its cache.

    Raises:
        ValueError: If there is no such network.
        OSError: If they cannot be downloaded.
    """
    _check_name(spec, name)
    url, path = _download(spec, name)
    weights = open_hdf5(spec, name, path)
    origin = {**weights.origin, "url": url}
    if stated := license_of(name):
        origin["license"] = stated
    return dataclasses.replace(weights, origin=origin)


def open_hdf5(spec: str, name: str, path: str) -> Weights:
    """Returns the weights of a file that Keras 2 or 3 wrote, `.h5` or `.weights.h5`."""
    _check_name(spec, name)
    content = files.read(spec, path)
    file = files.read_hdf5(spec, content)
    arrays = _name_by_position(spec, file) if file.layers else _name_by_class(file)
    model, image = preprocessing(name)
    if name.startswith("EfficientNetB"):
        key = "000" if file.layers else "layers/normalization"
        model, arrays = _without_normalization(spec, model, arrays, key)
    return Weights(
        spec=spec,
        model=model,
        image=image,
        arrays=arrays,
        fingerprint=artifact.fingerprint([content]),
        origin=files.describe(spec, path, content),
        name_variables=_variables_by_position if file.layers else _variables_by_class,
    )


def preprocessing(name: str) -> tuple[ModelConfig, ImageConfig]:
    """Returns a network with the scaling of its pixels, and its preprocessing."""
    scaling, resampling = next(
        (scaling, resampling)
        for pattern, scaling, resampling in _FAMILIES
        if re.match(pattern, name)
    )
    size = _SIZES.get(name, 224)
    crop_fraction = ImageConfig.crop_fraction
    if re.match("EfficientNet(B|V2B)", name):
        crop_fraction = size / (size + _CROP_PADDING)
    elif name.startswith("EfficientNetV2"):
        crop_fraction = 1.0
    image = ImageConfig(size=size, crop_fraction=crop_fraction, **resampling)
    return ModelConfig(name=name, **scaling), image


def _check_name(spec: str, name: str) -> None:
    if name not in variants.KERAS_APPLICATIONS:
        what = unknown("network of Keras", name, variants.KERAS_APPLICATIONS)
        raise ValueError(
            f"{spec}: {what}; name it as --set=model.name=NAME, "
            "of features as keras:NAME or keras_h5:NAME:PATH"
        )


def _download(spec: str, name: str) -> tuple[str, str]:
    """Returns the URL of a network's published file, and its path in Keras's cache."""
    urls = []
    fetch = file_utils.get_file

    def get_file(file: str, url: str, **how: Any) -> str:
        urls.append(url)
        raise _FetchedError(fetch(file, url, **how))

    file_utils.get_file = get_file
    try:
        getattr(keras.applications, name)(weights="imagenet")
    except _FetchedError as fetched:
        return urls[0], fetched.path
    except Exception as error:  # Keras raises plain ones.
        if not urls:
            raise
        reason = error.__context__  # Without the URL.
        raise OSError(
            f"{name} cannot be downloaded; fetch {urls[0]}, and give "
            f"--init_from=keras_h5:PATH or --features=keras_h5:{name}:PATH "
            f"({error_message(reason if isinstance(reason, OSError) else error)})"
        ) from error
    finally:
        file_utils.get_file = fetch
    raise AssertionError("Keras has built a network without weights")


class _FetchedError(Exception):
    """Ends the building of a network when its file is there, at `path`."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def _without_normalization(
    spec: str, model: ModelConfig, arrays: Arrays, key: str
) -> tuple[ModelConfig, Arrays]:
    """Returns the model and tensors of an EfficientNet that scales pixels by itself.

    Its layers divide by 255, subtract a mean and divide by the root of a variance, the
    tensors of `key`. All this becomes the scaling of pixels, and the layers stay the
    identity that they are initially, apart from the 255. In the published files
    ImageNet's deviations are in the place of the variances, and Keras divides by their
    roots once more.
    """
    statistics = [arrays.get(f"{key}/{index}") for index in (0, 1)]
    shapes = [None if array is None else array.shape for array in statistics]
    if shapes != [(3,), (3,)] or not np.all(np.asarray(statistics[1]) > 0):
        raise ValueError(
            f"{spec}: expected mean and positive variance of three channels in {key} "
            f"of {model.name}, got shapes {shapes}"
        )
    mean, variance = (np.asarray(array, np.float64) for array in statistics)
    stddev = np.sqrt(variance)
    if np.allclose(variance, IMAGENET_STDDEV):
        stddev *= np.sqrt(IMAGENET_STDDEV)
    model = dataclasses.replace(
        model,
        pixel_mean=tuple(mean.tolist()),
        pixel_stddev=tuple((stddev / 255).tolist()),
    )
    kept = {n: a for n, a in arrays.items() if not n.startswith(f"{key}/")}
    return model, kept


# --- names of tensors: by class as Keras 3 writes them, by position as Keras 2 did --
def _name_by_class(file: Hdf5) -> Arrays:
    """Returns the tensors of layers, such as "layers/conv2d_3/0"."""
    return {
        name.replace("/vars/", "/"): array
        for name, array in file.arrays.items()
        if name.startswith("layers/") and "/seed_generator/" not in name
    }


def _variables_by_class(model: keras.Model) -> dict[str, Any]:
    return dict(_walk(_inner_network(model), "layers"))


def _walk(network: keras.Model, path: str) -> Iterator[tuple[str, Any]]:
    counts: collections.Counter[str] = collections.Counter()
    for layer in network.layers:
        kind = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__).lower()
        key = f"{path}/{kind}_{counts[kind]}" if counts[kind] else f"{path}/{kind}"
        counts[kind] += 1
        if isinstance(layer, keras.Sequential):
            yield from _walk(layer, f"{key}/layers")
        elif not isinstance(layer, keras.layers.Normalization):
            yield from _numbered(key, layer.weights)


def _name_by_position(spec: str, file: Hdf5) -> Arrays:
    """Returns the tensors of layers with weights, such as "012/0"."""
    arrays: dict[str, NDArray[Any]] = {}
    for position, names in enumerate(file.layers):
        for name in names:
            if name not in file.arrays:
                raise ValueError(f"{spec}: expected the tensor {name}, found none")
        arrays.update(_numbered(f"{position:03d}", [file.arrays[n] for n in names]))
    return arrays


def _variables_by_position(model: keras.Model) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    layers = [layer for layer in _inner_network(model).layers if layer.weights]
    for position, layer in enumerate(layers):
        if not isinstance(layer, keras.layers.Normalization):
            ordered = [*layer.trainable_weights, *layer.non_trainable_weights]
            variables.update(_numbered(f"{position:03d}", ordered))
    return variables


def _numbered(key: str, values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"{key}/{index}", value) for index, value in enumerate(values))


def _inner_network(model: keras.Model) -> keras.Model:
    """Returns the network of Keras inside one of `factory.build_network`."""
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))
