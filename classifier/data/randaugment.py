"""RandAugment (Cubuk et al. 2019, arXiv 1909.13719): noise on training images.

`draw` chooses the operations, `apply` performs one. Each image gets `num_ops`
operations, drawn uniformly with replacement from the sixteen that ResNet-RS was trained
with. A drawn operation is always applied with a fixed strength; only the sign of a
geometric operation and the position of Cutout are random.

Formulas and quirks follow the published policy (`autoaugment.py` in tensorflow/tpu),
with these differences:

* The published code reimplements Pillow's color operations. Where its rounding differs
  (gray weights, AutoContrast's float32, Sharpness's smoothing), this module matches
  Pillow to the pixel.
* Solarize thresholds above 255 (magnitude 10 and up) leave the image unchanged. The
  published code compares them with 8-bit pixels, where they overflow.
* `AugmentConfig` offers bilinear resampling and Contrast around the image's mean.

Unusual formulations are for speed on one CPU core, where training images are made
(`python -m benchmarks.training.randaugment`): arithmetic on whole images instead of
`tf.where` and lookup tables, and `tf.gather_nd` instead of `tf.gather`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from classifier.data.config import AugmentConfig

#: Gray of pixels that come from outside the image or are cut out.
FILL = 128
#: Magnitude of an operation's nominal maximum; beyond it is extrapolated.
MAX_MAGNITUDE = 10.0
ROTATE_DEGREES = 30.0
SHEAR = 0.3
#: Blend factors range from 0.1 (almost degenerate) to 1.9; 1 is the image itself.
ENHANCE_SPAN = 1.8
ENHANCE_MIN = 0.1
#: Bits that Posterize keeps at magnitude 10; it weakens with magnitude.
POSTERIZE_BITS = 4
#: Lowest intensity that Solarize inverts at magnitude 10; it weakens with magnitude.
SOLARIZE_THRESHOLD = 256
SOLARIZE_ADD = 110
#: Lowest intensity that SolarizeAdd leaves unchanged.
SOLARIZE_ADD_BELOW = 128
#: ITU-R 601-2 luma weights, rounded to 1/65536 as in Pillow. Weighted sums of 8-bit
#: pixels stay below 2**24 / 65536, so float32 represents them exactly.
LUMA = (19595 / 65536, 38470 / 65536, 7471 / 65536)
#: Weight of the center pixel in Sharpness's smoothing; its eight neighbors have 1.
SMOOTH_CENTER = 5.0
SMOOTH_SUM = 13.0
#: Number of 8-bit intensities, and the highest.
LEVELS = 256
WHITE = 255


class Draw(NamedTuple):
    """Random choices for one image.

    Attributes:
        choices: int32 [num_ops], indices into `AugmentConfig.operations`.
        signs: float32 [num_ops], -1 or 1, the direction of a geometric operation.
        positions: float32 [num_ops,2] in [0,1), row and column of Cutout's center as
            shares of the image's height and width.
    """

    choices: Any
    signs: Any
    positions: Any


def augment(image: Any, config: AugmentConfig, *, seed: Any) -> Any:
    """Returns the image uint8 [S,S,3], S static, after randomly drawn operations.

    The seed, int32 [2], determines the pixels.
    """
    if config.num_ops == 0:
        return image
    choices, signs, positions = draw(config, seed=seed)
    for i in range(config.num_ops):
        image = apply(
            image, config, choice=choices[i], sign=signs[i], position=positions[i]
        )
    return image


def draw(config: AugmentConfig, *, seed: Any) -> Draw:
    """Returns `num_ops` random operations; the seed is int32 [2]."""
    # A split in three starts with the same two seeds as a split in two: positions were
    # added later, without changing the other draws.
    choice_seed, sign_seed, position_seed = tf.unstack(tf.random.split(seed, 3))
    shape = [config.num_ops]
    choices = tf.random.stateless_uniform(
        shape, choice_seed, maxval=len(config.operations), dtype=tf.int32
    )
    heads = tf.random.stateless_uniform(shape, sign_seed, maxval=2, dtype=tf.int32)
    return Draw(
        choices=choices,
        signs=tf.cast(2 * heads - 1, tf.float32),
        positions=tf.random.stateless_uniform([*shape, 2], position_seed),
    )


def apply(
    image: Any, config: AugmentConfig, *, choice: Any, sign: Any, position: Any
) -> Any:
    """Returns the image uint8 [S,S,3] after one operation.

    Args:
        image: uint8 [S,S,3].
        config: Operations and their strength.
        choice: int32 [], index into `config.operations`.
        sign: float32 [], -1 or 1, the direction of a geometric operation.
        position: float32 [2] in [0,1), row and column of Cutout's center.
    """
    level = config.magnitude / MAX_MAGNITUDE

    def operation(name: str) -> Any:
        # At most out of the image.
        pixels = min(level * config.translate_pixels, float(image.shape[0]))
        if name in _TRANSLATION_AXES and pixels.is_integer():
            shift = tf.cast(sign * pixels, tf.int32)
            return _translate(image, shift, axis=_TRANSLATION_AXES[name])
        if name in _AFFINES:
            affine = _AFFINES[name](sign * level, image.shape[0], config)
            return _transform(image, affine, config)
        if name == "Cutout":
            half = int(level * config.cutout_pixels)
            return _cutout(image, half=half, position=position)
        return _COLORS[name](image, level, config)

    branches = [lambda name=name: operation(name) for name in config.operations]
    if len(branches) == 1:
        return branches[0]()
    return tf.switch_case(choice, branches)


# Geometric operations return six coefficients (a, b, c, d, e, f): the output pixel
# (x, y) is the input at (a x + b y + c, d x + e y + f), x to the right and y down.


def _rotate(level: Any, size: int, config: AugmentConfig) -> list[Any]:
    """Rotates around the center of the image."""
    radians = level * ROTATE_DEGREES * (math.pi / 180)
    cos, sin = tf.cos(radians), tf.sin(radians)
    center = (size - 1) / 2
    return [cos, -sin, center * (1 - cos + sin), sin, cos, center * (1 - sin - cos)]


def _shear_x(level: Any, size: int, config: AugmentConfig) -> list[Any]:
    return [1.0, level * SHEAR, 0.0, 0.0, 1.0, 0.0]


def _shear_y(level: Any, size: int, config: AugmentConfig) -> list[Any]:
    return [1.0, 0.0, 0.0, level * SHEAR, 1.0, 0.0]


def _translate_x(level: Any, size: int, config: AugmentConfig) -> list[Any]:
    return [1.0, 0.0, level * config.translate_pixels, 0.0, 1.0, 0.0]


def _translate_y(level: Any, size: int, config: AugmentConfig) -> list[Any]:
    return [1.0, 0.0, 0.0, 0.0, 1.0, level * config.translate_pixels]


# Named functions: AutoGraph mistakes the lambdas of one expression for each other.
_AFFINES: dict[str, Callable[[Any, int, AugmentConfig], list[Any]]] = {
    "Rotate": _rotate,
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateX": _translate_x,
    "TranslateY": _translate_y,
}
#: Axes of translations. By whole pixels, slicing is four times as fast as sampling.
_TRANSLATION_AXES = {"TranslateX": 1, "TranslateY": 0}


def _translate(image: Any, shift: Any, *, axis: int) -> Any:
    """Moves the image by `shift` pixels towards the origin of the axis."""
    height, width, channels = image.shape
    # Flat rows, because copying along a last axis of 3 is slow.
    rows = tf.reshape(image, [height, width * channels])
    shift *= channels if axis == 1 else 1
    size = rows.shape[axis]
    before = tf.clip_by_value(-shift, 0, size)
    after = tf.clip_by_value(shift, 0, size)
    kept = rows[after : size - before] if axis == 0 else rows[:, after : size - before]
    paddings = [[0, 0], [0, 0]]
    paddings[axis] = [before, after]
    moved = tf.pad(kept, paddings, constant_values=FILL)
    return tf.reshape(moved, image.shape)


def _transform(image: Any, affine: list[Any], config: AugmentConfig) -> Any:
    sample = {"nearest": _nearest, "bilinear": _bilinear}[config.interpolation]
    return tf.ensure_shape(sample(image, affine), image.shape)


def _nearest(image: Any, affine: list[Any]) -> Any:
    """Samples like ImageProjectiveTransformV3, four times as fast."""
    height, width, channels = image.shape
    a, b, c, d, e, f = affine
    x = tf.range(width, dtype=tf.float32)
    y = tf.range(height, dtype=tf.float32)[:, None]
    # Pixels from outside fall into a frame of FILL.
    framed = tf.pad(image, [[1, 1], [1, 1], [0, 0]], constant_values=FILL)
    column = 1 + _rounded(a * x + b * y + c, maximum=width)
    row = 1 + _rounded(d * x + e * y + f, maximum=height)
    index = row * (width + 2) + column
    return tf.gather_nd(tf.reshape(framed, [-1, channels]), index[..., None])


def _rounded(coordinate: Any, *, maximum: int) -> Any:
    """Rounds halves away from zero to int32, in [-1, maximum]."""
    away = coordinate + 0.5 * tf.sign(coordinate)
    return tf.cast(tf.clip_by_value(away, -1.0, maximum), tf.int32)


def _bilinear(image: Any, affine: list[Any]) -> Any:
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(image, tf.float32)[None],
        transforms=tf.stack([*map(tf.convert_to_tensor, affine), 0.0, 0.0])[None],
        output_shape=image.shape[:2],
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=float(FILL),
    )[0]
    return _to_uint8(tf.round(moved))


def _cutout(image: Any, *, half: int, position: Any) -> Any:
    """Fills a square of side `2 * half` around `position`, clipped to the image."""
    height, width, channels = image.shape
    center = tf.cast(position * [height, width], tf.int32)
    top, left = tf.unstack(tf.maximum(center - half, 0))
    bottom, right = tf.unstack(tf.minimum(center + half, [height, width]))
    middle = image[top:bottom]
    square = tf.fill([bottom - top, right - left, channels], tf.cast(FILL, tf.uint8))
    middle = tf.concat([middle[:, :left], square, middle[:, right:]], axis=1)
    whole = tf.concat([image[:top], middle, image[bottom:]], axis=0)
    return tf.ensure_shape(whole, image.shape)


# Color operations take an image uint8 [S,S,3] and `magnitude / MAX_MAGNITUDE`.


def _auto_contrast(image: Any, level: float, config: AugmentConfig) -> Any:
    """Stretches each channel to the full range."""
    height, width, _ = image.shape
    # Flat rows [S,S*3], because reducing or broadcasting a last axis of 3 is slow;
    # float64, because Pillow truncates its float64 result.
    pixels = tf.cast(tf.reshape(image, [height, -1]), tf.float64)
    low = tf.reduce_min(tf.reshape(tf.reduce_min(pixels, 0), [width, -1]), 0)
    high = tf.reduce_max(tf.reshape(tf.reduce_max(pixels, 0), [width, -1]), 0)
    scale = WHITE / tf.maximum(high - low, 1.0)
    flat = high <= low
    scale = tf.where(flat, tf.ones_like(scale), scale)
    offset = tf.where(flat, tf.zeros_like(scale), -low * scale)
    stretched = pixels * tf.tile(scale, [width]) + tf.tile(offset, [width])
    return tf.reshape(tf.cast(stretched, tf.uint8), image.shape)


def _equalize(image: Any, level: float, config: AugmentConfig) -> Any:
    """Flattens the histogram of each channel."""
    height, width, channels = image.shape
    # One histogram with separate bins for each channel. The offsets are repeated along
    # a row, because broadcasting a last axis of 3 is slow.
    offsets = np.tile(LEVELS * np.arange(channels, dtype=np.int32), width)
    bins = tf.cast(tf.reshape(image, [height, -1]), tf.int32) + offsets
    num_bins = LEVELS * channels
    counts = tf.math.bincount(bins, minlength=num_bins, maxlength=num_bins)
    counts = tf.reshape(counts, [channels, LEVELS])
    below = tf.cumsum(counts, axis=1, exclusive=True)
    # Number of pixels per output level; the brightest pixels are not counted.
    darker = tf.reduce_max(tf.where(counts > 0, below, 0), axis=1, keepdims=True)
    step = darker // WHITE
    spread = tf.minimum((step // 2 + below) // tf.maximum(step, 1), WHITE)
    table = tf.where(step > 0, spread, tf.range(LEVELS))
    table = tf.cast(tf.reshape(table, [-1]), tf.uint8)
    return tf.reshape(tf.gather_nd(table, bins[..., None]), image.shape)


def _invert(image: Any, level: float, config: AugmentConfig) -> Any:
    return WHITE - image


def _posterize(image: Any, level: float, config: AugmentConfig) -> Any:
    """Keeps the highest bits: 0 give black, 8 the image itself."""
    bits = min(int(level * POSTERIZE_BITS), 8)
    return tf.bitwise.bitwise_and(image, tf.cast(LEVELS - 2 ** (8 - bits), tf.uint8))


def _solarize(image: Any, level: float, config: AugmentConfig) -> Any:
    """Inverts the pixels that reach a threshold."""
    threshold = int(level * SOLARIZE_THRESHOLD)
    if threshold > WHITE:
        return image
    return tf.bitwise.bitwise_xor(image, WHITE * tf.cast(image >= threshold, tf.uint8))


def _solarize_add(image: Any, level: float, config: AugmentConfig) -> Any:
    pixels = tf.cast(image, tf.float32)
    dark = tf.cast(image < SOLARIZE_ADD_BELOW, tf.float32)
    return _to_uint8(pixels + dark * int(level * SOLARIZE_ADD))


def _color(image: Any, level: float, config: AugmentConfig) -> Any:
    pixels = tf.cast(image, tf.float32)
    return _blend(_gray(pixels), pixels, level)


def _contrast(image: Any, level: float, config: AugmentConfig) -> Any:
    pixels = tf.cast(image, tf.float32)
    if config.contrast_pivot == "area":
        area = image.shape[0] * image.shape[1]
        return _blend(float(min(area // LEVELS, WHITE)), pixels, level)
    # Integers, because float32 cannot represent the sum of a large image.
    total = tf.reduce_sum(tf.cast(_gray(pixels), tf.int64))
    count = math.prod(image.shape)
    mean = (2 * total + count) // (2 * count)
    return _blend(tf.cast(mean, tf.float32), pixels, level)


def _brightness(image: Any, level: float, config: AugmentConfig) -> Any:
    return _blend(0.0, tf.cast(image, tf.float32), level)


def _sharpness(image: Any, level: float, config: AugmentConfig) -> Any:
    """Blends with the smoothed image; a border of one pixel stays unchanged."""
    pixels = tf.cast(image, tf.float32)
    kernel = np.ones([3, 3, image.shape[-1], 1], np.float32)
    kernel[1, 1] = SMOOTH_CENTER
    total = tf.nn.depthwise_conv2d(pixels[None], kernel, [1, 1, 1, 1], "VALID")[0]
    smooth = tf.floor(total / SMOOTH_SUM + 0.5)
    inside = _blend(smooth, pixels[1:-1, 1:-1], level)
    middle = tf.concat([image[1:-1, :1], inside, image[1:-1, -1:]], axis=1)
    return tf.concat([image[:1], middle, image[-1:]], axis=0)


_COLORS: dict[str, Callable[[Any, float, AugmentConfig], Any]] = {
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Invert": _invert,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "Color": _color,
    "Contrast": _contrast,
    "Brightness": _brightness,
    "Sharpness": _sharpness,
}


def _gray(pixels: Any) -> Any:
    """Returns the rounded luma, float32 [S,S,3], equal in all channels.

    One matrix product for three channels is faster than broadcasting one channel.
    """
    weights = np.repeat(np.array(LUMA, np.float32)[:, None], 3, axis=1)
    luma = tf.matmul(tf.reshape(pixels, [-1, 3]), weights)
    return tf.floor(tf.reshape(luma, pixels.shape) + 0.5)


def _blend(degenerate: Any, pixels: Any, level: float) -> Any:
    """Returns uint8 pixels, extrapolated from the degenerate image past `pixels`."""
    factor = ENHANCE_SPAN * level + ENHANCE_MIN
    return _to_uint8(degenerate + factor * (pixels - degenerate))


def _to_uint8(pixels: Any) -> Any:
    """Clips and truncates, as the published code and Pillow do."""
    return tf.cast(tf.clip_by_value(pixels, 0.0, 255.0), tf.uint8)
