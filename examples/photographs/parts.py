"""Parts of ten color photographs that scikit-image and scikit-learn contain.

Nothing is downloaded. A class is one photograph, so the task is to tell which of them a
picture shows a part of: of another motorcycle or cat it says nothing. A photograph is
cut into nine cells. Pictures to test on come from three of them and labeled ones from
the other six, so no labeled picture shows a pixel of a test picture. Unlabeled ones
come from all nine, as a corpus shows what one wants to know of. All are tilted, tinted,
faded and blurred at random, so that colors alone do not tell.

The photographs and who made them, as these packages state it:

    astronaut     NASA, public domain
    cat           Stefan van der Walt, CC0
    coffee        Rachel Michetti, CC0
    flower        danielbuechele (by the text) or vultilion (by the address), CC BY 2.0
    motorcycle    Middlebury Stereo 2014, of Scharstein and others; no license is stated
    palace        danielbuechele, CC BY 2.0
    retina        Mikael Häggström, CC0
    rocket        SpaceX, public domain
    stars         NASA, public domain
    tissue        Center for Microscopy and Molecular Imaging, no known restrictions
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from PIL import Image, ImageFilter

from examples.image_folders.scikit import load_photograph
from examples.image_folders.squares import Box, draw_square

#: Photograph of each class, as `scikit.load_photograph` names it.
PHOTOGRAPHS = {
    "astronaut": "astronaut",
    "cat": "chelsea",
    "coffee": "coffee",
    "flower": "flower.jpg",
    "motorcycle": "stereo_motorcycle",
    "palace": "china.jpg",
    "retina": "retina",
    "rocket": "rocket",
    "stars": "hubble_deep_field",
    "tissue": "immunohistochemistry",
}
CLASS_NAMES = tuple(PHOTOGRAPHS)
#: Side of a picture, and shorter side of a photograph, in pixels.
SIZE, LENGTH = 160, 480
#: Number of cells along each side of a photograph.
CELLS = 3
#: Smallest and largest side in pixels of the square of the photograph that is shown.
SIDES = (70.0, 110.0)
_ANGLES = (-math.pi / 12, math.pi / 12)
#: Smallest and largest factor of the intensities of a color.
TINTS = (0.5, 1.3)
#: Largest radius of the blur, in pixels of the picture.
MAX_BLUR = 2.0


@dataclasses.dataclass(frozen=True)
class DividedPhotograph:
    """A photograph, and the cells of it that test and labeled pictures show."""

    image: Image.Image
    test: tuple[Box, ...]
    labeled: tuple[Box, ...]

    def cells(self, split: str) -> tuple[Box, ...]:
        """Returns the cells that the pictures of a split show."""
        known = {"test": self.test, "labeled": self.labeled}
        return known.get(split, self.test + self.labeled)


def load_photographs(*, seed: int) -> dict[str, DividedPhotograph]:
    """Returns the photograph of each class; the seed chooses the cells to test on."""
    rng = np.random.default_rng(seed)
    return {name: _divide(_load(name), rng.permutation(CELLS)) for name in CLASS_NAMES}


def draw_part(image: Image.Image, cell: Box, rng: np.random.Generator) -> Image.Image:
    """Returns a square of the photograph inside of a cell, in other colors."""
    part = draw_square(image, cell, rng, sides=SIDES, angles=_ANGLES, size=SIZE)
    if rng.integers(2):
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    gray = part.convert("L").convert("RGB")
    faded = np.asarray(Image.blend(gray, part, rng.uniform()))
    tinted = (faded * rng.uniform(*TINTS, 3)).clip(0, 255).round().astype(np.uint8)
    blur = ImageFilter.GaussianBlur(rng.uniform(0.0, MAX_BLUR))
    return Image.fromarray(tinted).filter(blur)


def _divide(image: Image.Image, test_columns: np.ndarray) -> DividedPhotograph:
    """Returns the photograph with a cell to test on in each row and column."""
    columns, rows = (
        [round(length * number / CELLS) for number in range(CELLS + 1)]
        for length in image.size
    )
    test: list[Box] = []
    labeled: list[Box] = []
    for row in range(CELLS):
        for column in range(CELLS):
            part = test if column == test_columns[row] else labeled
            part.append(
                (columns[column], rows[row], columns[column + 1], rows[row + 1])
            )
    return DividedPhotograph(image, tuple(test), tuple(labeled))


@functools.cache
def _load(name: str) -> Image.Image:
    image = load_photograph(PHOTOGRAPHS[name]).convert("RGB")
    scale = LENGTH / min(image.size)
    width, height = (round(scale * length) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)
