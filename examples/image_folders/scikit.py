"""Photographs that the packages of scikit-image and scikit-learn contain."""

from __future__ import annotations

import math
import warnings

import numpy as np
from PIL import Image

#: Ends the names of scikit-learn's.
_SKLEARN = ".jpg"
#: A photograph of a disk in the middle of a black square.
_DISK = "retina"


def load_photograph(name: str) -> Image.Image:
    """Returns a photograph; of one that is a disk, the square inside of it.

    Args:
        name: Function of `skimage.data`, or file of `sklearn.datasets`.

    Raises:
        ValueError: If scikit-image is not installed.
    """
    image = Image.fromarray(_read(name))
    if name != _DISK:
        return image
    inside = round(min(image.size) / math.sqrt(2))
    left, upper = ((length - inside) // 2 for length in image.size)
    return image.crop((left, upper, left + inside, upper + inside))


def _read(name: str) -> np.ndarray:
    if name.endswith(_SKLEARN):
        import sklearn.datasets

        return sklearn.datasets.load_sample_image(name)
    try:
        import skimage.data
    except ImportError as error:
        raise ValueError(
            "scikit-image is missing: pip install -c constraints.txt -e '.[surfaces]'"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = getattr(skimage.data, name)()
    # The motorcycle comes with that of the other eye.
    return found[0] if isinstance(found, tuple) else found
