import numpy as np

from benchmarks.measuring.photographs import make_photographs


def test_images_are_like_photographs():
    rng = np.random.default_rng(0)
    images = make_photographs(rng, 4, height=224, width=224)
    assert images.shape == (4, 224, 224, 3)
    assert images.dtype == np.uint8
    pixels = images.astype(int)
    # Neighbors are more alike than pixels far apart, and channels than either.
    near = np.abs(pixels[:, :, 1:] - pixels[:, :, :-1]).mean()
    far = np.abs(pixels[:, :, 20:] - pixels[:, :, :-20]).mean()
    assert 10 < near < 0.6 * far
    assert 0 < np.abs(np.diff(pixels, axis=-1)).mean() < 0.6 * far
    # Clipping is rare.
    assert np.mean((images == 0) | (images == 255)) < 0.05
