"""Opens weights that others have trained, by their name.

hf:OWNER/NAME[@REVISION]  timm's ResNet-RS or EfficientNet-Lite on the Hugging Face
                          Hub, for example hf:timm/resnetrs50.tf_in1k
safetensors:PATH          such a file, with timm's config.json beside it, if any
resnet_rs_h5:PATH         a weights file of `tf_keras.applications.resnet_rs`
keras:imagenet            what Keras publishes for a network of `keras.applications`
keras_h5:PATH             a weights file of such a network, .h5 or .weights.h5
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # It imports TensorFlow.
    from classifier.weights.published import Weights

#: What tells weights that others have trained from a classifier's directory.
PREFIXES = ("hf:", "safetensors:", "resnet_rs_h5:", "keras:", "keras_h5:")
#: Their forms.
FORMS = (
    "hf:OWNER/NAME, safetensors:PATH, resnet_rs_h5:PATH, keras:imagenet or "
    "keras_h5:PATH"
)


def is_published(spec: str) -> bool:
    """Whether a name is one of this module's."""
    return spec.startswith(PREFIXES)


def open_weights(spec: str, *, name: str = "") -> Weights:
    """Returns published weights, read but not yet in a network.

    Args:
        spec: Name of the weights, see the module.
        name: Network of `keras.applications` that they are for; the others say theirs.

    Raises:
        ValueError: If the name is unknown, or the file broken or of another network.
        OSError: If there is no file, or it cannot be downloaded.
    """
    from classifier.weights import hub, keras_applications, resnet_rs, timm

    kind, _, rest = spec.partition(":")
    if kind == "hf":
        return hub.open_repository(spec, rest)
    if kind == "safetensors":
        return timm.open_safetensors(spec, rest)
    if kind == "resnet_rs_h5":
        return resnet_rs.open_hdf5(spec, rest)
    if kind == "keras_h5":
        return keras_applications.open_hdf5(spec, name, rest)
    if spec == "keras:imagenet":
        return keras_applications.open_imagenet(spec, name)
    raise ValueError(f"expected weights as {FORMS}, got {spec!r}")
