"""Predictions of images in memory and on disk; the oracle is classifier.predict."""

import io
import json

import numpy as np
import PIL.Image
import pytest

import noisy_student as ns
from tests.commands import call
from tests.images import random_images


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Folder of PNGs, one of which is none."""
    root = tmp_path_factory.mktemp("images")
    for index, image in enumerate(random_images(70)):
        (root / f"{index:02d}.png").write_bytes(image)
    (root / "99.png").write_text("no image")
    return root


@pytest.fixture(scope="module")
def classifier(exported):
    return ns.Classifier(exported[0])


def pixels(path):
    return np.array(PIL.Image.open(path).convert("RGB"))


def test_files_are_predicted_as_by_the_command(classifier, images, exported):
    found = classifier.predict(images)
    output = call(
        "classifier.predict",
        f"--classifier={exported[0]}",
        "--format=json",
        "--top_k=3",
        images,
    ).stdout
    expected = [json.loads(line) for line in output.splitlines()]
    assert found.names == [row["file"] for row in expected]
    assert found.status == [row["status"] for row in expected]
    assert found.status[-1] == "undecodable"
    for row, probabilities in zip(expected[:-1], found.probabilities, strict=False):
        by_name = {top["class_name"]: top["probability"] for top in row["top"]}
        np.testing.assert_allclose(
            [by_name[name] for name in found.class_names], probabilities, atol=1e-6
        )


def test_an_image_is_the_same_in_every_form(classifier, images):
    path = images / "00.png"
    forms = [
        path,
        str(path),
        path.read_bytes(),
        PIL.Image.open(path),
        pixels(path),
    ]
    found = classifier.predict(forms)
    assert found.status == ["ok"] * len(forms)
    for probabilities in found.probabilities[1:]:
        np.testing.assert_array_equal(probabilities, found.probabilities[0])


@pytest.mark.parametrize("form", [str, pixels, PIL.Image.open])
def test_one_image_needs_no_list(classifier, images, form):
    path = images / "01.png"
    found = classifier.predict(form(path))
    expected = classifier.predict([path])
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


def test_an_array_of_four_dimensions_is_several_images(classifier, images):
    stacked = np.stack([pixels(images / f"0{n}.png") for n in range(3)])
    found = classifier.predict(stacked)
    assert found.names == ["0", "1", "2"]
    np.testing.assert_array_equal(
        found.probabilities, classifier.predict(list(stacked)).probabilities
    )


def test_gray_images_are_colored(classifier):
    gray = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    found = classifier.predict([gray, np.stack([gray] * 3, axis=-1)])
    np.testing.assert_array_equal(*found.probabilities)


def test_no_images_have_no_predictions(classifier):
    found = classifier.predict([])
    assert found.probabilities.shape == (0, 3)
    assert found.classes == []


def test_what_is_not_predicted_has_no_class(classifier, images):
    found = classifier.predict([images / "00.png", images / "99.png"])
    assert found.labels.tolist() == [int(found.probabilities[0].argmax()), -1]
    assert found.classes == [found.class_names[found.labels[0]], None]
    np.testing.assert_array_equal(
        found.confidences, [found.probabilities[0].max(), np.nan]
    )
    assert np.isnan(found.probabilities[1]).all()


def test_an_ensemble_averages_probabilities(exported, exported_second, images):
    members = [
        ns.Classifier(directory) for directory, *_ in (exported, exported_second)
    ]
    both = ns.Classifier(exported[0], exported_second[0])
    path = images / "00.png"
    expected = np.mean([m.predict(path).probabilities for m in members], axis=0)
    np.testing.assert_allclose(both.predict(path).probabilities, expected, rtol=1e-5)


def test_a_table_has_a_column_for_each_class(classifier, images):
    pytest.importorskip("pandas")
    table = classifier.predict([images / "00.png"]).to_pandas()
    assert list(table)[:4] == ["image", "status", "class", "confidence"]
    assert list(table)[4:] == list(classifier.class_names)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros(4, np.uint8),
        3,
    ],
    ids=["float", "four channels", "one dimension", "number"],
)
def test_what_is_no_image_is_refused(classifier, image):
    with pytest.raises(ValueError, match="uint8"):
        classifier.predict([image])


def test_pixels_lose_nothing_on_their_way(classifier, images):
    """PNG is lossless: the bytes of the file and of its pixels are the same image."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels(images / "02.png")).save(buffer, "bmp")
    found = classifier.predict([images / "02.png", buffer.getvalue()])
    np.testing.assert_array_equal(*found.probabilities)


def test_a_classifier_needs_a_directory():
    with pytest.raises(ValueError, match="directory"):
        ns.Classifier()
