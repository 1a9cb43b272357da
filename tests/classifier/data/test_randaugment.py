"""Every operation against Pillow, NumPy or the published transform, pixel by pixel."""

import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from classifier.data import randaugment
from classifier.data.config import GEOMETRIC_OPERATIONS, OPERATIONS, AugmentConfig
from tests.images import random_pixels

SIZE = 48
GRAY = (128, 128, 128)
#: The published magnitudes are 10 and 15; with the others there are blend factors
#: below, at and above 1, strengths that are truncated, and none to eight bits kept.
MAGNITUDES = (0, 2, 5, 7.3, 10, 15, 25)
SIGNS = (-1.0, 1.0)


def images():
    """Returns named images uint8 [S,S,3], such as trip up look-up tables."""
    rng = np.random.default_rng(1)
    smooth = random_pixels(rng, SIZE, SIZE)
    shape = smooth.shape
    few = np.array([10, 60, 200], np.uint8)
    rare = np.full(shape, 77, np.uint8)
    rare[0, :5] = [76, 78, 200]
    channels = smooth.copy()
    channels[..., 0] = 0
    channels[..., 1] = 40 + channels[..., 1] // 4
    return {
        "smooth": smooth,
        "noise": rng.integers(0, 256, shape, dtype=np.uint8),
        "few levels": few[rng.integers(0, 3, shape)],
        "low contrast": rng.integers(100, 131, shape, dtype=np.uint8),
        "unequal channels": channels,
        "almost constant": rare,
        "constant": np.full(shape, 200, np.uint8),
        "black": np.zeros(shape, np.uint8),
        "white": np.full(shape, 255, np.uint8),
    }


IMAGES = images()


@pytest.fixture(params=IMAGES)
def image(request):
    return IMAGES[request.param]


@pytest.fixture
def pixels():
    return IMAGES["smooth"]


def apply(name, pixels, *, magnitude, sign=1.0, position=(0.5, 0.5), **settings):
    config = AugmentConfig(operations=(name,), magnitude=magnitude, **settings)
    result = randaugment.apply(
        tf.constant(pixels),
        config,
        choice=tf.constant(0),
        sign=tf.constant(sign),
        position=tf.constant(position, tf.float32),
    ).numpy()
    assert result.dtype == np.uint8
    assert result.shape == pixels.shape
    return result


# Color operations.


def enhance(kind):
    return lambda image, level: kind(image).enhance(1.8 * level + 0.1)


PILLOW = {
    "AutoContrast": lambda image, level: ImageOps.autocontrast(image),
    "Equalize": lambda image, level: ImageOps.equalize(image),
    "Invert": lambda image, level: ImageOps.invert(image),
    "Posterize": lambda image, level: ImageOps.posterize(image, min(int(4 * level), 8)),
    "Solarize": lambda image, level: ImageOps.solarize(image, int(256 * level)),
    "Color": enhance(ImageEnhance.Color),
    "Contrast": enhance(ImageEnhance.Contrast),
    "Brightness": enhance(ImageEnhance.Brightness),
    "Sharpness": enhance(ImageEnhance.Sharpness),
}


@pytest.mark.parametrize("magnitude", MAGNITUDES)
@pytest.mark.parametrize("name", PILLOW)
def test_color_operations_equal_pillow(image, name, magnitude):
    expected = np.asarray(PILLOW[name](Image.fromarray(image), magnitude / 10))
    for sign in SIGNS:
        result = apply(
            name, image, magnitude=magnitude, sign=sign, contrast_pivot="mean"
        )
        np.testing.assert_array_equal(result, expected)


def test_gray_equals_pillow_for_a_sample_of_all_colors():
    steps = np.concatenate([np.arange(0, 255, 5), [254, 255]]).astype(np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(53, -1, 3)
    expected = ImageEnhance.Color(Image.fromarray(colors)).enhance(0.1)
    result = apply("Color", colors, magnitude=0)
    np.testing.assert_array_equal(result, np.asarray(expected))


def test_auto_contrast_equals_pillow_for_every_pair_of_bounds():
    low, high = np.meshgrid(np.arange(0, 256, 3), np.arange(0, 256, 5))
    for first, last in np.stack([low, high], -1)[low < high][::29]:
        ramp = np.linspace(first, last, 3 * 16 * 16).astype(np.uint8)
        ramp = ramp.reshape(3, 16, 16).transpose(1, 2, 0).copy()
        expected = ImageOps.autocontrast(Image.fromarray(ramp))
        result = apply("AutoContrast", ramp, magnitude=10)
        np.testing.assert_array_equal(result, np.asarray(expected))


@pytest.mark.parametrize("size", [16, 20, 48, 257])
@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_contrast_about_the_area_equals_numpy(size, magnitude):
    pixels = np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)
    pivot = np.float32({16: 1, 20: 1, 48: 9, 257: 255}[size])
    factor = np.float32(1.8 * (magnitude / 10) + 0.1)
    blended = pivot + factor * (pixels.astype(np.float32) - pivot)
    expected = np.clip(blended, 0, 255).astype(np.uint8)
    result = apply("Contrast", pixels, magnitude=magnitude)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_solarize_add_equals_numpy(image, magnitude):
    added = np.minimum(image.astype(int) + int(magnitude / 10 * 110), 255)
    expected = np.where(image < 128, added, image)
    result = apply("SolarizeAdd", image, magnitude=magnitude)
    np.testing.assert_array_equal(result, expected)


def cutout(pixels, half, row, column):
    expected = pixels.copy()
    rows = slice(max(row - half, 0), row + half)
    expected[rows, max(column - half, 0) : column + half] = 128
    return expected


@pytest.mark.parametrize("magnitude", [0, 5, 10, 15])
def test_cutout_equals_numpy_wherever_its_center_is(magnitude):
    pixels = IMAGES["noise"]
    for place in range(SIZE):
        row, column = place, (7 * place + 3) % SIZE
        # Both ends of the interval that stands for a pixel.
        for within in (0.01, 0.99):
            position = ((row + within) / SIZE, (column + within) / SIZE)
            result = apply(
                *("Cutout", pixels),
                magnitude=magnitude,
                position=position,
                cutout_pixels=8.5,
            )
            half = int(8.5 * magnitude / 10)
            np.testing.assert_array_equal(result, cutout(pixels, half, row, column))


def test_cutout_can_be_centered_on_the_first_and_the_last_pixel():
    pixels = IMAGES["noise"]
    for position, center in [(0.0, 0), (np.nextafter(np.float32(1), 0), SIZE - 1)]:
        result = apply("Cutout", pixels, magnitude=10, position=(position, position))
        np.testing.assert_array_equal(result, cutout(pixels, 40, center, center))


# Geometric operations.


def coefficients(name, level, translate_pixels):
    """Returns (a, b, c, d, e, f): output (x, y) is input (a x+b y+c, d x+e y+f)."""
    cos, sin = math.cos(math.radians(30 * level)), math.sin(math.radians(30 * level))
    center = (SIZE - 1) / 2
    shift = translate_pixels * level
    return {
        "Rotate": (
            *(cos, -sin, center - cos * center + sin * center),
            *(sin, cos, center - sin * center - cos * center),
        ),
        "ShearX": (1, 0.3 * level, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, 0.3 * level, 1, 0),
        "TranslateX": (1, 0, shift, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, shift),
    }[name]


def affine(pixels, coefficients, resampling):
    """Pillow's affine transform; it counts from pixel corners, TensorFlow centers."""
    a, b, c, d, e, f = coefficients
    shifted = (a, b, c - (a + b) / 2 + 0.5, d, e, f - (d + e) / 2 + 0.5)
    image = Image.fromarray(pixels)
    return np.asarray(
        image.transform(image.size, Image.AFFINE, shifted, resampling, fillcolor=GRAY)
    )


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("magnitude", [2, 5, 10, 15])
@pytest.mark.parametrize("translate_pixels", [10.0, 9.3])
@pytest.mark.parametrize("name", GEOMETRIC_OPERATIONS)
def test_nearest_geometric_operations_equal_pillow(
    name, translate_pixels, magnitude, sign
):
    pixels = IMAGES["noise"]
    affinity = coefficients(name, sign * magnitude / 10, translate_pixels)
    result = apply(
        *(name, pixels),
        magnitude=magnitude,
        sign=sign,
        translate_pixels=translate_pixels,
    )
    expected = affine(pixels, affinity, Image.NEAREST)
    # Half-way between two pixels either is the nearest: float32 here and the 16-bit
    # fractions of Pillow there are off by less than this at 48 pixels.
    a, b, c, d, e, f = affinity
    y, x = np.mgrid[:SIZE, :SIZE]
    sources = np.stack([a * x + b * y + c, d * x + e * y + f])
    tie = np.any(np.abs(sources % 1 - 0.5) < 1e-3, axis=0)
    # A slope of 0.3 meets a half in every tenth row.
    assert tie.mean() <= 0.105
    np.testing.assert_array_equal(result[~tie], expected[~tie])


def transforms():
    """Returns coefficients of the operations, of half pixels and of random ones."""
    operations = [
        coefficients(name, level, 10.0)
        for name in GEOMETRIC_OPERATIONS
        for level in (-1.5, -1.0, -0.73, -0.2, 0.31, 1.0, 1.5, 2.5)
    ]
    halves = [(1, 0, x, 0, 1, y) for x in (-1.5, -0.5, 0.5) for y in (-0.5, 1.5)]
    drawn = np.random.default_rng(3).normal(size=(20, 2, 3)) * [1, 1, SIZE / 2]
    return np.array([*operations, *halves, *drawn.reshape(-1, 6)], np.float32)


def test_nearest_equals_the_published_transform_even_half_way():
    pixels = IMAGES["noise"]
    for affinity in transforms():
        expected = tf.raw_ops.ImageProjectiveTransformV3(
            images=pixels[None],
            transforms=[[*affinity, 0.0, 0.0]],
            output_shape=pixels.shape[:2],
            interpolation="NEAREST",
            fill_mode="CONSTANT",
            fill_value=128.0,
        )[0]
        result = randaugment._nearest(tf.constant(pixels), list(affinity))
        np.testing.assert_array_equal(result, expected)


def assert_close_inside(result, expected):
    """At the border the two libraries blend with the fill differently."""
    inside = np.zeros(result.shape[:2], bool)
    inside[4:-4, 4:-4] = True
    is_fill = np.all(expected == 128, axis=-1)
    near_fill = is_fill.copy()
    for axis in (0, 1):
        for shift in (-1, 1):
            near_fill |= np.roll(is_fill, shift, axis)
    compared = inside & ~near_fill
    assert compared.mean() > 0.3
    difference = np.abs(result.astype(int) - expected.astype(int)).max(-1)
    assert difference[compared].max() <= 1


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("magnitude", [2, 5, 10])
@pytest.mark.parametrize("name", GEOMETRIC_OPERATIONS)
def test_bilinear_geometric_operations_equal_pillow(pixels, name, magnitude, sign):
    result = apply(
        *(name, pixels),
        magnitude=magnitude,
        sign=sign,
        translate_pixels=7.3,
        interpolation="bilinear",
    )
    affinity = coefficients(name, sign * magnitude / 10, 7.3)
    assert_close_inside(result, affine(pixels, affinity, Image.BILINEAR))


@pytest.mark.parametrize("sign", SIGNS)
def test_rotation_turns_as_pillow_does(pixels, sign):
    turned = Image.fromarray(pixels).rotate(30 * sign, Image.BILINEAR, fillcolor=GRAY)
    result = apply("Rotate", pixels, magnitude=10, sign=sign, interpolation="bilinear")
    assert_close_inside(result, np.asarray(turned))


def test_bilinear_rounds_to_the_nearest():
    pixels = IMAGES["noise"]
    result = apply(
        *("TranslateX", pixels),
        magnitude=10,
        translate_pixels=0.5,
        interpolation="bilinear",
    )
    # NumPy rounds halves to even, as TensorFlow does.
    expected = np.round((pixels[:, :-1] / 2) + pixels[:, 1:] / 2)
    np.testing.assert_array_equal(result[:, :-1], expected)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("shift", [5, SIZE - 1, SIZE, 2 * SIZE, 1e12])
def test_translation_moves_by_whole_pixels_and_fills_with_gray(
    pixels, shift, sign, interpolation
):
    settings = {"translate_pixels": 2.0 * shift, "interpolation": interpolation}
    result = apply("TranslateX", pixels, magnitude=5, sign=sign, **settings)
    expected = np.full_like(pixels, 128)
    kept = int(max(SIZE - shift, 0))
    if sign > 0:
        expected[:, :kept] = pixels[:, SIZE - kept :]
    else:
        expected[:, SIZE - kept :] = pixels[:, :kept]
    np.testing.assert_array_equal(result, expected)
    turned = apply(
        "TranslateY", pixels.transpose(1, 0, 2), magnitude=5, sign=sign, **settings
    )
    np.testing.assert_array_equal(turned.transpose(1, 0, 2), expected)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("name", GEOMETRIC_OPERATIONS)
def test_geometric_operations_at_magnitude_zero_are_the_identity(
    image, name, interpolation
):
    result = apply(name, image, magnitude=0, interpolation=interpolation)
    np.testing.assert_array_equal(result, image)


# The published strengths, by default, at the two published magnitudes.


def ramp():
    """Returns uint8 [256,256,3]: all rows are 0 to 255."""
    return np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, 0).repeat(3, 2)


@pytest.mark.parametrize(("magnitude", "bits"), [(10, 4), (15, 6)])
def test_posterize_keeps_the_published_bits(magnitude, bits):
    result = apply("Posterize", ramp(), magnitude=magnitude)
    assert len(np.unique(result)) == 2**bits
    np.testing.assert_array_equal(result, ramp() // 2 ** (8 - bits) * 2 ** (8 - bits))


@pytest.mark.parametrize("magnitude", [10, 15])
def test_solarize_does_nothing_at_the_published_magnitudes(magnitude):
    result = apply("Solarize", ramp(), magnitude=magnitude)
    np.testing.assert_array_equal(result, ramp())


@pytest.mark.parametrize(("magnitude", "amount"), [(10, 110), (15, 165)])
def test_solarize_add_adds_the_published_amount(magnitude, amount):
    row = apply("SolarizeAdd", ramp(), magnitude=magnitude)[0, :, 0].astype(int)
    assert row[0] == amount
    assert row[127] == min(127 + amount, 255)
    np.testing.assert_array_equal(row[128:], np.arange(128, 256))


@pytest.mark.parametrize(("magnitude", "side"), [(10, 80), (15, 120)])
def test_cutout_cuts_the_published_square(magnitude, side):
    result = apply("Cutout", np.zeros([256, 256, 3], np.uint8), magnitude=magnitude)
    rows, columns = np.nonzero(np.all(result == 128, axis=-1))
    assert len(rows) == side**2
    assert np.ptp(rows) == np.ptp(columns) == side - 1
    assert np.count_nonzero(result) == 3 * side**2


@pytest.mark.parametrize(("magnitude", "distance"), [(10, 100), (15, 150)])
def test_translation_moves_the_published_distance(magnitude, distance):
    right = apply("TranslateX", ramp(), magnitude=magnitude, sign=-1.0)
    np.testing.assert_array_equal(right[:, distance:], ramp()[:, :-distance])
    assert np.all(right[:, :distance] == 128)
    down = apply(
        "TranslateY", ramp().transpose(1, 0, 2), magnitude=magnitude, sign=-1.0
    )
    np.testing.assert_array_equal(down.transpose(1, 0, 2), right)


@pytest.mark.parametrize(("magnitude", "slope"), [(10, 0.30), (15, 0.45)])
def test_shear_has_the_published_slope(magnitude, slope):
    row = apply("ShearX", ramp(), magnitude=magnitude)[100, :, 0]
    assert row[0] == round(100 * slope)


@pytest.mark.parametrize(("magnitude", "degrees"), [(10, 30), (15, 45)])
def test_rotation_has_the_published_angle(magnitude, degrees):
    row = apply("Rotate", ramp(), magnitude=magnitude)[128, 100:156, 0].astype(int)
    assert (row[-1] - row[0]) / 55 == pytest.approx(
        math.cos(math.radians(degrees)), abs=1 / 55
    )


@pytest.mark.parametrize(("magnitude", "factor"), [(10, 1.9), (15, 2.8)])
def test_blends_have_the_published_factor(magnitude, factor):
    expected = np.minimum(np.float32(factor) * np.arange(256, dtype=np.float32), 255)
    row = apply("Brightness", ramp(), magnitude=magnitude)[0, :, 0]
    np.testing.assert_array_equal(row, expected.astype(np.uint8))


# Drawing, and the whole.


def test_no_operations_is_the_identity(pixels):
    image = tf.constant(pixels)
    config = AugmentConfig(num_ops=0)
    assert randaugment.augment(image, config, seed=tf.constant([0, 1])) is image


@pytest.mark.parametrize(
    ("name", "interpolation"),
    [
        *((name, "nearest") for name in OPERATIONS),
        *((name, "bilinear") for name in GEOMETRIC_OPERATIONS),
    ],
)
def test_every_operation_gives_the_same_pixels_eagerly_and_in_tf_data(
    name, interpolation
):
    config = AugmentConfig(
        operations=(name,),
        num_ops=1,
        magnitude=7.3,
        translate_pixels=10.0,
        cutout_pixels=10.0,
        interpolation=interpolation,
        contrast_pivot="mean",
    )
    pixels = np.stack(list(IMAGES.values()))
    mapped = tf.data.Dataset.from_tensor_slices(pixels).map(
        lambda image: randaugment.augment(image, config, seed=tf.constant([3, 5]))
    )
    assert mapped.element_spec == tf.TensorSpec([SIZE, SIZE, 3], tf.uint8)
    for image, result in zip(pixels, mapped.as_numpy_iterator(), strict=True):
        eager = randaugment.augment(
            tf.constant(image), config, seed=tf.constant([3, 5])
        )
        np.testing.assert_array_equal(result, eager)


def test_the_same_seed_gives_the_same_pixels_eagerly_and_in_tf_data(pixels):
    config = AugmentConfig(magnitude=7, translate_pixels=10, cutout_pixels=10)
    repeated = tf.data.Dataset.from_tensors(pixels).repeat(24).enumerate()
    mapped = repeated.map(
        lambda i, image: randaugment.augment(
            image, config, seed=tf.stack([3, tf.cast(i, tf.int32)])
        )
    )
    assert mapped.element_spec == tf.TensorSpec([SIZE, SIZE, 3], tf.uint8)
    results = list(mapped.as_numpy_iterator())
    for i, result in enumerate(results):
        eager = randaugment.augment(
            tf.constant(pixels), config, seed=tf.constant([3, i])
        )
        np.testing.assert_array_equal(result, eager)
    assert len({result.tobytes() for result in results}) > 20


def test_augment_applies_what_is_drawn_one_after_the_other(pixels):
    config = AugmentConfig(num_ops=3, translate_pixels=10, cutout_pixels=10)
    for i in range(12):
        seed = tf.constant([8, i])
        drawn = randaugment.draw(config, seed=seed)
        expected = pixels
        for choice, sign, position in zip(*drawn, strict=True):
            expected = apply(
                *(OPERATIONS[choice], expected),
                magnitude=10,
                sign=sign,
                position=position,
                translate_pixels=10,
                cutout_pixels=10,
            )
        result = randaugment.augment(tf.constant(pixels), config, seed=seed)
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("seed", "choices", "signs"),
    [
        ([0, 0], [3, 1, 4, 2, 0, 1], [-1, -1, -1, -1, -1, 1]),
        ([1, 2], [4, 2, 4, 4, 0, 3], [1, 1, 1, -1, -1, 1]),
        ([7, 123456], [4, 1, 4, 0, 3, 3], [-1, 1, 1, 1, -1, -1]),
        ([2**31 - 1, -5], [4, 1, 4, 1, 1, 0], [-1, -1, 1, -1, 1, 1]),
    ],
)
def test_the_draw_is_what_it_was_before_there_were_positions(seed, choices, signs):
    config = AugmentConfig(num_ops=6, operations=GEOMETRIC_OPERATIONS)
    drawn = randaugment.draw(config, seed=tf.constant(seed))
    np.testing.assert_array_equal(drawn.choices, choices)
    np.testing.assert_array_equal(drawn.signs, signs)


def test_positions_stay_what_they_were():
    drawn = randaugment.draw(AugmentConfig(num_ops=2), seed=tf.constant([1, 2]))
    expected = [
        [0.5749043226242065, 0.25499629974365234],
        [0.5054874420166016, 0.07201087474822998],
    ]
    np.testing.assert_array_equal(drawn.positions, np.array(expected, np.float32))


#: Draws for the tests below, and standard deviations a share may be off.
NUM_DRAWS = 16_000
DEVIATIONS = 4


@pytest.fixture(scope="module")
def drawn():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("classifier.data.config.MAX_NUM_OPS", NUM_DRAWS)
        config = AugmentConfig(operations=OPERATIONS, num_ops=NUM_DRAWS)
    return [part.numpy() for part in randaugment.draw(config, seed=tf.constant([0, 0]))]


def assert_uniform(indices, kinds):
    """Bounds every share by its binomial standard deviation."""
    counts = np.bincount(indices, minlength=kinds)
    assert len(counts) == kinds
    bound = DEVIATIONS * math.sqrt(1 / kinds * (1 - 1 / kinds) / NUM_DRAWS)
    np.testing.assert_allclose(counts / NUM_DRAWS, 1 / kinds, atol=bound)


def test_operations_and_signs_are_drawn_uniformly(drawn):
    choices, signs, _ = drawn
    assert set(signs) == set(SIGNS)
    assert_uniform(choices, len(OPERATIONS))
    assert_uniform((signs > 0).astype(int), 2)
    assert_uniform(2 * choices + (signs > 0), 2 * len(OPERATIONS))


def test_positions_are_drawn_uniformly_and_apart_from_the_rest(drawn):
    choices, signs, positions = drawn
    assert positions.dtype == np.float32
    assert positions.shape == (NUM_DRAWS, 2)
    assert positions.min() >= 0
    assert positions.max() < 1
    row, column = (4 * positions).astype(int).T
    assert_uniform(4 * row + column, 16)
    assert_uniform(2 * row + (signs > 0), 8)
    assert_uniform(4 * choices + row, 4 * len(OPERATIONS))
