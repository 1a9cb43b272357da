"""The 1,797 handwritten digits inside scikit-learn: a TFDS builder, and TFRecords.

The images are real: 8x8 gray-scale scans of 43 people's digits (E. Alpaydin and C.
Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
1998). The seed decides which images are labeled, unlabeled or for testing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from classifier.data.readers import IMAGE_FEATURE

NUM_CLASSES = 10
#: Number of test images, whatever the settings.
NUM_TEST = 600
#: Largest value of the scans in scikit-learn.
MAX_INTENSITY = 16


@dataclasses.dataclass
class DigitsConfig(tfds.core.BuilderConfig):
    """Sizes of the splits, and the seed that draws them.

    `calibration_images` further labeled images are a split of their own, if any.
    """

    labels_per_class: int = 5
    calibration_images: int = 0
    seed: int = 0


def make_config(
    *, labels_per_class: int, calibration_images: int, seed: int
) -> DigitsConfig:
    """Returns a config named after its settings, such as `labels5_seed1`."""
    calibration = f"calibration{calibration_images}_" if calibration_images else ""
    return DigitsConfig(
        name=f"labels{labels_per_class}_{calibration}seed{seed}",
        labels_per_class=labels_per_class,
        calibration_images=calibration_images,
        seed=seed,
    )


class Digits(tfds.core.GeneratorBasedBuilder):
    """Splits `labeled`, `unlabeled`, `test` and, if wanted, `calibration`."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (DigitsConfig(name="default"),)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description="Handwritten digits, few of them labeled.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(None, None, 3), encoding_format="png"
                    ),
                    "label": tfds.features.ClassLabel(num_classes=NUM_CLASSES),
                }
            ),
            supervised_keys=("image", "label"),
            license="CC-BY-4.0",  # So UCI's page of the dataset.
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # Nothing to download.
        images, labels = load_images()
        config = self.builder_config
        splits = draw_splits(
            labels,
            labels_per_class=config.labels_per_class,
            calibration_images=config.calibration_images,
            seed=config.seed,
        )
        return {
            name: self._generate_examples(images, labels, indices)
            for name, indices in splits.items()
        }

    def _generate_examples(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        indices: NDArray[np.int64],
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in map(int, indices):
            encoded = io.BytesIO(encode_png(images[index]))
            yield index, {"image": encoded, "label": int(labels[index])}


def load_images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Returns all digits, uint8 [N,8,8,3], and their labels [N]."""
    digits = load_digits()
    gray = np.round(digits.images * (255 / MAX_INTENSITY)).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=-1), digits.target.astype(np.int64)


def draw_splits(
    labels: NDArray[np.int64],
    *,
    labels_per_class: int,
    seed: int,
    calibration_images: int = 0,
) -> dict[str, NDArray[np.int64]]:
    """Returns the indices of each split; each image is in one split.

    `labels` [N] are of all images. The test split depends on the seed alone.

    Raises:
        ValueError: If a class has too few images, or no image would be unlabeled.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    test, rest = order[:NUM_TEST], order[NUM_TEST:]
    per_class = [rest[labels[rest] == label] for label in range(NUM_CLASSES)]
    most = min(map(len, per_class)) - 1
    if not 1 <= labels_per_class <= most:
        raise ValueError(
            f"labels_per_class must be in 1..{most}, got {labels_per_class}"
        )
    labeled = np.concatenate([indices[:labels_per_class] for indices in per_class])
    unlabeled = rest[~np.isin(rest, labeled)]
    splits = {"labeled": labeled, "test": test}
    if calibration_images:
        if calibration_images >= len(unlabeled):
            raise ValueError(
                f"calibration_images must be below {len(unlabeled)}, got "
                f"{calibration_images}"
            )
        splits["calibration"] = unlabeled[:calibration_images]
    return {**splits, "unlabeled": unlabeled[calibration_images:]}


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Returns the PNG file of an image uint8 [H,W,3]."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, format="PNG")
    return content.getvalue()


def prepare_dataset(data_dir: str, config: DigitsConfig) -> Any:
    """Returns the builder of the digits, written to `data_dir`."""
    tfds.disable_progress_bar()
    builder = Digits(data_dir=data_dir, config=config)
    # It would print sizes of a download, of which there is none.
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    return builder


def export_unlabeled(builder: Any, directory: str, *, num_shards: int) -> int:
    """Writes `unlabeled-NNNNN-of-NNNNN.tfrecord` files; returns how many images."""
    os.makedirs(directory, exist_ok=True)
    images = builder.as_dataset(
        split="unlabeled", decoders={"image": tfds.decode.SkipDecoding()}
    )
    encoded = [example["image"].numpy() for example in images]
    for shard in range(num_shards):
        name = f"unlabeled-{shard:05d}-of-{num_shards:05d}.tfrecord"
        with tf.io.TFRecordWriter(os.path.join(directory, name)) as writer:
            for image in encoded[shard::num_shards]:
                example = tf.train.Example()
                feature = example.features.feature[IMAGE_FEATURE]
                feature.bytes_list.value.append(image)
                writer.write(example.SerializeToString())
    return len(encoded)
