"""Everything that decides how a classifier is trained, as frozen dataclasses.

A config refuses nonsense when it is made, so that nothing is built from it. One
field is replaced with `override(config, "optimizer.peak_learning_rate=0.1")`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from classifier.data.config import AugmentConfig, ImageConfig
from classifier.models.config import NUM_STAGES, ModelConfig
from stage.validation import check, check_positive, check_rate


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
        check_positive("optimizer.peak_learning_rate", self.peak_learning_rate)
        check_rate("optimizer.momentum", self.momentum)
        check(
            self.warmup_steps >= 0,
            f"optimizer.warmup_steps must be >= 0, got {self.warmup_steps}",
        )
        check(
            self.weight_decay >= 0,
            f"optimizer.weight_decay must be >= 0, got {self.weight_decay}",
        )
        check_rate("optimizer.ema_decay", self.ema_decay)


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
        dtype: What the network's layers compute in while it trains. Variables,
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
    dtype: Literal["float32", "bfloat16"] = "float32"
    input_shards: int = 1
    frozen_stages: int = 0
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
            check_positive(name, getattr(self, name))
        check(
            self.optimizer.warmup_steps < self.num_steps,
            f"optimizer.warmup_steps must be below num_steps ({self.num_steps}), got "
            f"{self.optimizer.warmup_steps}",
        )
        check(
            0 <= self.frozen_stages <= NUM_STAGES,
            f"frozen_stages must be in 0..{NUM_STAGES}, got {self.frozen_stages}",
        )
        check(
            self.frozen_stages == 0 or self.model.depth is not None,
            f"frozen_stages are a ResNet-RS's, {self.model.name} has none",
        )
        check(self.seed >= 0, f"seed must be >= 0, got {self.seed}")
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
        check(
            rest == 0,
            f"global_batch_size must be divisible by the {num_devices} devices, got "
            f"{self.global_batch_size}",
        )
        return share


def _check_parts(config: TrainConfig) -> None:
    """Refuses parts of a batch that are not equal, or that cut across each other."""
    shards, groups = config.input_shards, config.model.batch_norm_groups
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
    """Refuses what would evaluate a ResNet-RS with the statistics of one batch.

    Averages over statistics that are averages already are refused too, as in the
    code that ResNet-RS was trained with.
    """
    if model.depth is None:
        return
    momentum, decay = model.batch_norm_momentum, optimizer.ema_decay
    check(
        (momentum > 0.0) != (decay > 0.0),
        "expected one of model.batch_norm_momentum and optimizer.ema_decay to be "
        f"positive, the other 0, got {momentum} and {decay}",
    )


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
