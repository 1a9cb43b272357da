"""Consistency training: targets of unlabeled images from the network's predictions.

The prediction on one view of an image becomes the target of another view of it, if its
confidence reaches the threshold of the predicted class (FixMatch, Sohn et al. 2020;
FlexMatch, Zhang et al. 2021; FreeMatch, Wang et al. 2023). For any backend of Keras;
nothing branches on a tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from classifier.training import losses
from classifier.training.config import ConsistencyConfig, TrainConfig
from classifier.training.losses import MASK_PREFIX

#: Entries of a batch with U unlabeled among its B images: masks of both, bool [B]; the
#: views to predict on, uint8 [U,S,S,3], in the order of the images; and the numbers of
#: their images in the sample, int32 [U].
LABELED, UNLABELED = f"{MASK_PREFIX}labeled", f"{MASK_PREFIX}unlabeled"
VIEW, INDEX = "view", "index"
#: Entry of a batch with targets for its unlabeled images: the weight of each image's
#: loss, float32 [B], 0 where the prediction is not confident and 1 elsewhere.
WEIGHT = "weight"
#: Last confident prediction of an image that had none yet.
_NONE = -1
#: Least probability whose logarithm is taken (FreeMatch's code).
_TINY = 1e-12

Batch = dict[str, Any]
#: Arrays by name, part of a run's state.
State = dict[str, Any]


class _Predictions(NamedTuple):
    """Predictions on the views of U unlabeled images.

    Attributes:
        probabilities: Probability of each class, float32 [U,K].
        confidence: Highest probability, float32 [U].
        label: Most probable class, int32 [U].
        index: Number of the image in the sample, int32 [U].
    """

    probabilities: Any
    confidence: Any
    label: Any
    index: Any


def initial_state(
    config: ConsistencyConfig, *, num_classes: int, num_images: int
) -> dict[str, NDArray[np.generic]]:
    """Returns the state of the thresholds before the first step, by name.

    `curriculum` has "last_label", int32 [N]: the class 0..K-1 of the last confident
    prediction on each of `num_images` images, -1 for none. `self_adaptive` has moving
    averages in [0, 1], float32, which start even: "confidence" [] of the highest
    probability, "probabilities" [K] of the classes, and "label_shares" [K], how often
    each is the predicted one. `fixed` has none.
    """
    if config.thresholds == "curriculum":
        return {"last_label": np.full(num_images, _NONE, np.int32)}
    if config.thresholds == "self_adaptive":
        even = np.full(num_classes, 1.0 / num_classes, np.float32)
        return {
            "confidence": np.array(1.0 / num_classes, np.float32),
            "probabilities": even,
            "label_shares": even.copy(),
        }
    return {}


def label_views(
    batch: Batch, logits: Any, state: State, config: TrainConfig
) -> tuple[Batch, State, dict[str, Any]]:
    """Returns the batch with targets of its unlabeled images, new state, and metrics.

    `logits` [U,K] are the predictions on the views. No gradient passes.
    """
    settings = config.consistency
    probabilities = ops.stop_gradient(ops.softmax(logits))
    found = _Predictions(
        probabilities,
        confidence=ops.max(probabilities, axis=-1),
        label=ops.cast(ops.argmax(probabilities, axis=-1), "int32"),
        index=batch[INDEX],
    )
    thresholds, state = _THRESHOLDS[settings.thresholds](found, state, settings)
    threshold = ops.take(thresholds, found.label)
    is_confident = ops.cast(found.confidence >= threshold, "float32")

    def in_batch(values: Any) -> Any:
        return _in_batch(values, batch["target"].shape[0], groups=config.batch_parts)

    batch = {
        **batch,
        "target": batch["target"] + in_batch(_targets(found, settings)),
        WEIGHT: ops.cast(batch[LABELED], "float32") + in_batch(is_confident),
    }
    metrics = {
        "train/confidence": ops.mean(found.confidence),
        "train/threshold": ops.mean(threshold),
        "train/confident": ops.mean(is_confident),
    }
    return batch, state, metrics


def loss(
    logits: Any, batch: Batch, state: State, config: ConsistencyConfig
) -> tuple[Any, dict[str, Any]]:
    """Returns the loss of logits [B,K], without weight decay, and metrics.

    That is the mean over the labeled images, plus the mean over the unlabeled ones with
    0 for those whose prediction is not confident. A batch without unlabeled images has
    the mean over all.
    """
    if WEIGHT not in batch:
        return losses.cross_entropy(logits=logits, targets=batch["target"]), {}
    each = -ops.sum(batch["target"] * ops.log_softmax(logits), axis=-1) * batch[WEIGHT]
    labeled, unlabeled = (
        ops.sum(each * mask) / ops.sum(mask)
        for mask in (ops.cast(batch[name], "float32") for name in (LABELED, UNLABELED))
    )
    total = labeled + config.weight * unlabeled
    metrics = {"train/labeled_loss": labeled, "train/consistency_loss": unlabeled}
    if config.fairness_weight:
        fairness = fairness_loss(logits, batch, state)
        total += config.fairness_weight * fairness
        metrics["train/fairness_loss"] = fairness
    return total, metrics


def fairness_loss(logits: Any, batch: Batch, state: State) -> Any:
    """Returns FreeMatch's self-adaptive fairness loss (equations 9 to 11).

    It compares the mean prediction on the confident images' views with noise, in
    relation to how often each class is predicted, with the moving averages of both.
    0 if no image is confident.
    """
    counts = batch[WEIGHT] * ops.cast(batch[UNLABELED], "float32")
    num = ops.sum(counts)
    probabilities = ops.softmax(logits)
    labels = ops.one_hot(ops.argmax(probabilities, axis=-1), logits.shape[-1])
    mean, shares = (
        ops.sum(values * counts[:, None], axis=0) / ops.maximum(num, 1.0)
        for values in (probabilities, labels)
    )
    expected = _relative(state["probabilities"], state["label_shares"])
    found = _relative(mean, shares)
    negative = ops.sum(expected * ops.log(found + _TINY))
    return ops.where(num > 0, negative, 0.0)


def _relative(probabilities: Any, shares: Any) -> Any:
    """Returns float32 [K] in [0, 1]: probabilities [K] over shares [K], of sum 1.

    It is 0 where a share is 0.
    """
    is_there = shares > 0
    ratio = ops.where(is_there, probabilities / ops.where(is_there, shares, 1.0), 0.0)
    return ratio / ops.maximum(ops.sum(ratio), _TINY)


def _targets(found: _Predictions, config: ConsistencyConfig) -> Any:
    """Returns the targets [U,K]."""
    if config.target_kind == "hard":
        return ops.one_hot(found.label, found.probabilities.shape[-1])
    if config.target_kind == "soft":
        return found.probabilities
    return ops.softmax(ops.log(found.probabilities + _TINY) / config.temperature)


def _in_batch(values: Any, batch_size: int, *, groups: int) -> Any:
    """Returns values [U,...] at their images' places in a batch [B,...], else 0.

    Each group of a batch has its unlabeled images last.
    """
    rest = values.shape[1:]
    grouped = ops.reshape(values, (groups, -1, *rest))
    first = batch_size // groups - grouped.shape[1]
    padding = [[0, 0], [first, 0], *([0, 0] for _ in rest)]
    return ops.reshape(ops.pad(grouped, padding), (batch_size, *rest))


def _fixed(
    found: _Predictions, state: State, config: ConsistencyConfig
) -> tuple[Any, State]:
    num_classes = found.probabilities.shape[-1]
    return ops.full((num_classes,), config.threshold, "float32"), state


def _curriculum(
    found: _Predictions, state: State, config: ConsistencyConfig
) -> tuple[Any, State]:
    """FlexMatch's thresholds, by the predictions before this step (equations 5 to 11).

    Of the views of one image in a batch, the last counts.
    """
    num_classes, last = found.probabilities.shape[-1], state["last_label"]
    buckets = ops.where(last < 0, num_classes, last)
    ones = ops.ones(last.shape, "int32")
    sizes = ops.segment_sum(ones, buckets, num_segments=num_classes + 1)
    sizes = ops.cast(sizes, "float32")
    counts, unused = sizes[:num_classes], sizes[num_classes]
    most = ops.maximum(ops.max(counts), 1.0)
    if config.threshold_warmup:
        most = ops.maximum(most, unused)
    share = counts / most
    thresholds = config.threshold * share / (2.0 - share)

    positions = ops.arange(found.label.shape[0], dtype="int32")
    positions = ops.where(found.confidence >= config.threshold, positions, _NONE)
    # The largest position, so that the result does not depend on the order of writes.
    newest = ops.segment_max(positions, found.index, num_segments=last.shape[0])
    label = ops.take(found.label, ops.maximum(newest, 0))
    return thresholds, {"last_label": ops.where(newest >= 0, label, last)}


def _self_adaptive(
    found: _Predictions, state: State, config: ConsistencyConfig
) -> tuple[Any, State]:
    """FreeMatch's thresholds, by the averages after this step (equations 5 to 8)."""
    labels = ops.one_hot(found.label, found.probabilities.shape[-1])
    now = {
        "confidence": ops.mean(found.confidence),
        "probabilities": ops.mean(found.probabilities, axis=0),
        "label_shares": ops.mean(labels, axis=0),
    }
    decay = config.threshold_decay
    state = {
        name: decay * average + (1.0 - decay) * now[name]
        for name, average in state.items()
    }
    relative = state["probabilities"] / ops.max(state["probabilities"])
    return relative * state["confidence"], state


#: By name: the function to the thresholds [K] and the new state.
_THRESHOLDS: dict[
    str, Callable[[_Predictions, State, ConsistencyConfig], tuple[Any, State]]
] = {"fixed": _fixed, "curriculum": _curriculum, "self_adaptive": _self_adaptive}
