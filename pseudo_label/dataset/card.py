"""The dataset's card: `README.md`, for a reader who knows nothing of the project.

It is made of the decision alone, without times and paths, so that equal datasets have
equal cards.
"""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pseudo_label.dataset import records
from pseudo_label.selection.decision import ClassRule, PrecisionEstimate, Selection

#: Of a setting; longer lists are those of all classes.
_MAX_VALUES = 10
_KINDS = {
    "held_out": "labeled images that the teacher was not trained on",
    "out_of_fold": "labeled images, each labeled by a teacher that was not trained on "
    "it",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What the card tells of.

    Attributes:
        selection: Which images were kept, and why.
        predictions: Fingerprint of the labeling run.
        temperature: That logits were divided by; 1 where nothing was calibrated.
        teachers: Fingerprints of the classifiers that labeled, at least one.
        round: Of self-training, from 1 on.
        top_k: Classes kept of every image.
        num_shards: Files of records.
        num_bytes: Of all records.
    """

    selection: Selection
    predictions: str
    temperature: float
    teachers: Sequence[str]
    round: int
    top_k: int
    num_shards: int
    num_bytes: int


def make_card(facts: Facts) -> str:
    """Returns the card, as Markdown."""
    sections = (
        _head(facts),
        _opening(facts),
        _fields(facts),
        _funnel(facts.selection),
        _settings(facts),
        _limits(facts),
        _classes(facts.selection.classes),
    )
    return "\n".join(line for section in sections for line in section)


def escape(text: str) -> str:
    """Returns a text that Markdown shows as it is, also within a table."""
    line = " ".join(text.split())
    quoted = html.escape(line).replace("|", "&#124;").replace("`", "&#96;")
    return re.sub(r"([\\*_~\[\]])", r"\\\1", quoted)


def _head(facts: Facts) -> Iterator[str]:
    funnel = facts.selection.funnel
    classes = facts.selection.classes
    empty = sum(rule.unique == 0 for rule in classes)
    copied = ": some images are there more than once" if funnel.copies else ""
    yield "# Pseudo-labeled images"
    yield ""
    yield (
        f"{funnel.unique_kept:,} images in {funnel.records:,} records{copied}, of "
        f"{len(classes):,} classes{_have_none(empty)}. The labels "
        "are **guesses of a classifier**, called the teacher; no person has looked at "
        "them. The dataset is meant to train another classifier, the student, together "
        "with images that people have labeled (Noisy Student self-training, "
        "<https://arxiv.org/abs/1911.04252>)."
    )
    yield ""
    yield (
        f"Round {facts.round} of self-training: the teacher "
        + (
            "was trained on people's labels alone. "
            if facts.round == 1
            else "is itself a student of the round before. "
        )
        + f"{facts.num_shards:,} files hold {facts.num_bytes:,} bytes of records. They "
        "were written by Noisy Student RS, whose command `python -m "
        "pseudo_label.verify` compares them with the predictions that they were made "
        "of."
    )
    yield ""


def _have_none(count: int) -> str:
    if not count:
        return ""
    return f"; {count:,} " + ("class has none" if count == 1 else "classes have none")


def _opening(facts: Facts) -> Iterator[str]:
    yield "## Opening it"
    yield ""
    yield "With [TensorFlow Datasets](https://www.tensorflow.org/datasets):"
    yield ""
    yield "```python"
    yield "import tensorflow_datasets as tfds"
    yield ""
    yield 'builder = tfds.builder_from_directory("PATH/TO/THIS/DIRECTORY")'
    yield f'for example in builder.as_dataset(split="{records.SPLIT}").take(3):'
    yield '    print(example["image"].shape, example["label"], example["confidence"])'
    yield "```"
    yield ""
    yield "With TensorFlow alone:"
    yield ""
    yield "```python"
    yield "import tensorflow as tf"
    yield ""
    yield "feature = tf.io.FixedLenFeature"
    yield "spec = {"
    for name, (kind, shape) in records.wire_types(top_k=facts.top_k).items():
        yield f'    "{name}": feature({shape}, tf.{kind}),'
    yield "}"
    pattern = f"{records.NAME}-{records.SPLIT}.tfrecord-*"
    yield f'files = tf.io.gfile.glob("PATH/TO/THIS/DIRECTORY/{pattern}")'
    yield "for serialized in tf.data.TFRecordDataset(sorted(files)).take(3):"
    yield "    example = tf.io.parse_single_example(serialized, spec)"
    yield '    image = tf.io.decode_image(example["image"], channels=3)'
    yield '    print(image.shape, example["label"], example["confidence"])'
    yield "```"
    yield ""


def _fields(facts: Facts) -> Iterator[str]:
    yield "## What a record holds"
    yield ""
    yield "| feature | type | what it is |"
    yield "|---|---|---|"
    for name, (kind, shape) in records.wire_types(top_k=facts.top_k).items():
        size = "".join(f"[{count}]" for count in shape)
        yield f"| `{name}` | {kind}{size} | {records.FIELDS[name][1]} |"
    yield ""
    yield (
        "The types are those on disk; TensorFlow Datasets decodes the image to uint8 "
        "[height, width, 3]. What the probabilities leave of 1 belongs to the classes "
        "that are not among them. Records of a file are in random order, which is the "
        "same whenever the dataset is made again."
    )
    yield ""


def _funnel(selection: Selection) -> Iterator[str]:
    yield "## Where the images went"
    yield ""
    yield "| | images |"
    yield "|---|--:|"
    for name, count in dataclasses.asdict(selection.funnel).items():
        yield f"| {escape(name.replace('_', ' '))} | {count:,} |"
    yield ""
    yield (
        "What is between the images read and those kept was left out, for the reason "
        "that is named. `records` are the images kept and their copies."
    )
    yield ""


def _settings(facts: Facts) -> Iterator[str]:
    yield "## How they were chosen"
    yield ""
    yield (
        "Each image stands in the class that the teacher holds for the most probable. "
        "Of each class the images of the highest confidence were kept, and where they "
        "were fewer than wanted, copied."
    )
    yield ""
    yield "| setting | value |"
    yield "|---|---|"
    for name, value in _flat(dataclasses.asdict(facts.selection.settings)):
        yield f"| {escape(name)} | {escape(value)} |"
    for teacher in facts.teachers:
        yield f"| fingerprint of a teacher | {escape(teacher)} |"
    yield f"| fingerprint of the predictions | {escape(facts.predictions)} |"
    yield ""


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields each setting's name and value; what is within another follows a dot."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and len(value) > _MAX_VALUES:
            yield prefix + name, f"{len(value):,} values"
        elif isinstance(value, list | tuple):
            yield prefix + name, ", ".join(map(_plain, value))
        else:
            yield prefix + name, _plain(value)


def _plain(value: Any) -> str:
    """Returns a setting in words that are not Python's."""
    if value is None:
        return "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _limits(facts: Facts) -> Iterator[str]:
    yield "## Known limits"
    yield ""
    yield (
        "- Labels are a classifier's guesses. Some are wrong, and not at random: "
        "classes that look alike are taken for each other."
    )
    yield from _precision(facts.selection.estimate)
    yield (
        "- The confidence is the classifier's own"
        + (
            " and was not calibrated: such confidences are mostly too high."
            if facts.temperature == 1
            else f", calibrated on labeled images (temperature {facts.temperature:g})."
        )
    )
    yield (
        "- Images were chosen for a high confidence, so easy ones are more frequent "
        "here than elsewhere."
    )
    yield (
        "- Copies of an image are the same bytes. Whoever splits the records has to "
        "keep those of one `key` together."
    )
    yield (
        "- The images belong to whom they belonged to. What may be done with them is "
        "for their source to say; nothing was asked and no person was made "
        "unrecognizable."
    )
    yield ""


def _precision(estimate: PrecisionEstimate | None) -> Iterator[str]:
    if estimate is None:
        yield "- How many are wrong is not known: no labeled image was compared."
        return
    kept = estimate.kept
    yield (
        f"- About {kept.low:.1%} to {kept.high:.1%} of the labels are right, by "
        f"{kept.images:,} {_KINDS[estimate.kind]}; images of another origin may fare "
        "worse."
    )


def _classes(classes: Sequence[ClassRule]) -> Iterator[str]:
    yield "## Classes"
    yield ""
    yield "| label | class | images | records | lowest confidence |"
    yield "|--:|---|--:|--:|--:|"
    for label, rule in enumerate(classes):
        lowest = f"{rule.cut_off.confidence:.4f}" if rule.cut_off is not None else ""
        yield (
            f"| {label} | {escape(rule.name)} | {rule.unique:,} | {rule.records:,} | "
            f"{lowest} |"
        )
    yield ""
