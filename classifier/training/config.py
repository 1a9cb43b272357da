"""Everything that decides how a classifier is trained, as frozen dataclasses.

A config refuses nonsense when it is made, so that nothing is built from it. One
field is replaced with `override(config, "optimizer.peak_learning_rate=0.1")`.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import json
from collections.abc import Iterable
from typing import Any, Literal, TypeVar, get_type_hints

from classifier.models import variants

ConfigT = TypeVar("ConfigT")

#: Geometric operations of RandAugment: they move pixels and leave colors alone.
GEOMETRIC_OPERATIONS = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
#: The sixteen operations ResNet-RS was trained with. There is no identity: an
#: operation that is drawn is applied.
OPERATIONS = (
    *("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize"),
    *("Color", "Contrast", "Brightness", "Sharpness", "ShearX", "ShearY"),
    *("TranslateX", "TranslateY", "Cutout", "SolarizeAdd"),
)

#: Of residual blocks in a ResNet.
NUM_STAGES = 4
#: More known names than this are not listed where one is not known.
LISTED_NAMES = 16


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _check_rate(name: str, value: float) -> None:
    _check(0.0 <= value < 1.0, f"{name} must be in [0, 1), got {value}")


def _check_positive(name: str, value: float) -> None:
    _check(value > 0, f"{name} must be positive, got {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network. Everything but the name is ResNet-RS's; other networks ignore it.

    Attributes:
        name: `resnet_rs_DEPTH`, see `classifier.models.variants`, or a network of
            `keras.applications`, as in `EfficientNetV2B0`.
        width_multiplier: Scales the filters of every layer but the head.
        resnet_d: ResNet-D's three changes (He et al. 2018): a stem of three 3x3
            convolutions, a strided one in place of the max-pool, and a shortcut
            that averages before it projects.
        se_ratio: Squeeze width as a share of the block's output filters; 0 builds
            no squeeze-and-excitation.
        dropout_rate: Probability of dropping a feature before the head.
        stochastic_depth_rate: Probability of dropping a block of the last stage,
            a.k.a. drop path; stage i of 4 drops `rate * (i + 1) / 5`.
        batch_norm_momentum: Share of the running statistics that one batch leaves.
            0 keeps the last batch's alone, and leaves smoothing to the exponential
            moving average of `optimizer.ema_decay`.
        batch_norm_groups: Equal parts of a batch that are normalized each by its own
            statistics (Hoffer et al. 2017); the running statistics are their mean. 1
            normalizes over the whole batch, however many devices share it.
    """

    name: str = "resnet_rs_50"
    width_multiplier: float = 1.0
    resnet_d: bool = True
    se_ratio: float = 0.25
    dropout_rate: float = 0.25
    stochastic_depth_rate: float = 0.0
    batch_norm_momentum: float = 0.0
    batch_norm_groups: int = 1

    def __post_init__(self) -> None:
        if variants.depth_of(self.name) is None and (
            self.name not in variants.KERAS_APPLICATIONS
        ):
            raise ValueError(unknown("model", self.name, variants.KNOWN_NAMES))
        _check_positive("model.width_multiplier", self.width_multiplier)
        _check(
            0.0 <= self.se_ratio <= 1.0,
            f"model.se_ratio must be in [0, 1], got {self.se_ratio}",
        )
        _check_rate("model.dropout_rate", self.dropout_rate)
        _check_rate("model.stochastic_depth_rate", self.stochastic_depth_rate)
        _check_rate("model.batch_norm_momentum", self.batch_norm_momentum)
        _check_positive("model.batch_norm_groups", self.batch_norm_groups)
        _check(
            self.batch_norm_groups == 1 or self.depth is not None,
            f"model.batch_norm_groups is a ResNet-RS's, {self.name} has 1, got "
            f"{self.batch_norm_groups}",
        )

    @property
    def depth(self) -> int | None:
        """Depth of the ResNet-RS; None for another network."""
        return variants.depth_of(self.name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """From encoded bytes to the square the network sees.

    Attributes:
        size: Side of the network's input in pixels.
        crop_fraction: Side of the evaluation's center crop, as a share of the
            image's shorter side.
        min_crop_area: Smallest area of a training crop as a share of the image;
            1 resizes the whole image.
        random_flip: Whether training mirrors half of the images.
    """

    size: int = 160
    crop_fraction: float = 0.875
    min_crop_area: float = 0.08
    random_flip: bool = True

    def __post_init__(self) -> None:
        # Stem, pool and three stages halve the image five times.
        _check(self.size >= 32, f"image.size must be at least 32, got {self.size}")
        for name in ("crop_fraction", "min_crop_area"):
            value = getattr(self, name)
            _check(0 < value <= 1, f"image.{name} must be in (0, 1], got {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Noise on the training images: RandAugment (Cubuk et al. 2019).

    Attributes:
        num_ops: Operations drawn for each image, with replacement; 0 for none.
        magnitude: Strength, where 10 is an operation's nominal maximum.
        operations: Names of the operations to draw from.
        translate_pixels: Translation in pixels at magnitude 10. The published 100
            is for ImageNet's sizes.
        cutout_pixels: Half the side of Cutout's square in pixels at magnitude 10;
            the published 40 is for ImageNet's sizes.
        interpolation: How the geometric operations resample. `nearest` is the
            published one, `bilinear` keeps the strokes of very small images.
        contrast_pivot: The gray that Contrast moves pixels away from. `mean` is
            the image's own, as in Pillow; `area` is what ResNet-RS was trained
            with, where a sum of counts took the place of a sum of intensities: the
            number of pixels over 256, at most 255.
    """

    num_ops: int = 2
    magnitude: float = 10.0
    operations: tuple[str, ...] = OPERATIONS
    translate_pixels: float = 100.0
    cutout_pixels: float = 40.0
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    contrast_pivot: Literal["mean", "area"] = "area"

    def __post_init__(self) -> None:
        _check(self.num_ops >= 0, f"augment.num_ops must be >= 0, got {self.num_ops}")
        _check(
            self.magnitude >= 0, f"augment.magnitude must be >= 0, got {self.magnitude}"
        )
        _check(len(self.operations) > 0, "augment.operations must name at least one")
        for name in self.operations:
            if name not in OPERATIONS:
                raise ValueError(unknown("operation", name, OPERATIONS))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Nesterov momentum under a learning-rate schedule (Bello et al. 2021).

    Attributes:
        peak_learning_rate: Of the schedule; 0.1 per 256 images of a batch is the
            paper's.
        schedule: `cosine` falls to zero at the last step; `stepwise` is the
            baseline's, a tenth after 30, 60 and 80 of 90 parts of the run.
        momentum: Share of the accumulated gradient that is kept each step.
        warmup_steps: Steps of linear warm-up from 0.
        weight_decay: L2 in the loss, as `weight_decay / 2 * |weights|^2`, over
            everything but batch-norm's scale and offset.
        ema_decay: Of weights and batch-norm statistics; ramps up as
            `min(ema_decay, (1 + step) / (10 + step))`. 0 averages nothing: what is
            evaluated and exported are the last weights.
    """

    peak_learning_rate: float = 1.6
    schedule: Literal["cosine", "stepwise"] = "cosine"
    momentum: float = 0.9
    warmup_steps: int = 1560
    weight_decay: float = 4e-5
    ema_decay: float = 0.9999

    def __post_init__(self) -> None:
        _check_positive("optimizer.peak_learning_rate", self.peak_learning_rate)
        _check_rate("optimizer.momentum", self.momentum)
        _check(
            self.warmup_steps >= 0,
            f"optimizer.warmup_steps must be >= 0, got {self.warmup_steps}",
        )
        _check(
            self.weight_decay >= 0,
            f"optimizer.weight_decay must be >= 0, got {self.weight_decay}",
        )
        _check_rate("optimizer.ema_decay", self.ema_decay)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run.

    Attributes:
        model: The network.
        image: Its input.
        augment: Noise on the training images.
        optimizer: The optimizer and its schedule.
        label_smoothing: Share of a hard target spread over all classes.
        global_batch_size: Images of one step, over all devices.
        num_steps: Steps of the whole run.
        log_every: Steps between two rows of `metrics.jsonl`.
        evaluate_every: Steps between two evaluations; the end is always evaluated.
        checkpoint_every: Steps between two checkpoints.
        checkpoints_to_keep: How many of the newest stay.
        shuffle_buffer: Encoded examples held to shuffle within an epoch.
        precision: What the network's layers compute in while it trains. Variables,
            the loss, batch-norm's statistics and evaluation are float32 in any case.
        input_shards: Parts that the files of every source are dealt into, each of
            which gives an equal share of every batch. As many processes can read them,
            or any number that divides it; the batches are the same.
        frozen_stages: That many of a ResNet-RS's four stages, and the stem, stay as
            they are, batch-norm's statistics too.
        seed: Decides weights, data order and noise.
    """

    model: ModelConfig = ModelConfig()
    image: ImageConfig = ImageConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    label_smoothing: float = 0.1
    global_batch_size: int = 4096
    num_steps: int = 109_200
    log_every: int = 100
    evaluate_every: int = 3120
    checkpoint_every: int = 1000
    checkpoints_to_keep: int = 2
    shuffle_buffer: int = 10_000
    precision: Literal["float32", "bfloat16"] = "float32"
    input_shards: int = 1
    frozen_stages: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _check_rate("label_smoothing", self.label_smoothing)
        for name in (
            "global_batch_size",
            "num_steps",
            "log_every",
            "evaluate_every",
            "checkpoint_every",
            "checkpoints_to_keep",
            "shuffle_buffer",
            "input_shards",
        ):
            _check_positive(name, getattr(self, name))
        _check(
            self.optimizer.warmup_steps < self.num_steps,
            f"optimizer.warmup_steps must be below num_steps ({self.num_steps}), got "
            f"{self.optimizer.warmup_steps}",
        )
        _check(
            0 <= self.frozen_stages <= NUM_STAGES,
            f"frozen_stages must be in 0..{NUM_STAGES}, got {self.frozen_stages}",
        )
        _check(
            self.frozen_stages == 0 or self.model.depth is not None,
            f"frozen_stages are a ResNet-RS's, {self.model.name} has none",
        )
        _check(self.seed >= 0, f"seed must be >= 0, got {self.seed}")
        _check_averages(self.model, self.optimizer)
        _check_parts(self)

    @property
    def batch_parts(self) -> int:
        """Equal parts of a batch that a mixture of sources must be the same in."""
        return max(self.input_shards, self.model.batch_norm_groups)

    def per_device_batch_size(self, num_devices: int) -> int:
        """Returns the share of one device in the global batch.

        Raises:
            ValueError: If the devices cannot share it evenly.
        """
        share, rest = divmod(self.global_batch_size, num_devices)
        _check(
            rest == 0,
            f"global_batch_size must be divisible by the {num_devices} devices, got "
            f"{self.global_batch_size}",
        )
        return share


def _check_parts(config: TrainConfig) -> None:
    """Refuses parts of a batch that are not equal, or that cut across each other."""
    shards, groups = config.input_shards, config.model.batch_norm_groups
    for name, parts in (("input_shards", shards), ("model.batch_norm_groups", groups)):
        _check(
            config.global_batch_size % parts == 0,
            f"global_batch_size must be divisible by {name} ({parts}), got "
            f"{config.global_batch_size}",
        )
    _check(
        max(shards, groups) % min(shards, groups) == 0,
        "one of input_shards and model.batch_norm_groups must divide the other, got "
        f"{shards} and {groups}",
    )


def _check_averages(model: ModelConfig, optimizer: OptimizerConfig) -> None:
    """Refuses what would evaluate a ResNet-RS with the statistics of one batch.

    Averages over statistics that are averages already are refused too, as in the
    code that ResNet-RS was trained with.
    """
    if model.depth is None:
        return
    momentum, decay = model.batch_norm_momentum, optimizer.ema_decay
    _check(
        (momentum > 0.0) != (decay > 0.0),
        "expected one of model.batch_norm_momentum and optimizer.ema_decay to be "
        f"positive, the other 0, got {momentum} and {decay}",
    )


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Returns the message for an unknown name, with the nearest of those known."""
    names = {known_name.lower(): known_name for known_name in known}
    nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.0)
    message = f"unknown {what} {name!r}; nearest is {names[nearest[0]]!r}"
    if len(names) > LISTED_NAMES:
        return message
    return f"{message}, of {', '.join(names.values())}"


def to_json(config: Any) -> str:
    """Returns a config as indented JSON, keys in the order of the fields."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def paths_of(assignments: Iterable[str]) -> frozenset[str]:
    """Returns which settings assignments such as "augment.magnitude=15" make."""
    return frozenset(assignment.partition("=")[0] for assignment in assignments)


def from_json(content: dict[str, Any]) -> TrainConfig:
    """Returns the recipe that `dataclasses.asdict` has made JSON of.

    What a student's has beyond it is left out.
    """
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    values = {name: value for name, value in content.items() if name in names}
    augment = {**content["augment"], "operations": (*content["augment"]["operations"],)}
    return TrainConfig(
        **{
            **values,
            "model": ModelConfig(**content["model"]),
            "image": ImageConfig(**content["image"]),
            "augment": AugmentConfig(**augment),
            "optimizer": OptimizerConfig(**content["optimizer"]),
        }
    )


def override_all(config: ConfigT, assignments: Iterable[str]) -> ConfigT:
    """Returns `config` with several fields replaced together, see `override`.

    All are set before any is checked against another, so their order is free.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise ValueError(f"expected 'field=value', got {assignment!r}")
        *parents, leaf = path.split(".")
        branch = changes
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise ValueError(f"{path} is set inside another --set")
        branch[leaf] = text
    return _replace(config, changes, prefix="")


def override(config: ConfigT, assignment: str) -> ConfigT:
    """Returns `config` with one field replaced, as in "augment.magnitude=15".

    Raises:
        ValueError: If there is no such field, or the value does not fit it.
    """
    return override_all(config, [assignment])


def _replace(config: ConfigT, changes: dict[str, Any], *, prefix: str) -> ConfigT:
    types = get_type_hints(type(config))
    values = {}
    for name, change in changes.items():
        if name not in types:
            raise ValueError(unknown("setting", prefix + name, _paths(config, prefix)))
        old = getattr(config, name)
        path = prefix + name
        if isinstance(change, dict):
            if not dataclasses.is_dataclass(old):
                raise ValueError(f"{path} is a value, it has no fields")
            values[name] = _replace(old, change, prefix=path + ".")
        else:
            values[name] = _parse(path, change, old, types[name])
    return dataclasses.replace(config, **values)  # type: ignore[type-var]


def _paths(config: Any, prefix: str) -> list[str]:
    paths = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        path = prefix + field.name
        paths += _paths(value, path + ".") if _is_config(value) else [path]
    return paths


def _is_config(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _parse(path: str, text: str, old: Any, hint: Any) -> Any:
    if _is_config(old):
        raise ValueError(f"{path} is a group of settings; set one of {_paths(old, '')}")
    if getattr(hint, "__origin__", None) is Literal:
        if text not in hint.__args__:
            raise ValueError(unknown(path, text, hint.__args__))
        return text
    if isinstance(old, str):
        return text
    if isinstance(old, tuple):
        return tuple(name for name in text.split(",") if name)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(old):
        raise ValueError(f"{path} is of type {type(old).__name__}, got {text!r}")
    return value
