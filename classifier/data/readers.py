"""Readers: from files to examples, in tf.data for training, in Python elsewhere.

Both return the same keys and bytes of readable images.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from classifier.data import parquet_rows, python_reader, webdataset
from classifier.data.examples import UNLABELED, Example, File, Reader, key_text
from stage.status import OK
from stage.tfds_directory import open_builder

IMAGE_FEATURE = "image/encoded"
LABEL_FEATURE = "image/class/label"
LABEL_EXTENSION = "cls"
#: Fields of a file that readers in Python use.
_IN_PYTHON = ("path", "name", "size", "mtime_ns", "skip", "take", "to_end", "kept")


def read_files(reader: Reader, files: Sequence[File]) -> Any:
    """Returns a dataset of the examples of some files, in order."""
    return files_dataset(files).flat_map(reader.read)


def files_dataset(files: Sequence[File]) -> Any:
    """Returns a dataset of `File`s as dicts of scalars.

    They have `kept` only if there are masks.
    """
    columns = {}
    for field in dataclasses.fields(File):
        values = [getattr(file, field.name) for file in files]
        if field.name == "kept" and not any(values):
            continue
        if field.type in ("str", "bytes"):  # Arbitrary bytes.
            columns[field.name] = tf.constant(list(map(os.fsencode, values)), tf.string)
        else:
            columns[field.name] = tf.constant(values, tf.int64)
    return tf.data.Dataset.from_tensor_slices(columns)


@dataclasses.dataclass(frozen=True)
class FolderReader:
    """Reads files of one image each; the key is the path in the folder."""

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of one example."""
        # Not `from_tensors`: with TensorFlow's determinism enabled, it counts as
        # stateful, and the whole pipeline runs on one thread.
        columns = {name: value[None] for name, value in file.items()}
        return tf.data.Dataset.from_tensor_slices(columns).map(
            lambda file: {
                "key": file["name"],
                "image": tf.io.read_file(file["path"]),
                "label": file["label"],
            }
        )

    def examples(self, file: File) -> Iterator[Example]:
        """Yields one example."""
        yield python_reader.read_image(file)


@dataclasses.dataclass(frozen=True)
class RecordReader:
    """Reads TFRecords of `tf.train.Example`; the key is `FILE#RECORD`.

    Attributes:
        image_feature: Name of the image feature.
        label_feature: Name of the label feature, None if there is none.
        is_labeled: Whether every image should have a label.
    """

    image_feature: str = IMAGE_FEATURE
    label_feature: str | None = LABEL_FEATURE
    is_labeled: bool = False

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of the file's range of records."""
        records = tf.data.TFRecordDataset(
            file["path"], compression_type=file["compression"]
        )
        records = records.skip(file["skip"]).take(file["take"])

        def parse(position: Any, record: Any) -> dict[str, Any]:
            return {
                "key": tf.strings.join(
                    [file["name"], tf.strings.as_string(position)], separator="#"
                ),
                **self.parse(record),
            }

        return _select_in_tf(records.enumerate(file["skip"]), file).map(parse)

    def parse(self, record: Any) -> dict[str, Any]:
        """Returns the image and the label of a serialized record."""
        features = {self.image_feature: tf.io.FixedLenFeature([], tf.string)}
        if self.label_feature is not None:
            label = tf.io.FixedLenFeature([], tf.int64, UNLABELED)
            features[self.label_feature] = label
        parsed = tf.io.parse_single_example(record, features)
        label = parsed.get(self.label_feature, tf.constant(UNLABELED, tf.int64))
        return {"image": parsed[self.image_feature], "label": label}

    def examples(self, file: File) -> Iterator[Example]:
        """Yields the file's range of records, placeholders included."""
        found = python_reader.read_records(
            file,
            self.image_feature,
            self.label_feature,
            is_labeled=self.is_labeled,
        )
        yield from _select(found, file)


@dataclasses.dataclass(frozen=True)
class TfdsReader(RecordReader):
    """Reads a prepared TFDS dataset, images left encoded.

    Attributes:
        directory: Location of the dataset.
        more_features: Names of further features to return.
    """

    directory: str = ""
    more_features: tuple[str, ...] = ()

    def parse(self, record: Any) -> dict[str, Any]:
        """Returns the image and the label of a serialized record."""
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
        image_extensions: Extensions of the image.
        label_extension: Extension of the label.
        is_labeled: Whether every image should have a label.
    """

    image_extensions: tuple[str, ...] = webdataset.IMAGE_EXTENSIONS
    label_extension: str = LABEL_EXTENSION
    is_labeled: bool = False

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of the file's samples."""
        return _read_in_python(self, file)

    def examples(self, file: File) -> Iterator[Example]:
        """Yields the file's samples, placeholders included."""
        found = python_reader.read_samples(
            file,
            self.image_extensions,
            self.label_extension,
            is_labeled=self.is_labeled,
        )
        yield from _select(found, file)


@dataclasses.dataclass(frozen=True)
class ParquetReader:
    """Reads rows of Parquet files; the key is `FILE#ROW`.

    Attributes:
        columns: Columns of the image and the label.
        is_labeled: Whether every image should have a label.
    """

    columns: parquet_rows.Columns
    is_labeled: bool = False

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of the file's range of rows."""
        return _read_in_python(self, file)

    def examples(self, file: File) -> Iterator[Example]:
        """Yields the file's range of rows, placeholders included."""
        found = parquet_rows.read_rows(file, self.columns, is_labeled=self.is_labeled)
        yield from _select(found, file)


@dataclasses.dataclass(frozen=True)
class NumberedReader:
    """Adds to every example its `index` among those of a sample.

    Attributes:
        reader: Reader of the examples.
    """

    reader: Reader

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of the file's examples, numbered from `first` on."""
        numbered = self.reader.read(file).enumerate(file["first"])
        return numbered.map(lambda index, example: {**example, "index": index})

    def examples(self, file: File) -> Iterator[Example]:
        """Yields the file's examples, placeholders included."""
        yield from self.reader.examples(file)


def _read_in_python(reader: Reader, file: dict[str, Any]) -> Any:
    """Returns a dataset of what a reader yields; it fails at an unreadable image.

    Python code counts as stateful: with TensorFlow's determinism enabled, the whole
    pipeline runs on one thread.
    """
    names = tuple(name for name in _IN_PYTHON if name in file)
    return tf.data.Dataset.from_generator(
        functools.partial(_generate, reader, names),
        args=tuple(file[name] for name in names),
        output_signature={
            "key": tf.TensorSpec([], tf.string),
            "image": tf.TensorSpec([], tf.string),
            "label": tf.TensorSpec([], tf.int64),
        },
    )


def _generate(
    reader: Reader, names: Sequence[str], *values: Any
) -> Iterator[dict[str, Any]]:
    fields = dict(zip(names, values, strict=True))
    for name in ("path", "name"):
        fields[name] = os.fsdecode(fields[name])
    for example in reader.examples(File(**fields)):
        if example.status != OK:
            raise ValueError(f"{key_text(example.key)}: {example.error}")
        yield {"key": example.key, "image": example.image, "label": example.label}


def _select(examples: Iterable[Example], file: File) -> Iterable[Example]:
    """Returns those of a file's examples that its mask selects, all if it is empty."""
    return itertools.compress(examples, file.kept) if file.kept else examples


def _select_in_tf(examples: Any, file: dict[str, Any]) -> Any:
    """Returns a dataset of the same of a dataset."""
    if "kept" not in file:
        return examples
    mask = tf.io.decode_raw(file["kept"], tf.uint8)
    size = tf.size(mask, tf.int64)
    # Nothing behind the mask's end is read.
    numbered = examples.take(tf.where(size > 0, size, -1)).enumerate()
    # Slices of an empty mask are empty, and select.
    kept = numbered.filter(lambda at, _: tf.reduce_all(mask[at : at + 1] == 1))
    return kept.map(lambda _, example: example)
