"""From encoded bytes to uint8 pixels, for training and for evaluation.

`evaluation_image` is the only evaluation preprocessing there is: it is traced into
the exported graph, and the trainer's own evaluation calls it too.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from classifier.config import ImageConfig

#: Inception crop (Szegedy et al. 2014) as ResNet-RS uses it.
CROP_ASPECT_RATIOS = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10


def decode(encoded: Any) -> Any:
    """Returns the image uint8 [H,W,3] of JPEG, PNG, GIF (first frame) or BMP bytes."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return image


def evaluation_image(encoded: Any, config: ImageConfig) -> Any:
    """Returns the center of the image, resized to uint8 [S,S,3]."""
    image = decode(encoded)
    height, width = tf.unstack(tf.shape(image)[:2])
    shorter = tf.cast(tf.minimum(height, width), tf.float32)
    if config.crop_fraction == 1.0:
        return _resize(image, config.size)
    side = tf.maximum(1, tf.cast(shorter * config.crop_fraction, tf.int32))
    top = (height - side + 1) // 2
    left = (width - side + 1) // 2
    crop = tf.image.crop_to_bounding_box(image, top, left, side, side)
    return _resize(crop, config.size)


def training_image(encoded: Any, config: ImageConfig, *, seed: Any) -> Any:
    """Returns a random crop, perhaps mirrored, resized to uint8 [S,S,3].

    Args:
        encoded: Bytes of one image.
        config: Sizes.
        seed: int32 [2]; the same seed gives the same pixels.
    """
    image = decode(encoded)
    crop_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    if config.min_crop_area < 1.0:
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(image),
            bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            seed=crop_seed,
            min_object_covered=0.1,
            aspect_ratio_range=CROP_ASPECT_RATIOS,
            area_range=(config.min_crop_area, 1.0),
            max_attempts=CROP_ATTEMPTS,
            use_image_if_no_bounding_boxes=True,
        )
        image = tf.slice(image, begin, size)
    image = _resize(image, config.size)
    if config.random_flip:
        image = tf.image.stateless_random_flip_left_right(image, flip_seed)
    return image


def _resize(image: Any, size: int) -> Any:
    resized = tf.image.resize(image, [size, size], method="bicubic")
    # Bicubic overshoots at edges; without the clip the cast would wrap around.
    rounded = tf.round(tf.clip_by_value(resized, 0.0, 255.0))
    return tf.ensure_shape(tf.cast(rounded, tf.uint8), [size, size, 3])
