"""How files become examples, in tf.data for training and in Python for all else.

Both give the same keys and bytes of what can be read.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from classifier.data import python_reader, webdataset
from classifier.data.examples import OK, UNLABELED, Example, File, Reader, key_text

IMAGE_FEATURE = "image/encoded"
LABEL_FEATURE = "image/class/label"
LABEL_EXTENSION = "cls"


def read_files(reader: Reader, files: Sequence[File]) -> Any:
    """Returns a dataset of the examples of some files, in order."""
    return files_dataset(files).flat_map(reader.read)


def files_dataset(files: Sequence[File]) -> Any:
    """Returns a dataset of `File`s as dicts of scalars."""
    columns = {}
    for field in dataclasses.fields(File):
        values = [getattr(file, field.name) for file in files]
        if field.name in ("path", "name", "kept"):  # Of any bytes.
            columns[field.name] = tf.constant(list(map(os.fsencode, values)), tf.string)
        else:
            columns[field.name] = tf.constant(values, tf.int64)
    return tf.data.Dataset.from_tensor_slices(columns)


@dataclasses.dataclass(frozen=True)
class FolderReader:
    """Reads files that hold one image each; the key is the path in the folder."""

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of one example."""
        # Not `from_tensors`: where TensorFlow is to be deterministic, it takes that for
        # a source without an order, and runs all of the pipeline on one thread.
        one = {name: value[None] for name, value in file.items()}
        return tf.data.Dataset.from_tensor_slices(one).map(
            lambda file: {
                "key": file["name"],
                "image": tf.io.read_file(file["path"]),
                "label": file["label"],
            }
        )

    def examples(self, file: File) -> Iterator[Example]:
        """Yields the one example."""
        yield python_reader.read_image(file)


@dataclasses.dataclass(frozen=True)
class RecordReader:
    """Reads TFRecords of `tf.train.Example`; the key is `FILE#RECORD`.

    Attributes:
        image_feature: Name of the image.
        label_feature: Name of its class, if there is one.
    """

    image_feature: str = IMAGE_FEATURE
    label_feature: str | None = LABEL_FEATURE

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of the file's range of records."""
        is_gzip = tf.strings.regex_full_match(file["path"], r"(?i).*\.(gz|gzip)")
        records = tf.data.TFRecordDataset(
            file["path"], compression_type=tf.where(is_gzip, "GZIP", "")
        )
        records = records.skip(file["skip"]).take(file["take"])

        def parse(position: Any, record: Any) -> dict[str, Any]:
            return {
                "key": tf.strings.join(
                    [file["name"], tf.strings.as_string(position)], separator="#"
                ),
                **self.parse(record),
            }

        return records.enumerate(file["skip"]).map(parse)

    def parse(self, record: Any) -> dict[str, Any]:
        """Returns what one serialized record holds."""
        features = {
            self.image_feature: tf.io.FixedLenFeature([], tf.string),
            self.label_feature: tf.io.FixedLenFeature([], tf.int64, UNLABELED),
        }
        parsed = tf.io.parse_single_example(record, features)
        image, label = parsed[self.image_feature], parsed[self.label_feature]
        return {"image": image, "label": label}

    def examples(self, file: File) -> Iterator[Example]:
        """Yields the records of the file's range, or what stands for them."""
        yield from python_reader.read_records(
            file,
            functools.partial(
                python_reader.parse_example,
                image=self.image_feature,
                label=self.label_feature,
            ),
        )


@dataclasses.dataclass(frozen=True)
class TfdsReader(RecordReader):
    """Reads a prepared TFDS dataset, images left encoded.

    Attributes:
        directory: Where the dataset lies.
        more_features: Names of further features that a dataset's examples shall hold.
    """

    directory: str = ""
    more_features: tuple[str, ...] = ()

    def parse(self, record: Any) -> dict[str, Any]:
        """Returns what one serialized record holds."""
        features = open_builder(self.directory).info.features
        parsed = features.deserialize_example(
            record, decoders={self.image_feature: tfds.decode.SkipDecoding()}
        )
        label = tf.constant(UNLABELED, tf.int64)
        if self.label_feature is not None:
            label = tf.cast(parsed[self.label_feature], tf.int64)
        more = {name: parsed[name] for name in self.more_features}
        return {"image": parsed[self.image_feature], "label": label, **more}


@dataclasses.dataclass(frozen=True)
class TarReader:
    """Reads the samples of WebDataset tar files; the key is `FILE#SAMPLE/NAME`.

    Attributes:
        image_extension: Of the image, None for any that images have.
        label_extension: Of the label.
    """

    image_extension: str | None = None
    label_extension: str = LABEL_EXTENSION

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of the file's samples.

        It runs Python, which TensorFlow takes for a state: where it is to be
        deterministic, it runs all of the pipeline on one thread.
        """
        return tf.data.Dataset.from_generator(
            self._whole_examples,
            args=(file["path"], file["name"]),
            output_signature={
                "key": tf.TensorSpec([], tf.string),
                "image": tf.TensorSpec([], tf.string),
                "label": tf.TensorSpec([], tf.int64),
            },
        )

    def examples(self, file: File) -> Iterator[Example]:
        """Yields the samples of the file, or what stands for them."""
        extensions: tuple[str, ...] = webdataset.IMAGE_EXTENSIONS
        if self.image_extension is not None:
            extensions = (self.image_extension,)
        yield from python_reader.read_samples(file, extensions, self.label_extension)

    def _whole_examples(self, path: bytes, name: bytes) -> Iterator[dict[str, Any]]:
        file = File(path=os.fsdecode(path), name=os.fsdecode(name))
        for example in self.examples(file):
            if example.status != OK:
                raise ValueError(f"{key_text(example.key)}: {example.error}")
            yield {
                "key": example.key,
                "image": example.image,
                "label": example.label,
            }


@dataclasses.dataclass(frozen=True)
class PartReader:
    """Reads those examples of another reader that a file's `kept` marks.

    Attributes:
        reader: The other one.
    """

    reader: Reader

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of the file's marked examples."""
        marks = tf.io.decode_raw(file["kept"], tf.uint8)
        marked = tf.data.Dataset.zip(
            self.reader.read(file), tf.data.Dataset.from_tensor_slices(marks)
        )
        kept = marked.filter(lambda _, mark: mark == 1)
        return kept.map(lambda example, _: example)

    def examples(self, file: File) -> Iterator[Example]:
        """Yields the file's marked examples, or what stands for them."""
        yield from itertools.compress(self.reader.examples(file), file.kept)


@functools.cache
def open_builder(directory: str) -> Any:
    """Returns the builder of a prepared dataset."""
    return tfds.builder_from_directory(directory)
