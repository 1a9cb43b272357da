"""The input of a probe, chosen on images whose classes depend on what it shows."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from classifier.data import inspection
from classifier.data.config import ImageConfig
from classifier.data.sources import open_source
from classifier.features.source import Extractor
from classifier.probing import input_choice
from classifier.probing.config import ProbeConfig
from classifier.probing.input_choice import ChosenInput, InputChoice
from stage import artifact
from stage.overrides import override_all
from tests.images import encode, write_folder

#: Median shorter side of the images in pixels.
SIDE = 40


@dataclasses.dataclass(frozen=True)
class MeanColors:
    """Features that are the mean colors of the four quarters.

    Attributes:
        image: Preprocessing.
        fixed: Whether the size cannot be changed.
    """

    image: ImageConfig
    fixed: bool = False
    #: Sizes that images were embedded at.
    sizes: list = dataclasses.field(default_factory=list)

    def load(self):
        def embed(pixels):
            self.sizes.append(pixels.shape[1])
            half = pixels.shape[1] // 2
            parts = [
                pixels[:, y : y + half, x : x + half].mean(axis=(1, 2))
                for y in (0, half)
                for x in (0, half)
            ]
            return np.concatenate(parts, axis=1).astype(np.float32)

        return Extractor(self.image, embed)

    def reopen(self, settings):
        @dataclasses.dataclass(frozen=True)
        class Config:
            image: ImageConfig

        image = override_all(Config(self.image), settings).image
        if self.fixed and image.size != self.image.size:
            raise ValueError("the graph has one size")
        return dataclasses.replace(self, image=image)


def choose(source, root, *, given=(), config=None, workdir="probe"):
    """The features, the chosen input, and the lines that were printed."""
    lines = []
    choice = InputChoice(
        reopen=source.reopen,
        given=frozenset(given),
        workdir=root / workdir,
        log=lines.append,
    )
    labeled = inspection.inspect(open_source(f"folder:{root}/labeled"))
    found, chosen = choice.choose(source, labeled, config or ProbeConfig())
    return found, chosen, lines


@pytest.fixture
def framed(tmp_path):
    """A folder of images whose class is the color of a frame, on random insides."""
    rng = np.random.default_rng(0)
    images, labels = [], []
    for number in range(24):
        label = number % 2
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        pixels[..., label] = 255
        pixels[4:-4, 4:-4] = rng.integers(0, 256, 3)
        images.append(encode(np.asarray(Image.fromarray(pixels))))
        labels.append(label)
    write_folder(tmp_path / "labeled", images, labels)
    return tmp_path


def test_the_whole_image_is_taken_if_its_border_tells_the_class(framed):
    source = MeanColors(ImageConfig(size=32, crop_fraction=0.5))
    found, chosen, (line,) = choose(source, framed)
    assert chosen == ChosenInput(size=32, crop_fraction=1.0)
    assert found.image == dataclasses.replace(source.image, crop_fraction=1.0)
    assert line.startswith("input: 32 px;")
    assert "32 px of the central 50.0%" in line


def test_the_own_input_stays_if_the_others_are_no_better(framed):
    source = MeanColors(ImageConfig(size=96, crop_fraction=1.0))
    blind = dataclasses.replace(source, fixed=True)
    assert choose(blind, framed) == (blind, None, [])
    assert not blind.sizes  # Nothing to choose from: no image was embedded.
    found, chosen, _ = choose(source, framed)
    assert sorted(set(source.sizes)) == [32, 64, 96]
    assert chosen == ChosenInput.of(found.image)


@pytest.mark.parametrize(
    ("given", "sizes"), [("image.size", [96]), ("image.crop_fraction", [32, 64, 96])]
)
def test_what_the_user_gives_is_not_chosen(framed, given, sizes):
    source = MeanColors(ImageConfig(size=96, crop_fraction=0.5))
    found, _, _ = choose(source, framed, given=[given])
    assert sorted(set(source.sizes)) == sizes
    if given == "image.size":
        assert found.image.size == 96
    else:
        assert found.image.crop_fraction == 0.5
    both = [input_choice.SIZE, input_choice.CROP]
    assert choose(source, framed, given=both) == (source, None, [])


def test_images_of_which_each_is_the_only_one_choose_nothing(framed):
    for path in (framed / "labeled").glob("*/*"):
        if path.name != min(p.name for p in path.parent.iterdir()):
            path.unlink()
    source = MeanColors(ImageConfig(size=96, crop_fraction=0.5))
    assert choose(source, framed) == (source, None, [])


def test_a_probe_that_was_begun_keeps_its_input(framed):
    begun = {"chosen_input": {"size": 64, "crop_fraction": 0.5}}
    artifact.start_or_resume(framed / "probe", begun)
    source = MeanColors(ImageConfig(size=96, crop_fraction=0.75))
    found, chosen, lines = choose(source, framed)
    assert (found.image.size, found.image.crop_fraction) == (64, 0.5)
    assert (chosen, lines, source.sizes) == (ChosenInput.of(found.image), [], [])
    # Other features, of one size: it is chosen anew, and the directory is refused then.
    fixed = dataclasses.replace(source, fixed=True)
    assert choose(fixed, framed)[1] == ChosenInput(size=96, crop_fraction=1.0)


def test_some_images_of_each_class_are_enough(framed):
    labeled = inspection.inspect(open_source(f"folder:{framed}/labeled"))
    config = ProbeConfig(max_input_images=12)
    rows = input_choice.choose_rows(labeled, config)
    labels = np.array([label for file in labeled.labels for _, label in file])
    assert np.bincount(labels[rows]).tolist() == [6, 6]
    assert input_choice.choose_rows(labeled, ProbeConfig()).all()
    least = input_choice.choose_rows(labeled, ProbeConfig(max_input_images=1))
    assert np.bincount(labels[least]).tolist() == [5, 5]
    source = MeanColors(ImageConfig(size=32, crop_fraction=0.5))
    assert choose(source, framed, config=config)[1].crop_fraction == 1.0


@pytest.mark.parametrize(
    ("size", "side", "sizes"),
    [
        (224, 64, [64, 128]),
        (224, 160, [160]),
        (224, 224, []),
        (224, 500, []),
        (224, 28, [32, 64]),
        (224, 9, [32]),
        (32, 9, []),
    ],
)
def test_sizes_are_those_of_the_images_and_twice_that(size, side, sizes):
    assert list(input_choice.smaller_sizes(size, side)) == sizes


def test_rare_classes_are_among_the_images_to_choose_with(framed):
    """Two have a single image; a plain part of all images may have none of them."""
    images = [encode(np.full((SIDE, SIDE, 3), gray, np.uint8)) for gray in (99, 199)]
    write_folder(framed / "labeled", images, [7, 8])
    labeled = inspection.inspect(open_source(f"folder:{framed}/labeled"))
    labels = np.array([label for file in labeled.labels for _, label in file])
    rows = input_choice.choose_rows(labeled, ProbeConfig(max_input_images=8))
    assert np.bincount(labels[rows]).tolist() == [5, 5, 1, 1]


def test_an_input_without_finite_features_is_not_chosen(framed, monkeypatch):
    source = MeanColors(ImageConfig(size=96, crop_fraction=1.0))
    load = MeanColors.load

    def load_some(self):
        extractor = load(self)
        if self.image.size == 96:
            return extractor
        return dataclasses.replace(
            extractor, network=lambda pixels: extractor.network(pixels) * np.nan
        )

    monkeypatch.setattr(MeanColors, "load", load_some)
    assert choose(source, framed) == (source, None, [])
