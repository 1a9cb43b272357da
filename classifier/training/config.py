"""The recipe of a training run as frozen dataclasses, checked when constructed.

Fields are replaced with `stage.overrides.override_all`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, TypeVar

from etils import epath

from classifier.data.config import AugmentConfig, ImageConfig
from classifier.models import variants
from classifier.models.config import NUM_STAGES, ModelConfig
from stage import artifact, typed_json
from stage.overrides import RENAMED, paths_of
from stage.validation import check, check_positive, check_rate

#: Largest values of settings that decide about memory: twice the largest published
#: batch, and pointers to shuffled examples of a gigabyte.
_LIMITS = {"global_batch_size": 2**17, "shuffle_buffer": 2**25}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """SGD with Nesterov momentum under a learning-rate schedule (Bello et al. 2021).

    Attributes:
        peak_learning_rate: Maximum of the schedule; the paper's is 0.1 per 256 images
            of a batch.
        schedule: `cosine` decays to zero at the last step; `stepwise` divides by 10
            after 30/90, 60/90 and 80/90 of the run, as the paper's baseline does.
        momentum: Share of the accumulated gradient kept at each step, in [0, 1).
        warmup_steps: Steps of linear warm-up from 0.
        weight_decay: Coefficient of the L2 penalty `weight_decay / 2 * |weights|^2`,
            on everything but batch-norm's scale and offset.
        ema_decay: Decay of the moving average of weights and batch-norm statistics,
            ramped up as `min(ema_decay, (1 + step) / (10 + step))`. With 0 there is no
            average: the last weights are evaluated and exported.
    """

    peak_learning_rate: float = 1.6
    schedule: Literal["cosine", "stepwise"] = "cosine"
    momentum: float = 0.9
    warmup_steps: int = 1560
    weight_decay: float = 4e-5
    ema_decay: float = 0.9999

    def __post_init__(self) -> None:
        check_positive("optimizer.peak_learning_rate", self.peak_learning_rate)
        for name in ("momentum", "ema_decay"):
            check_rate(f"optimizer.{name}", getattr(self, name))
        for name in ("warmup_steps", "weight_decay"):
            value = getattr(self, name)
            check(value >= 0, f"optimizer.{name} must be >= 0, got {value}")


#: By setting of `ConsistencyConfig`: the setting and its values that it has an effect
#: with.
_MODES = {
    "threshold": ("thresholds", "fixed", "curriculum"),
    "threshold_warmup": ("thresholds", "curriculum"),
    "threshold_decay": ("thresholds", "self_adaptive"),
    "fairness_weight": ("thresholds", "self_adaptive"),
    "temperature": ("target_kind", "sharpened"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConsistencyConfig:
    """Training on unlabeled images whose targets are the network's own predictions.

    The prediction on one view of an image is the target of its view with the recipe's
    noise, where the confidence reaches a threshold. The defaults are FixMatch's (Sohn
    et al. 2020). For runs with unlabeled images only.

    Attributes:
        thresholds: Kind of threshold on the confidence. `fixed` is `threshold`.
            `curriculum` scales it for each class by the number of images whose last
            confident prediction is the class (FlexMatch, Zhang et al. 2021).
            `self_adaptive` follows the mean confidence, scaled for each class by its
            mean probability (FreeMatch, Wang et al. 2023).
        threshold: Least confidence in [0, 1] of `fixed` and `curriculum`.
        threshold_warmup: Whether `curriculum` counts images without a confident
            prediction so far, which keeps the thresholds low at the start.
        threshold_decay: Decay of the moving averages of `self_adaptive`, in [0, 1).
        fairness_weight: Coefficient of FreeMatch's self-adaptive fairness loss, with
            `self_adaptive`; 0 for none.
        unlabeled_ratio: Unlabeled images for each labeled one of a batch, positive.
        weight: Coefficient of the unlabeled images' mean loss, >= 0.
        target_kind: Target of an unlabeled image. `hard` is the predicted class, never
            smoothed; `soft` is the predicted distribution; `sharpened` is that
            distribution at `temperature`.
        temperature: Temperature of `sharpened`, positive; below 1 sharpens.
        labeler: Network that predicts the targets. `current` is the one that trains,
            with its noise and the batch-norm statistics of the views alone; `ema` is
            the averaged one as it is evaluated, in float32.
        predicted_view: View of an unlabeled image that is predicted on. `weak` has the
            weak noise, `clean` none: it is the one that is evaluated.
        labeled_noise: Noise on the labeled images. `weak` is the weak noise, `strong`
            the recipe's.
        max_shift: Weak noise, in addition to the recipe's crop and mirroring: largest
            horizontal and vertical shift, as a share of the side in [0, 0.5).
        shift_padding: Pixels from outside a shifted image: `reflect` mirrors the
            image, `edge` repeats its outermost pixels.
        max_images: Largest number of unlabeled images, positive, below 2^31; of more, a
            sample is drawn.
    """

    thresholds: Literal["fixed", "curriculum", "self_adaptive"] = "fixed"
    threshold: float = 0.95
    threshold_warmup: bool = True
    threshold_decay: float = 0.999
    fairness_weight: float = 0.0
    unlabeled_ratio: int = 7
    weight: float = 1.0
    target_kind: Literal["hard", "soft", "sharpened"] = "hard"
    temperature: float = 0.5
    labeler: Literal["current", "ema"] = "current"
    predicted_view: Literal["weak", "clean"] = "weak"
    labeled_noise: Literal["weak", "strong"] = "weak"
    max_shift: float = 0.125
    shift_padding: Literal["reflect", "edge"] = "reflect"
    max_images: int = 100_000

    def __post_init__(self) -> None:
        check(
            0.0 <= self.threshold <= 1.0,
            f"consistency.threshold must be in [0, 1], got {self.threshold}",
        )
        check(
            0.0 <= self.max_shift < 0.5,
            f"consistency.max_shift must be in [0, 0.5), got {self.max_shift}",
        )
        check_rate("consistency.threshold_decay", self.threshold_decay)
        for name in ("fairness_weight", "weight"):
            value = getattr(self, name)
            check(
                0 <= value < math.inf,
                f"consistency.{name} must be >= 0 and finite, got {value}",
            )
        check(
            0 < self.temperature < math.inf,
            f"consistency.temperature must be positive and finite, got "
            f"{self.temperature}",
        )
        for name in ("unlabeled_ratio", "max_images"):
            value = getattr(self, name)
            check(
                0 < value < 2**31,
                f"consistency.{name} must be in [1, 2**31), got {value}",
            )
        for name, (field, *modes) in _MODES.items():
            mode = getattr(self, field)
            check(
                mode in modes or getattr(self, name) == getattr(type(self), name),
                f"consistency.{name} needs consistency.{field}={' or '.join(modes)}, "
                f"got {mode}",
            )

    def unlabeled_of(self, batch_size: int) -> int:
        """Returns how many images of a batch are unlabeled."""
        return batch_size - batch_size // (1 + self.unlabeled_ratio)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The recipe of one training run.

    Attributes:
        model: Network.
        image: Input of the network.
        augment: Noise on the training images.
        optimizer: Optimizer and learning-rate schedule.
        consistency: Training on unlabeled images, if there are any.
        label_smoothing: Share of a hard target spread over all classes, in [0, 1).
        global_batch_size: Images of one step, over all devices.
        num_steps: Steps of the whole run.
        log_every: Steps between two rows of training metrics in `metrics.jsonl`.
        evaluate_every: Steps between two evaluations; there is always one at the end.
        checkpoint_every: Steps between two checkpoints.
        checkpoints_to_keep: Number of newest checkpoints kept.
        shuffle_buffer: Encoded examples held in memory to shuffle within an epoch.
        dtype: Type in which the network's layers compute during training. Variables,
            loss, batch-norm statistics and evaluation are float32 in any case.
        input_shards: Parts into which the files of every source are split; each gives
            an equal share of every batch. Any number of processes that divides it can
            read them, and the batches are the same.
        frozen_stages: Number of a ResNet-RS's four stages that, with the stem, are not
            trained, batch-norm statistics included; 0 freezes nothing.
        frozen_batch_norm: Whether batch-norm layers keep their initial weights and
            normalize with their running statistics.
        fitted_head: Whether a new head on initial weights starts as the logistic
            regression of `teacher.probe` on the labeled images, not with random
            weights.
        seed: Seed of weights, data order and noise.
    """

    model: ModelConfig = ModelConfig()
    image: ImageConfig = ImageConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    consistency: ConsistencyConfig = ConsistencyConfig()
    label_smoothing: float = 0.1
    global_batch_size: int = 4096
    num_steps: int = 109_200
    log_every: int = 100
    evaluate_every: int = 3120
    checkpoint_every: int = 1000
    checkpoints_to_keep: int = 2
    shuffle_buffer: int = 10_000
    dtype: Literal["float32", "bfloat16"] = "float32"
    input_shards: int = 1
    frozen_stages: int = 0
    frozen_batch_norm: bool = False
    fitted_head: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_rate("label_smoothing", self.label_smoothing)
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
            value, limit = getattr(self, name), _LIMITS.get(name, 2**40)
            check(0 < value <= limit, f"{name} must be in 1..{limit}, got {value}")
        check(
            self.optimizer.warmup_steps < self.num_steps,
            f"optimizer.warmup_steps must be below num_steps ({self.num_steps}), got "
            f"{self.optimizer.warmup_steps}; set both",
        )
        check(
            0 <= self.frozen_stages <= NUM_STAGES,
            f"frozen_stages must be in 0..{NUM_STAGES}, got {self.frozen_stages}",
        )
        check(
            self.frozen_stages == 0 or self.model.depth is not None,
            f"frozen_stages must be 0 for {self.model.name} (no ResNet-RS), got "
            f"{self.frozen_stages}",
        )
        check(0 <= self.seed < 2**32, f"seed must be in [0, 2**32), got {self.seed}")
        _check_averages(self.model, self.optimizer)
        _check_parts(self)

    @property
    def batch_parts(self) -> int:
        """Number of parts of a batch that must hold the same mixture of sources."""
        return max(self.input_shards, self.model.batch_norm_groups)


def _check_parts(config: TrainConfig) -> None:
    """Checks that input shards and batch-norm groups divide a batch, and each other."""
    shards, groups = config.input_shards, config.model.batch_norm_groups
    check(
        config.consistency.max_images >= shards,
        f"consistency.max_images must be at least input_shards ({shards}), got "
        f"{config.consistency.max_images}",
    )
    for name, parts in (("input_shards", shards), ("model.batch_norm_groups", groups)):
        check(
            config.global_batch_size % parts == 0,
            f"global_batch_size must be divisible by {name} ({parts}), got "
            f"{config.global_batch_size}",
        )
    check(
        max(shards, groups) % min(shards, groups) == 0,
        "one of input_shards and model.batch_norm_groups must divide the other, got "
        f"{shards} and {groups}",
    )


def _check_averages(model: ModelConfig, optimizer: OptimizerConfig) -> None:
    """Checks that our networks average batch-norm statistics in exactly one way.

    Without any average the statistics of one batch would be evaluated; an average of
    averages is refused by the published ResNet-RS code too.
    """
    if not variants.is_own(model.name):
        return
    momentum, decay = model.batch_norm_momentum, optimizer.ema_decay
    check(
        (momentum > 0.0) != (decay > 0.0),
        "expected one of model.batch_norm_momentum and optimizer.ema_decay to be "
        f"positive, the other 0, got {momentum} and {decay}",
    )


def refuse_consistency(assignments: Iterable[str], reason: str) -> None:
    """Raises ValueError if `--set=consistency.` is given, with why it has no effect."""
    for path in sorted(paths_of(assignments)):
        if path.startswith("consistency."):
            raise ValueError(f"--set={path}= has no effect: {reason}")


ConfigT = TypeVar("ConfigT", bound=TrainConfig)


def replace_paths(
    config: ConfigT, values: Mapping[str, Any], *, fixed: Collection[str] = ()
) -> ConfigT:
    """Returns the recipe with values replaced by path, except for `fixed` paths.

    A path is a field of the recipe, or of one of its groups as in `model.dropout_rate`.
    """
    groups: dict[str, dict[str, Any]] = {"": {}}
    for path, value in values.items():
        if path not in fixed:
            group, _, name = path.rpartition(".")
            groups.setdefault(group, {})[name] = value
    fields = groups.pop("")
    for group, changes in groups.items():
        fields[group] = dataclasses.replace(getattr(config, group), **changes)
    return dataclasses.replace(config, **fields)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _RunConfig:
    """What is read of a training run's `config.json`."""

    config: dict[str, Any]
    class_names: tuple[typed_json.ClassName, ...] = ()
    left_out: dict[str, Any] | None = None
    unlabeled: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingRunConfig:
    """What other commands read of a training run's `config.json`.

    Attributes:
        recipe: The recipe; of a student's, what a classifier's has as well.
        class_names: K names by label.
        left_out: Description of the fold not learned from; None if all were used.
        unlabeled: Description of the unlabeled images; None if there were none.
    """

    recipe: TrainConfig
    class_names: tuple[str, ...]
    left_out: dict[str, Any] | None
    unlabeled: dict[str, Any] | None = None


def read_run(workdir: epath.PathLike) -> TrainingRunConfig:
    """Returns the config of a training run; raises ValueError if it is broken.

    Fields of the recipe may have their former names.
    """
    path = epath.Path(workdir) / artifact.CONFIG
    found = typed_json.read(path, _RunConfig)
    renamed = {RENAMED.get(name, name): value for name, value in found.config.items()}
    for group in ("model", "image", "augment", "optimizer"):
        check(group in renamed, f"{path}: config: expected {group}, found none")
    recipe = typed_json.parse(
        json.dumps(renamed).encode(), TrainConfig, f"{path}: config"
    )
    return TrainingRunConfig(
        recipe=recipe,
        class_names=found.class_names,
        left_out=found.left_out,
        unlabeled=found.unlabeled,
    )
