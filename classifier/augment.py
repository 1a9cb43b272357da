"""Noise on training images, after RandAugment (Cubuk et al. 2019, arXiv 1909.13719).

`draw` decides, `apply` does: each image gets `num_ops` operations, drawn uniformly
and with replacement, each with a random sign. Where the published policy has its
geometric operations fill with gray 128, ours do too. The operations so far are the
geometric ones and the blends of the official sixteen.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from classifier.config import AugmentConfig

#: Gray that stands where an operation moves in pixels from outside.
FILL = 128.0
#: Magnitude at which an operation reaches its nominal maximum.
MAX_MAGNITUDE = 10.0
ROTATE_DEGREES = 30.0
SHEAR = 0.3
#: Blend factor 0.1 (degenerate image) to 1.9 (exaggerated); 1 is the image itself.
ENHANCE_SPAN = 1.8
ENHANCE_MIN = 0.1
#: ITU-R 601-2 luma, as Pillow converts to gray.
LUMA = (0.299, 0.587, 0.114)


def augment(image: Any, config: AugmentConfig, *, seed: Any) -> Any:
    """Returns the image uint8 [S,S,3] with freshly drawn noise.

    Args:
        image: uint8 [S,S,3].
        config: Operations and their strength.
        seed: int32 [2]; the same seed gives the same pixels.
    """
    if config.num_ops == 0:
        return image
    choices, signs = draw(config, seed=seed)
    for i in range(config.num_ops):
        image = apply(image, choices[i], signs[i], config)
    return image


def draw(config: AugmentConfig, *, seed: Any) -> tuple[Any, Any]:
    """Returns which operations, int32 [num_ops], and their signs -1 or 1, float32."""
    choice_seed, sign_seed = tf.unstack(tf.random.split(seed, 2))
    shape = [config.num_ops]
    choices = tf.random.stateless_uniform(
        shape, choice_seed, maxval=len(config.operations), dtype=tf.int32
    )
    heads = tf.random.stateless_uniform(shape, sign_seed, maxval=2, dtype=tf.int32)
    return choices, tf.cast(2 * heads - 1, tf.float32)


def apply(image: Any, choice: Any, sign: Any, config: AugmentConfig) -> Any:
    """Returns the image uint8 [S,S,3] after operation number `choice`.

    Args:
        image: uint8 [S,S,3].
        choice: Index into `config.operations`.
        sign: -1 or 1, the direction of a geometric operation.
        config: Operations and their strength.
    """
    branches = [
        lambda name=name: _operation(name, image, sign, config)
        for name in config.operations
    ]
    if len(branches) == 1:
        return branches[0]()
    return tf.switch_case(choice, branches)


def _operation(name: str, image: Any, sign: Any, config: AugmentConfig) -> Any:
    level = config.magnitude / MAX_MAGNITUDE
    if name == "Rotate":
        return _rotate(image, sign * level * ROTATE_DEGREES)
    if name == "ShearX":
        return _transform(image, [1.0, sign * level * SHEAR, 0.0, 0.0, 1.0, 0.0])
    if name == "ShearY":
        return _transform(image, [1.0, 0.0, 0.0, sign * level * SHEAR, 1.0, 0.0])
    if name == "TranslateX":
        shift = sign * level * config.translate_pixels
        return _transform(image, [1.0, 0.0, shift, 0.0, 1.0, 0.0])
    if name == "TranslateY":
        shift = sign * level * config.translate_pixels
        return _transform(image, [1.0, 0.0, 0.0, 0.0, 1.0, shift])
    factor = ENHANCE_SPAN * level + ENHANCE_MIN
    pixels = tf.cast(image, tf.float32)
    gray = tf.round(tf.tensordot(pixels, tf.constant(LUMA), axes=1))[..., None]
    degenerate = {
        "Brightness": tf.zeros_like(pixels),
        "Color": tf.repeat(gray, 3, axis=-1),
        "Contrast": tf.fill(tf.shape(pixels), tf.round(tf.reduce_mean(gray))),
    }[name]
    return _to_uint8(degenerate + factor * (pixels - degenerate))


def _rotate(image: Any, degrees: Any) -> Any:
    """Rotates about the center of the image."""
    radians = degrees * (math.pi / 180)
    cos, sin = tf.cos(radians), tf.sin(radians)
    center = (image.shape[0] - 1) / 2
    return _transform(
        image,
        [cos, -sin, center * (1 - cos + sin), sin, cos, center * (1 - sin - cos)],
    )


def _transform(image: Any, affine: list[Any]) -> Any:
    """Samples output pixel (x, y) at (a x + b y + c, d x + e y + f), bilinearly."""
    size = image.shape[:2]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(image, tf.float32)[None],
        transforms=tf.stack([*map(tf.convert_to_tensor, affine), 0.0, 0.0])[None],
        output_shape=size,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=FILL,
    )[0]
    return tf.ensure_shape(_to_uint8(moved), image.shape)


def _to_uint8(pixels: Any) -> Any:
    return tf.cast(tf.round(tf.clip_by_value(pixels, 0.0, 255.0)), tf.uint8)
