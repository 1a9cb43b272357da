"""Image preprocessing: encoded bytes to uint8 pixels, for training and evaluation.

`evaluation_image` is the only evaluation preprocessing: it is traced into the exported
graph, and the trainer's evaluation calls it, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from classifier.data.config import ImageConfig

#: Inception crop (Szegedy et al. 2014) as ResNet-RS uses it: covered share of the
#: object, which is the whole image, width over height, and number of attempts.
CROP_MIN_COVERED = 0.1
CROP_ASPECT_RATIOS = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10
#: Images decoded in parallel inside a graph.
PARALLEL_DECODES = 8

#: Function from an image's height, width and channels, int32 [3], to the top, left,
#: height and width of the window to keep, int32 [4].
ChooseWindow = Callable[[Any], Any]


def decode(encoded: Any) -> Any:
    """Returns the image uint8 [H,W,3], the first frame of an animation.

    Raises:
        tf.errors.InvalidArgumentError: If the image is broken, or of a format that
            `tf.io.decode_image` does not know.
    """
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return image


def evaluation_image(encoded: Any, config: ImageConfig) -> Any:
    """Returns the center crop of the image, resized to uint8 [S,S,3].

    The whole image is decoded, including what lies outside the crop: a labeled image
    will be trained on, and must not turn out to be broken then.
    """
    image = decode(encoded)
    if config.crop_fraction < 1.0:
        image = _crop(image, center_window(tf.shape(image), config))
    return _resize(image, config)


def evaluation_images(encoded: Any, config: ImageConfig) -> Any:
    """Returns uint8 [B,S,S,3] of encoded images, string [B], decoded in parallel."""
    return tf.map_fn(
        lambda image: evaluation_image(image, config),
        encoded,
        parallel_iterations=PARALLEL_DECODES,
        fn_output_signature=tf.TensorSpec([config.size, config.size, 3], tf.uint8),
    )


def training_image(encoded: Any, config: ImageConfig, *, seed: Any) -> Any:
    """Returns a random crop, possibly mirrored, resized to uint8 [S,S,3].

    The seed, int32 [2], determines the pixels.
    """
    crop_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    if config.min_crop_area == 1.0:
        image = decode(encoded)
    else:
        image = decode_and_crop(
            encoded, lambda shape: inception_window(shape, config, seed=crop_seed)
        )
    image = _resize(image, config)
    if config.random_flip:
        image = tf.image.stateless_random_flip_left_right(image, flip_seed)
    return image


def shifted(image: Any, max_shift: float, *, padding: str, seed: Any) -> Any:
    """Returns an image [S,S,3] moved by whole pixels, evenly drawn in both directions.

    Args:
        image: The image.
        max_shift: Largest shift as a share of the side, below 0.5.
        padding: `reflect` mirrors the image at its outermost pixels, `edge` repeats
            them.
        seed: Seed of the draw, int32 [2].
    """
    size = image.shape[0]
    most = round(max_shift * size)
    moves = tf.random.stateless_uniform([2], seed, -most, most + 1, tf.int32)
    for axis in (0, 1):
        places = tf.range(size) + moves[axis]
        if padding == "reflect":
            places = (size - 1) - tf.abs((size - 1) - tf.abs(places))
        image = tf.gather(image, tf.clip_by_value(places, 0, size - 1), axis=axis)
    return image


def decode_and_crop(encoded: Any, choose_window: ChooseWindow) -> Any:
    """Returns a window of the image, uint8 [height,width,3].

    The rest of a JPEG is not decoded. If its colors are stored at half the resolution,
    the window's outermost pixels differ slightly from those of the whole image, because
    colors are interpolated within the window.
    """

    def crop_jpeg() -> Any:
        window = choose_window(tf.io.extract_jpeg_shape(encoded))
        return tf.io.decode_and_crop_jpeg(encoded, window, channels=3)

    def crop_other() -> Any:
        image = decode(encoded)
        return _crop(image, choose_window(tf.shape(image)))

    return tf.cond(tf.io.is_jpeg(encoded), crop_jpeg, crop_other)


def center_window(shape: Any, config: ImageConfig) -> Any:
    """Returns the centered square whose side is `crop_fraction` of the shorter side."""
    height, width = shape[0], shape[1]
    shorter = tf.cast(tf.minimum(height, width), tf.float32)
    side = tf.maximum(1, tf.cast(shorter * config.crop_fraction, tf.int32))
    return tf.stack([(height - side + 1) // 2, (width - side + 1) // 2, side, side])


def inception_window(shape: Any, config: ImageConfig, *, seed: Any) -> Any:
    """Returns a window of random area and aspect ratio.

    If no attempt fits into the image, which the sampler reports as the whole image,
    returns the evaluation's window, as the code that ResNet-RS was trained with does.
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=seed,
        min_object_covered=CROP_MIN_COVERED,
        aspect_ratio_range=CROP_ASPECT_RATIOS,
        area_range=(config.min_crop_area, 1.0),
        max_attempts=CROP_ATTEMPTS,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.cond(
        tf.reduce_all(size[:2] == shape[:2]),
        lambda: center_window(shape, config),
        lambda: tf.concat([begin[:2], size[:2]], axis=0),
    )


def _crop(image: Any, window: Any) -> Any:
    top, left, height, width = tf.unstack(window)
    return tf.slice(image, [top, left, 0], [height, width, 3])


def _resize(image: Any, config: ImageConfig) -> Any:
    size = config.size
    # Cast first: resizing uint8 would convert each pixel at every access.
    pixels = tf.cast(image, tf.float32)
    resized = tf.image.resize(
        pixels, [size, size], method=config.interpolation, antialias=config.antialias
    )
    # Bicubic interpolation overshoots at edges; unclipped, the cast would wrap around.
    rounded = tf.round(tf.clip_by_value(resized, 0.0, 255.0))
    return tf.ensure_shape(tf.cast(rounded, tf.uint8), [size, size, 3])
