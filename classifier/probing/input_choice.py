"""Size and crop of a frozen network's input, by the cross-entropy of unseen images.

A network is published with one size and one center crop, for photographs larger than
both. Smaller images lose more by being enlarged and cut than the published input gains
(`docs/pretrained.md` has figures). The labeled images decide, by cross-validation, so
no image to evaluate on is looked at.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from etils import epath
from numpy.typing import NDArray

from classifier.data import folds, image_sides
from classifier.data.config import SIZE_STEP, ImageConfig
from classifier.data.sources import Source
from classifier.features.source import FeatureSource
from classifier.probing import cross_validation, embeddings
from classifier.probing.config import ProbeConfig
from stage import artifact, typed_json
from stage.cli import Log

#: Settings that are chosen unless the user gives them.
SIZE, CROP = "image.size", "image.crop_fraction"

#: Function from settings, such as "image.size=64", to the features with them; it raises
#: ValueError if they do not fit the network.
Reopen = Callable[[Sequence[str]], FeatureSource]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChosenInput:
    """An input that was chosen from several.

    Attributes:
        size: Side of the network's input in pixels.
        crop_fraction: Side of the center crop, as a share of the image's shorter side.
    """

    size: int
    crop_fraction: float

    @classmethod
    def of(cls, image: ImageConfig) -> ChosenInput:
        """Returns the input of preprocessing."""
        return cls(size=image.size, crop_fraction=image.crop_fraction)

    def __str__(self) -> str:
        crop = self.crop_fraction
        return f"{self.size} px" + (f" of the central {crop:.1%}" if crop < 1 else "")

    def settings(self) -> list[str]:
        """Returns it as settings of features."""
        return [f"{SIZE}={self.size}", f"{CROP}={self.crop_fraction}"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Begun:
    """What is read of the `config.json` of a probe."""

    chosen_input: ChosenInput | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputChoice:
    """How the input of features is chosen.

    Attributes:
        reopen: Opens the features with settings besides the user's.
        given: Paths of the settings that the user gives.
        workdir: Directory of the probe; one that was begun keeps its input.
        log: Receives a line about what was tried.
    """

    reopen: Reopen
    given: frozenset[str]
    workdir: epath.PathLike
    log: Log

    def choose(
        self, own: FeatureSource, labeled: Source, config: ProbeConfig
    ) -> tuple[FeatureSource, ChosenInput | None]:
        """Returns the features, and their input if it was chosen from several.

        The crop is chosen first, at the network's size: its own, or all of the image;
        then the size: the network's, that of the images, or twice that.

        Args:
            own: Features with the network's own input, the first of those tried.
            labeled: Labeled images that `inspection.inspect` has read.
            config: How heads are fitted.

        Raises:
            ValueError: If an image cannot be decoded, or has no finite embedding.
        """
        if begun := _read_begun(self.workdir):
            with contextlib.suppress(ValueError):  # It is of other features.
                return self.reopen(begun.settings()), begun
        search = _Search(own, self.reopen, labeled, config)
        if CROP not in self.given:
            search.consider(ChosenInput(size=own.image.size, crop_fraction=1.0))
        if SIZE not in self.given:
            side = image_sides.median_shorter_side(labeled)
            for size in smaller_sizes(own.image.size, side):
                crop = search.best.image.crop_fraction
                search.consider(ChosenInput(size=size, crop_fraction=crop))
        if len(search.losses) < 2:
            return own, None
        self.log(search.describe())
        return search.best, ChosenInput.of(search.best.image)


def smaller_sizes(size: int, side: int) -> Sequence[int]:
    """Returns the side of images and twice that, if below a size, in steps."""
    rounded = (round(factor * side / SIZE_STEP) * SIZE_STEP for factor in (1, 2))
    return sorted({found for found in rounded if SIZE_STEP <= found < size})


def _read_begun(workdir: epath.PathLike) -> ChosenInput | None:
    """Returns the input that was chosen for a probe that was begun."""
    path = artifact.reach(workdir) / artifact.CONFIG
    return typed_json.read(path, _Begun).chosen_input if path.exists() else None


class _Search:
    """The best of the inputs that were considered.

    Attributes:
        losses: Mean cross-entropy of unseen images, in nats, by input.
        best: Features with the input of the lowest.
    """

    def __init__(
        self,
        own: FeatureSource,
        reopen: Reopen,
        labeled: Source,
        config: ProbeConfig,
    ) -> None:
        self._reopen, self._labeled, self._config = reopen, labeled, config
        self._rows = choose_rows(labeled, config)
        self._own = own
        self.losses: dict[ChosenInput, float] = {}
        self.best = own

    def consider(self, candidate: ChosenInput) -> None:
        """Computes the loss of an input, unless it is known or the network has none."""
        if candidate in {*self.losses, ChosenInput.of(self._own.image)}:
            return
        try:
            source = self._reopen(candidate.settings())
        except ValueError:  # A graph of another size.
            return
        if not self.losses:
            self._add(self._own)
        if self.losses:
            with contextlib.suppress(ValueError):  # Its features are not finite.
                self._add(source)

    def _add(self, source: FeatureSource) -> None:
        """Adds an input, unless no class has two images to validate one."""
        images = embeddings.embed(self._labeled, source.load(), self._rows)
        losses = cross_validation.choose_c(images, self._config).losses
        if not losses:
            return
        loss = min(losses.values())
        if loss < min(self.losses.values(), default=np.inf):
            self.best = source
        self.losses[ChosenInput.of(source.image)] = loss

    def describe(self) -> str:
        """Returns what was tried as one line."""
        tried = ", ".join(f"{found} {loss:.3f}" for found, loss in self.losses.items())
        return (
            f"input: {ChosenInput.of(self.best.image)}; cross-entropy of unseen images:"
            f" {tried}"
        )


def choose_rows(labeled: Source, config: ProbeConfig) -> NDArray[np.bool_]:
    """Returns the images to choose with, [N]: all, or some of each class."""
    keys = [key for file in labeled.labels for key, _ in file]
    labels = np.array([label for file in labeled.labels for _, label in file])
    return folds.sample(keys, labels, config.max_input_images)
