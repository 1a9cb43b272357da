"""Settings of a network that somebody else exported: what its pixels are scaled to.

A graph shows the size of its input and the order of its axes; the rest is in
`preprocessor_config.json` beside it (Hugging Face's), or has to be assumed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

from etils import epath

from classifier.data.config import ImageConfig
from classifier.models.config import IMAGENET_MEAN, IMAGENET_STDDEV
from stage import typed_json
from stage.overrides import override_all, paths_of
from stage.validation import check

PREPROCESSOR = "preprocessor_config.json"
#: Pillow's numbers of the interpolations that we have.
_RESAMPLE: dict[int, Literal["bicubic", "bilinear"]] = {2: "bilinear", 3: "bicubic"}
#: Side from which the one processor with a `crop_pct`, ConvNeXt's, takes whole images.
_NEVER_CROPPED = 384
#: Size of images that nobody has given; the graph's own replaces it.
_OPEN_SIZE = 224


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """How encoded images become the input of a graph, and which output is used.

    Attributes:
        image: Evaluation preprocessing.
        pixel_mean: Mean that is subtracted from each channel's intensities in [0, 1].
        pixel_stddev: What the difference is divided by, positive.
        channel_order: Order of the graph's channels.
        layout: Order of the input's axes; `auto` finds the axis of length 3.
        input: Name of the input; "" for the only one.
        output: Name of the output; "" for the only one of shape [N,D].
        pooling: What becomes of an output that is no vector: `first` takes the first
            token of [N,T,D], `mean` the mean over tokens or places. `auto` expects a
            vector, and with KerasHub does what suits the network.
    """

    image: ImageConfig
    pixel_mean: tuple[float, ...] = IMAGENET_MEAN
    pixel_stddev: tuple[float, ...] = IMAGENET_STDDEV
    channel_order: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["auto", "nchw", "nhwc"] = "auto"
    input: str = ""
    output: str = ""
    pooling: Literal["auto", "first", "mean"] = "auto"

    def __post_init__(self) -> None:
        for name, low in (("pixel_mean", -math.inf), ("pixel_stddev", 0.0)):
            values = getattr(self, name)
            check(
                len(values) == 3 and all(low < v < math.inf for v in values),
                f"{name} must be three numbers above {low}, got {values}",
            )

    @property
    def scale(self) -> tuple[float, ...]:
        """Factor of each channel's uint8 value."""
        return tuple(1 / (255 * stddev) for stddev in self.pixel_stddev)

    @property
    def offset(self) -> tuple[float, ...]:
        """What is added after the multiplication."""
        pairs = zip(self.pixel_mean, self.pixel_stddev, strict=True)
        return tuple(-mean / stddev for mean, stddev in pairs)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Preprocessor:
    """What is read of `preprocessor_config.json`; sizes are numbers or objects."""

    size: Any = None
    crop_size: Any = None
    do_resize: bool = True
    do_center_crop: bool | None = None
    do_rescale: bool = True
    do_normalize: bool = True
    rescale_factor: typed_json.Positive = 1 / 255
    image_mean: Any = None
    image_std: Any = None
    resample: Any = None
    crop_pct: typed_json.Positive | None = None


@dataclasses.dataclass(frozen=True)
class GraphSettings:
    """Settings of a graph, and which of them somebody has given.

    Attributes:
        config: All settings.
        known: Paths of the settings that a file or the user gives.
    """

    config: GraphConfig
    known: frozenset[str]

    def with_size(self, size: int) -> GraphSettings:
        """Returns the settings for a graph whose images have this side, 0 for any.

        Raises ValueError if nobody has given it, or it is another.
        """
        image, is_known = self.config.image, "image.size" in self.known
        if not size and not is_known:
            raise ValueError(
                "the graph leaves the size of its images open; give it as "
                "--set=image.size=224"
            )
        if size and is_known and image.size != size:
            raise ValueError(
                f"the graph takes images of {size} pixels, got image.size={image.size} "
                f"of --set= or of {PREPROCESSOR}"
            )
        image = dataclasses.replace(image, size=size or image.size)
        config = dataclasses.replace(self.config, image=image)
        return GraphSettings(config, self.known)

    def assumed(self, *, scales: bool) -> str:
        """Returns the settings that nobody has given, as "a=1, b=2".

        `scales` says whether pixels are scaled at all.
        """
        image = self.config.image
        values: dict[str, Any] = {
            "image.crop_fraction": image.crop_fraction,
            "image.interpolation": image.interpolation,
        }
        if scales:
            values["pixel_mean"] = ",".join(map(str, self.config.pixel_mean))
            values["pixel_stddev"] = ",".join(map(str, self.config.pixel_stddev))
        values["channel_order"] = self.config.channel_order
        missing = [name for name in values if name not in self.known]
        return ", ".join(f"{name}={values[name]}" for name in missing)


def read_settings(path: epath.PathLike, assignments: Sequence[str]) -> GraphSettings:
    """Returns the settings of a graph's file or directory.

    The user's assignments, as "image.size=224", come first, then those of a
    `preprocessor_config.json` beside it, then ImageNet's.

    Raises:
        ValueError: If a setting is unknown or does not fit.
    """
    graph = epath.Path(path)
    file = (graph if graph.is_dir() else graph.parent) / PREPROCESSOR
    found = _read(file) if file.exists() else {}
    image = found.pop("image", {})
    defaults = {"size": _OPEN_SIZE, "antialias": True}
    try:
        config = GraphConfig(image=ImageConfig(**defaults | image), **found)
    except ValueError as error:
        raise ValueError(f"{file}: {typed_json.error_message(error)}") from error
    named = {f"image.{name}" for name in image}
    return GraphSettings(
        override_all(config, assignments),
        frozenset({*found, *named, *paths_of(assignments)}),
    )


def check_scaling(assignments: Sequence[str], *, scales: bool) -> None:
    """Raises ValueError if the user sets how pixels are scaled, but none are.

    `scales` says whether they are.
    """
    vain = paths_of(assignments) & {"pixel_mean", "pixel_stddev"}
    if vain and not scales:
        raise ValueError(
            f"--set={min(vain)}= has no effect: the graph takes uint8 and scales itself"
        )


def _read(file: epath.Path) -> dict[str, Any]:
    """Returns what a `preprocessor_config.json` says, as arguments of `GraphConfig`.

    Those of the image are a dictionary inside.
    """
    found = typed_json.read(file, _Preprocessor)
    try:
        return {"channel_order": "rgb", "image": _image(found), **_scaling(found)}
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"{file}: {typed_json.error_message(error)}") from error


def _image(found: _Preprocessor) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    resized, cropped = _side(found.size), _side(found.crop_size)
    crops = found.do_center_crop is not False and cropped is not None
    side = cropped if crops else resized
    if side is not None:
        settings["size"] = side
        settings["crop_fraction"] = 1.0
        if crops and resized and found.do_resize:
            settings["crop_fraction"] = min(1.0, side / resized)
        elif found.crop_pct is not None and side < _NEVER_CROPPED:
            settings["crop_fraction"] = min(1.0, found.crop_pct)
    if found.resample is not None:
        if found.resample not in list(_RESAMPLE):
            raise ValueError(
                f"expected a resample of {sorted(_RESAMPLE)}, bilinear or bicubic, got "
                f"{typed_json.shown(found.resample)}"
            )
        settings["interpolation"] = _RESAMPLE[found.resample]
    return settings


def _scaling(found: _Preprocessor) -> dict[str, tuple[float, ...]]:
    # (x * rescale_factor - mean) / stddev, written with intensities x / 255.
    factor = 255 * found.rescale_factor if found.do_rescale else 255.0
    mean, stddev = found.image_mean, found.image_std
    if not found.do_normalize:
        mean, stddev = (0.0,) * 3, (1.0,) * 3
    if mean is None or stddev is None:
        return {}  # They are the defaults of a class, and not in the file.
    return {
        "pixel_mean": tuple(m / factor for m in _numbers("image_mean", mean)),
        "pixel_stddev": tuple(s / factor for s in _numbers("image_std", stddev)),
    }


def _numbers(name: str, values: Any) -> Sequence[float]:
    """Returns the numbers of three channels."""
    is_list = isinstance(values, Sequence) and len(values) == 3
    if not is_list or not all(type(value) in (int, float) for value in values):
        raise ValueError(
            f"{name}: expected three numbers, got {typed_json.shown(values)}"
        )
    return tuple(values)


def _side(size: Any) -> int | None:
    """Returns the side of a square, or the shorter side of a resized image."""
    if isinstance(size, dict):
        if "shortest_edge" in size:
            return _side(size["shortest_edge"])
        if "height" not in size or size["height"] != size.get("width"):
            raise ValueError(
                f"expected a shortest_edge, or height and width of a square, got "
                f"{typed_json.shown(size)}"
            )
        return _side(size["height"])
    if size is None or (type(size) is int and size > 0):
        return size
    raise ValueError(f"expected a size in pixels, got {typed_json.shown(size)}")
