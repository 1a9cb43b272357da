"""Generated inputs of the writing benchmark: images, predictions and a selection."""

from __future__ import annotations

import itertools
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.measuring import photographs
from pseudo_label.predictions import schema as prediction_schema
from stage import artifact
from stage.status import OK

NUM_CLASSES = 1000
TOP_K = 10
#: Images per file, about as many as in ImageNet's.
SHARD_SIZE = 1000
#: Distinct photographs; each image is one of them and distinct bytes after its end.
NUM_JPEGS = 256
_HEIGHT, _WIDTH, _QUALITY = 96, 128, 85


class WritingInputs(NamedTuple):
    """Images, predictions and selection that every way reads, in one directory."""

    root: str
    num_images: int

    def flags(self) -> dict[str, str]:
        """Returns the flags that name images, predictions and selection."""
        return {
            "images": f"tfrecord:{self.root}/images/*.tfrecord",
            "predictions": f"{self.root}/predictions",
            "selection": f"{self.root}/selection",
        }


def make_inputs(root: pathlib.Path, num_images: int, num_bytes: int) -> WritingInputs:
    """Makes images of equal size, random predictions, and a selection of nearly all."""
    inputs = WritingInputs(str(root), num_images)
    flags = inputs.flags()
    _write_images(root / "images", num_images, num_bytes)
    _write_predictions(flags["images"], root / "predictions")
    subprocess.run(
        [
            *(sys.executable, "-m", "beam_jobs.select_labels"),
            f"--predictions={flags['predictions']}",
            f"--output={flags['selection']}",
            # As many records as images: small classes are filled up with copies.
            *("--confidence_threshold=0", "--duplicate_bits=-1"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return inputs


def make_jpegs(rng: np.random.Generator, count: int) -> Iterator[bytes]:
    """Yields distinct small photographs."""
    return photographs.make_jpegs(
        rng, count, height=_HEIGHT, width=_WIDTH, quality=_QUALITY
    )


def pad(jpeg: bytes, index: int, num_bytes: int) -> bytes:
    """Returns a distinct image: decoders ignore the bytes after the end."""
    end = index.to_bytes(8, "big")
    needed = len(jpeg) + len(end)
    if num_bytes < needed:
        raise ValueError(
            f"--bytes: expected at least {needed:,} for these images, got {num_bytes:,}"
        )
    return jpeg + bytes(num_bytes - needed) + end


def _write_images(directory: pathlib.Path, num_images: int, num_bytes: int) -> None:
    directory.mkdir(parents=True)
    jpegs = itertools.cycle(make_jpegs(np.random.default_rng(0), NUM_JPEGS))
    for start in range(0, num_images, SHARD_SIZE):
        end = min(start + SHARD_SIZE, num_images)
        photographs.write_tfrecord(
            directory / f"{start // SHARD_SIZE:05d}.tfrecord",
            (
                photographs.make_example(pad(next(jpegs), index, num_bytes))
                for index in range(start, end)
            ),
        )


def _write_predictions(images: str, directory: pathlib.Path) -> None:
    from classifier.data.sources import open_source

    source = open_source(images)
    config = {
        "images": source.describe(),
        "teachers": [artifact.fingerprint([b"teacher"])],
        "class_names": [f"class {label}" for label in range(NUM_CLASSES)],
        "top_k": TOP_K,
    }
    artifact.start_or_resume(directory, config)
    fingerprint = artifact.config_fingerprint(config, leaving_out="images")
    for shard in source.shards:
        examples = source.reader.examples(shard.files[0])
        block = _block(
            shard.index, [(example.key, example.image) for example in examples]
        )
        name = prediction_schema.shard_name(shard.index)
        with (directory / name).open("wb") as file:
            tables = iter([prediction_schema.to_table(block, top_k=TOP_K)])
            prediction_schema.write_shard(file, tables, fingerprint=fingerprint)
    artifact.complete(directory, seconds=0.0)


def _block(
    seed: int, examples: Sequence[tuple[bytes, bytes]]
) -> prediction_schema.Block:
    count = len(examples)
    rng = np.random.default_rng(seed)
    probabilities = rng.random((count, NUM_CLASSES), np.float32)
    # A random class stands out, so that classes are of about equal size.
    probabilities[np.arange(count), rng.integers(NUM_CLASSES, size=count)] += 500
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return prediction_schema.Block(
        first_index=0,
        keys=[key.decode() for key, _ in examples],
        images=[image for _, image in examples],
        status=[OK] * count,
        errors=[""] * count,
        probabilities=probabilities,
        pixels=rng.integers(0, 256, (count, 9, 9, 3), np.uint8),
    )
