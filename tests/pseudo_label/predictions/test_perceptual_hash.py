import numpy as np
import pytest

from pseudo_label.predictions.perceptual_hash import perceptual_hashes
from tests.images import random_pixels


def test_perceptual_hashes_are_the_signs_of_differences():
    ramp = np.tile(np.linspace(0, 255, 32, dtype=np.uint8)[None, :, None], (32, 1, 3))
    flat = np.full_like(ramp, 7)
    hashes = perceptual_hashes(np.stack([ramp, ramp[:, ::-1], flat]))
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [2**64 - 1, 0, 0]


@pytest.mark.parametrize("size", [32, 50, 224])
def test_perceptual_hashes_equal_a_loop(size):
    rng = np.random.default_rng(size)
    pixels = rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    rows = np.round(np.linspace(0, size, 9)).astype(int)
    columns = np.round(np.linspace(0, size, 10)).astype(int)
    for image, found in zip(pixels, perceptual_hashes(pixels), strict=True):
        gray = image @ np.array([0.299, 0.587, 0.114])
        bits = ""
        for i in range(8):
            band = gray[rows[i] : rows[i + 1]]
            cells = [band[:, columns[j] : columns[j + 1]].mean() for j in range(9)]
            bits += "".join(str(int(cells[j] < cells[j + 1])) for j in range(8))
        assert int(found) == int(bits, 2)


def test_similar_images_differ_in_few_bits():
    rng = np.random.default_rng(3)
    image = random_pixels(rng, 64, 64)
    noisy = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    other = random_pixels(rng, 64, 64)
    first, near, far = perceptual_hashes(np.stack([image, noisy, other]))
    assert (int(first) ^ int(near)).bit_count() <= 6
    assert (int(first) ^ int(far)).bit_count() >= 12
