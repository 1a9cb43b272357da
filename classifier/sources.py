"""Where images come from: `tfds:NAME:SPLIT`, `folder:PATH` or `tfrecord:GLOB`.

A source is a list of shards, a shard a list of files, and a reader turns one file
into examples `{"key", "image", "label"}`: a unique name, the encoded bytes, and the
class or -1. Training, evaluation, labeling and writing all read through here, so
they agree on which image a key means.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import tensorflow as tf
import tensorflow_datasets as tfds

from classifier import artifact
from classifier.class_names import read_class_names

#: Files of a folder that make one shard.
FOLDER_SHARD_SIZE = 1000
#: Examples read at once where the whole of a shard is walked through.
READ_BATCH = 64
UNLABELED = -1
IMAGE_FEATURE = "image/encoded"
LABEL_FEATURE = "image/class/label"
_TFDS_PATTERN = re.compile(r"^(?P<name>.+?):(?P<split>[^:/][^/]*)$")
_FORMS = "tfds:NAME:SPLIT, folder:PATH or tfrecord:GLOB"


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
    """A file, or a range of records in one.

    Attributes:
        path: Where it is.
        name: What keys call it: no machine's own paths.
        skip: Records before the first to read.
        take: Records to read, -1 for all.
        label: The class of every image in it, -1 where the records say it.
    """

    path: str
    name: str
    skip: int = 0
    take: int = -1
    label: int = UNLABELED


@dataclasses.dataclass(frozen=True)
class Shard:
    """The unit of work, of retry and of resume."""

    index: int
    files: tuple[File, ...]


class Reader(Protocol):
    """How one file becomes examples, inside tf.data."""

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of examples; `file` holds the fields of `File`."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A named set of images.

    Attributes:
        spec: What the user wrote.
        shards: In a fixed order.
        class_names: K names by label, or None where the images have no labels.
        reader: Reads any of its files.
    """

    spec: str
    shards: tuple[Shard, ...]
    class_names: tuple[str, ...] | None
    reader: Reader

    def describe(self) -> dict[str, Any]:
        """Returns what identifies the source in a config, without a machine's paths.

        Two sources of the same description hold the same files in the same order.
        """
        ranges = (
            f"{shard.index} {file.name} {file.skip} {file.take}".encode()
            for shard in self.shards
            for file in shard.files
        )
        return {
            "num_shards": len(self.shards),
            "num_files": len(self.files),
            "fingerprint": artifact.fingerprint(ranges),
        }

    @property
    def files(self) -> tuple[File, ...]:
        """All files of all shards."""
        return tuple(file for shard in self.shards for file in shard.files)

    def part(self, index: int, count: int) -> Source:
        """Returns every `count`-th file from `index` on, as one shard."""
        if count == 1:
            return self
        part = Shard(index, self.files[index::count])
        return dataclasses.replace(self, shards=(part,))

    def labeled_class_names(self) -> tuple[str, ...]:
        """Returns the class names.

        Raises:
            ValueError: If the source has no labels.
        """
        if self.class_names is None:
            raise ValueError(
                f"expected labeled images, got {self.spec} without labels: folder: "
                "needs every image in a sub-folder of its class, tfds: a ClassLabel, "
                "tfrecord: also --class_names"
            )
        return self.class_names

    @functools.cached_property
    def num_examples(self) -> int:
        """How many examples there are; walks through the files if they must be."""
        if all(file.take >= 0 for file in self.files):
            return sum(file.take for file in self.files)
        examples = read_files(self.reader, self.files)
        return int(examples.reduce(0, lambda count, _: count + 1).numpy())


def open_source(
    spec: str,
    *,
    data_dir: str | None = None,
    class_names_file: str | None = None,
    more_features: Sequence[str] = (),
) -> Source:
    """Lists what a source holds.

    Args:
        spec: `tfds:NAME:SPLIT` (a prepared dataset, by name or by directory),
            `folder:PATH` (class sub-folders, or any tree) or `tfrecord:GLOB`.
        data_dir: Where TFDS keeps its datasets; None for its default.
        class_names_file: One class name a line; for labeled TFRecords, which do not
            hold the names themselves.
        more_features: Names of further TFDS features that examples shall hold.

    Raises:
        ValueError: If the spec has another form, or there are no images.
        FileNotFoundError: If it names nothing that exists.
    """
    kind, separator, rest = spec.partition(":")
    if not separator or kind not in ("tfds", "folder", "tfrecord") or not rest:
        raise ValueError(f"expected a source as {_FORMS}, got {spec!r}")
    if kind == "tfds":
        return _open_tfds(spec, rest, data_dir, tuple(more_features))
    if kind == "folder":
        return _open_folder(spec, rest)
    return _open_tfrecord(spec, rest, class_names_file)


def read_files(reader: Reader, files: Sequence[File]) -> Any:
    """Returns a dataset of the examples of some files, in order."""
    return files_dataset(files).flat_map(reader.read)


def files_dataset(files: Sequence[File]) -> Any:
    """Returns a dataset of `File`s as dicts of scalars."""
    columns = {
        field.name: [getattr(file, field.name) for file in files]
        for field in dataclasses.fields(File)
    }
    for name in ("skip", "take", "label"):
        columns[name] = tf.constant(columns[name], tf.int64)
    return tf.data.Dataset.from_tensor_slices(columns)


def read_batches(
    reader: Reader, files: Sequence[File], batch_size: int = READ_BATCH
) -> Iterator[dict[str, Any]]:
    """Yields the examples of some files in order, as dicts of NumPy arrays [B]."""
    examples = read_files(reader, files).batch(batch_size).prefetch(1)
    yield from examples.as_numpy_iterator()


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


@dataclasses.dataclass(frozen=True)
class RecordReader:
    """Reads TFRecords of `tf.train.Example`; the key is `FILE#RECORD`."""

    def read(self, file: dict[str, Any]) -> Any:
        """Returns a dataset of the file's range of records."""
        records = tf.data.TFRecordDataset(file["path"])
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
            IMAGE_FEATURE: tf.io.FixedLenFeature([], tf.string),
            LABEL_FEATURE: tf.io.FixedLenFeature([], tf.int64, UNLABELED),
        }
        parsed = tf.io.parse_single_example(record, features)
        return {"image": parsed[IMAGE_FEATURE], "label": parsed[LABEL_FEATURE]}


@dataclasses.dataclass(frozen=True)
class TfdsReader(RecordReader):
    """Reads a prepared TFDS dataset, images left encoded.

    Attributes:
        directory: Where the dataset lies.
        image_feature: Name of its image.
        label_feature: Name of its class label, if it has one.
        more_features: Names of further features that examples shall hold.
    """

    directory: str
    image_feature: str
    label_feature: str | None
    more_features: tuple[str, ...] = ()

    def parse(self, record: Any) -> dict[str, Any]:
        """Returns what one serialized record holds."""
        features = _builder_from_directory(self.directory).info.features
        parsed = features.deserialize_example(
            record, decoders={self.image_feature: tfds.decode.SkipDecoding()}
        )
        label = tf.constant(UNLABELED, tf.int64)
        if self.label_feature is not None:
            label = tf.cast(parsed[self.label_feature], tf.int64)
        more = {name: parsed[name] for name in self.more_features}
        return {"image": parsed[self.image_feature], "label": label, **more}


@functools.cache
def _builder_from_directory(directory: str) -> Any:
    return tfds.builder_from_directory(directory)


def _open_tfds(
    spec: str, rest: str, data_dir: str | None, more_features: tuple[str, ...]
) -> Source:
    match = _TFDS_PATTERN.match(rest)
    if match is None:
        raise ValueError(f"expected tfds:NAME:SPLIT, got {spec!r}")
    builder = _find_builder(match["name"], data_dir)
    split = match["split"]
    if split.partition("[")[0] not in builder.info.splits:
        known = ", ".join(sorted(builder.info.splits))
        raise ValueError(f"{spec}: no split {split!r}, the dataset has {known}")
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        raise ValueError(
            f"{spec}: expected TFRECORD files, got {builder.info.file_format.name}"
        )
    features = builder.info.features
    image = _feature_of_type(features, tfds.features.Image)
    label = _feature_of_type(features, tfds.features.ClassLabel)
    if image is None:
        raise ValueError(f"{spec} has no image feature, only {', '.join(features)}")
    for name in more_features:
        if name not in features:
            raise ValueError(f"{spec} has no feature {name!r}")
    shards = tuple(
        Shard(
            i,
            (
                File(
                    path=str(part.filename),
                    name=os.path.basename(part.filename),
                    skip=part.skip,
                    take=part.examples_in_shard if part.take == -1 else part.take,
                ),
            ),
        )
        for i, part in enumerate(builder.info.splits[split].file_instructions)
    )
    names = tuple(features[label].names) if label is not None else None
    reader = TfdsReader(
        directory=str(builder.data_dir),
        image_feature=image,
        label_feature=label,
        more_features=more_features,
    )
    return Source(spec, shards, names, reader)


def _find_builder(name: str, data_dir: str | None) -> Any:
    if "/" in name and os.path.isdir(name):
        if not os.path.exists(os.path.join(name, "features.json")):
            raise FileNotFoundError(
                f"{name} is no TFDS dataset: no features.json in it"
            )
        return _builder_from_directory(name)
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        where = data_dir or tfds.core.constants.DATA_DIR
        raise FileNotFoundError(
            f"no TFDS dataset {name!r}: neither a directory, nor in {where}, nor "
            "among those TFDS knows"
        ) from error
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"TFDS dataset {name!r} is not prepared in {builder.data_dir}; "
            "run its download_and_prepare() first"
        )
    return builder


def _feature_of_type(features: Any, kind: type) -> str | None:
    return next((name for name, f in features.items() if isinstance(f, kind)), None)


def _open_folder(spec: str, root: str) -> Source:
    if not tf.io.gfile.isdir(root):
        raise FileNotFoundError(f"{spec}: no folder {root!r}")
    paths = sorted(_walk(root))
    if not paths:
        raise ValueError(f"{spec}: no files in {root!r}")
    names = [os.path.relpath(path, root) for path in paths]
    folders = sorted({name.split(os.sep)[0] for name in names if os.sep in name})
    is_labeled = all(name.count(os.sep) == 1 for name in names)
    class_names = tuple(folders) if is_labeled else None
    label_of = {folder: i for i, folder in enumerate(folders)} if is_labeled else {}
    files = [
        File(
            path=path,
            name=name.replace(os.sep, "/"),
            take=1,
            label=label_of.get(name.split(os.sep)[0], UNLABELED),
        )
        for path, name in zip(paths, names, strict=True)
    ]
    starts = range(0, len(files), FOLDER_SHARD_SIZE)
    shards = tuple(
        Shard(i, tuple(files[start : start + FOLDER_SHARD_SIZE]))
        for i, start in enumerate(starts)
    )
    return Source(spec, shards, class_names, FolderReader())


def _walk(root: str) -> Iterator[str]:
    for folder, _, names in tf.io.gfile.walk(root):
        for name in names:
            if not name.startswith("."):
                yield os.path.join(folder, name)


def _open_tfrecord(spec: str, pattern: str, class_names_file: str | None) -> Source:
    paths = sorted(tf.io.gfile.glob(pattern))
    if not paths:
        raise FileNotFoundError(f"{spec}: no file matches {pattern!r}")
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    shards = tuple(
        Shard(i, (File(path=path, name=os.path.relpath(path, root or ".")),))
        for i, path in enumerate(paths)
    )
    class_names = None
    if class_names_file is not None:
        class_names = read_class_names(class_names_file)
    return Source(spec, shards, class_names, RecordReader())
