"""Image sources: folders, CSV lists, TFRecords, Parquet, tar files, TFDS datasets.

A source is a list of shards, a shard a list of files, and a reader converts a file to
examples: a unique key, the encoded bytes, and the class or -1. Training reads them
in tf.data, everything else with `classifier.data.python_reader`; both give an image the
same key.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from tensorflow_datasets.core.features.feature import convert_feature_name_to_filename

from classifier.data import (
    csv_listing,
    hub_datasets,
    listing,
    parquet_listing,
    source_forms,
)
from classifier.data.class_names import (
    check_class_names,
    check_same_classes,
    read_class_names,
    read_lines,
)
from classifier.data.examples import File, Reader, key_text
from classifier.data.listing import FOLDER_SHARD_SIZE
from classifier.data.readers import (
    IMAGE_FEATURE,
    LABEL_EXTENSION,
    LABEL_FEATURE,
    FolderReader,
    ParquetReader,
    RecordReader,
    TarReader,
    TfdsReader,
    read_files,
)
from classifier.data.tfrecord import named_compression
from classifier.data.webdataset import IMAGE_EXTENSIONS
from stage import artifact, licenses, streams
from stage.flags import is_folder_source, split_dataset
from stage.licenses import Origin
from stage.text import and_more, printable
from stage.tfds_directory import FRAME_BYTES, find_builder, open_builder

#: Most records that may be lost of one file, each of which has a row.
_MAX_LOST = 10**6
#: Forms of which `--class_names` must give the names that they hold themselves.
_NAMED = ("tfds", "folder")


@dataclasses.dataclass(frozen=True)
class Shard:
    """Files that are processed together: the unit of work, retry and resume."""

    index: int
    files: tuple[File, ...]


@dataclasses.dataclass(frozen=True)
class Source:
    """A named set of images.

    Attributes:
        spec: Specification as the user wrote it.
        shards: Shards in a fixed order.
        class_names: K names by label, None if the images have no labels.
        reader: Reader of the files.
        content: Fingerprint of keys, labels and images, or of those of the source that
            this is a part of; "" unless `inspection.inspect` has read them.
        labels: Key and label of every example, by file; empty as `content`, and for a
            part of a source.
        digests: First bytes of the SHA-256 of every example's image, by file; and
        num_turned: number of images that `orientation.is_turned`; both as `content`.
        license: License in a dataset's metadata, as it stands there; "" for none.
        revision: Commit of a dataset on the Hugging Face Hub; "" for others.
    """

    spec: str
    shards: tuple[Shard, ...]
    class_names: tuple[str, ...] | None
    reader: Reader
    content: str = ""
    labels: tuple[Sequence[tuple[bytes, int]], ...] = ()
    digests: tuple[bytes, ...] = ()
    num_turned: int = 0
    license: str = ""
    revision: str = ""

    def describe(self) -> dict[str, Any]:
        """Returns a machine-independent identification of the source for a config.

        Sources with equal descriptions have the same parts of the same files in the
        same order; with `content`, also the same images and labels.
        """
        numbered = (
            (shard.index, file) for shard in self.shards for file in shard.files
        )
        return {
            "num_shards": len(self.shards),
            "num_files": len(self.files),
            "fingerprint": listing.fingerprint(numbered),
            **({"revision": self.revision} if self.revision else {}),
            **({artifact.CONTENT: self.content} if self.content else {}),
        }

    def origin(self, license: str | None = None) -> Origin:
        """Returns the images as an origin; `license` is what the user stated, if any.

        Whether their content is known makes no difference.
        """
        origin = Origin(
            kind="images",
            name=licenses.public_name(self.spec),
            revision=self.revision,
            fingerprint=self.describe()["fingerprint"],
        )
        return licenses.state(licenses.state_published(origin, self.license), license)

    @property
    def files(self) -> tuple[File, ...]:
        """Files of all shards."""
        return tuple(file for shard in self.shards for file in shard.files)

    def part(self, index: int, count: int) -> Source:
        """Returns every `count`-th file, starting at `index`, as one shard."""
        if count == 1:
            return self
        part = Shard(index, self.files[index::count])
        return dataclasses.replace(self, shards=(part,), labels=())

    def subset(self, kept: Sequence[NDArray[np.bool_]]) -> Source:
        """Returns a subset of the examples, as one shard.

        Args:
            kept: Mask of the examples to keep, one array per file. Files without any
                are not read.
        """
        masked = [
            (file, mask)
            for file, mask in zip(self.files, kept, strict=True)
            if mask.any()
        ]
        files = [file for file, _ in masked]
        if not all(mask.all() for _, mask in masked):
            files = [
                dataclasses.replace(file, kept=mask.tobytes()) for file, mask in masked
            ]
        shards = (Shard(0, tuple(files)),)
        return dataclasses.replace(self, shards=shards, labels=())

    def labeled_class_names(self) -> tuple[str, ...]:
        """Returns the class names.

        Raises ValueError if there are no labels, or a dataset cannot hold a name.
        """
        if self.class_names is None:
            _check_in_classes(self)
            raise ValueError(
                f"expected labeled images, got {self.spec} without labels: folder: "
                "needs every image in a sub-folder of its class, tfds: one ClassLabel "
                "or one that is called label, csv: and parquet: a column label or "
                "--label_column, tfrecord: and webdataset: also --class_names, as do "
                "parquet: and hf: with numbers that have no names"
            )
        check_class_names(self.class_names, self.spec)
        return self.class_names

    @functools.cached_property
    def known_examples(self) -> int | None:
        """Number of examples; None if only reading the files would tell."""
        counts = [
            file.kept.count(1) or (file.take if file.count < 0 else file.count)
            for file in self.files
        ]
        return sum(counts) if min(counts, default=0) >= 0 else None

    @functools.cached_property
    def num_examples(self) -> int:
        """Number of examples; reads the files unless the number is known."""
        if self.known_examples is not None:
            return self.known_examples
        examples = read_files(self.reader, self.files)
        return int(examples.reduce(0, lambda count, _: count + 1).numpy())


def open_source(
    spec: str,
    *,
    data_dir: str | None = None,
    class_names_file: str | None = None,
    more_features: Sequence[str] = (),
    image_feature: str | None = None,
    label_feature: str | None = None,
) -> Source:
    """Lists the files of a source.

    Args:
        spec: `folder:PATH` (class sub-folders, or any tree), `csv:FILE` (a list of
            paths), `parquet:GLOB`, `tfrecord:GLOB`, `webdataset:GLOB` (tar files),
            `tfds:NAME:SPLIT` (a prepared dataset, by name or by directory),
            `hf:OWNER/NAME:SPLIT` (Parquet files of the Hugging Face Hub), or a path,
            see `source_forms.find_form`.
        data_dir: Directory of TFDS datasets; None for TFDS's default.
        class_names_file: Text file of one class name per line, for labels that are
            numbers without names; others must have these names.
        more_features: Names of further TFDS features to read.
        image_feature: Name of the image feature or column, or extension of the image in
            a tar file. Default: `image/encoded` in TFRecords, `image` or the only image
            feature in TFDS and Parquet, `path` in CSV, any image extension in tar
            files.
        label_feature: Name of the label feature or column, or extension of the label in
            a tar file. Default: `image/class/label` in TFRecords, `label` or the only
            ClassLabel in TFDS, `label` in CSV and Parquet, `cls` in tar files.

    Raises:
        ValueError: If the spec is malformed, there are no images, two images would have
            the same key, or the classes are not those of the file.
        FileNotFoundError: If the spec names nothing that exists.
        OSError: If a dataset cannot be downloaded.
    """
    kind, _, rest = source_forms.find_form(spec).partition(":")
    class_names = None
    if class_names_file is not None:
        class_names = read_class_names(class_names_file)
    if kind == "tfds":
        features = (image_feature, label_feature, tuple(more_features))
        source = _open_tfds(spec, rest, data_dir, *features)
    else:
        source = _open_files(
            spec, kind, rest, image_feature, label_feature, class_names
        )
    if class_names is not None and kind in _NAMED:
        check_same_classes(class_names, source.labeled_class_names(), spec)
    _check_keys(source)
    return source


def _open_files(
    spec: str,
    kind: str,
    rest: str,
    image_feature: str | None,
    label_feature: str | None,
    class_names: tuple[str, ...] | None,
) -> Source:
    """Returns a source of any form but TFDS."""
    how = (image_feature, label_feature, class_names)
    if kind == "folder":
        if image_feature or label_feature:
            raise ValueError(f"{spec}: a folder holds no records with features")
        return _open_folder(spec, rest)
    if kind == "csv":
        return _open_csv(spec, rest, *how)
    if kind == "parquet":
        return _open_parquet(spec, source_forms.list_matches(spec, rest), *how)
    if kind == "hf":
        dataset = hub_datasets.fetch(spec, rest)
        return dataclasses.replace(
            _open_parquet(spec, dataset.files, *how),
            revision=dataset.commit,
            license=dataset.license,
        )
    return _open_records(spec, kind, rest, *how)


def _open_csv(
    spec: str,
    path: str,
    path_column: str | None,
    label_column: str | None,
    class_names: tuple[str, ...] | None,
) -> Source:
    source_forms.check_list(spec, path)
    files, class_names = csv_listing.list_csv(
        spec, path, path_column, label_column, class_names
    )
    reader = FolderReader()
    return Source(spec, make_shards(files, reader), class_names, reader)


def _open_parquet(
    spec: str,
    files: Sequence[File],
    image_column: str | None,
    label_column: str | None,
    class_names: tuple[str, ...] | None,
) -> Source:
    found = parquet_listing.list_parquet(
        spec, files, image_column, label_column, class_names
    )
    reader = ParquetReader(found.columns, is_labeled=found.class_names is not None)
    return Source(spec, make_shards(found.files, reader), found.class_names, reader)


def _open_records(
    spec: str,
    kind: str,
    pattern: str,
    image_feature: str | None,
    label_feature: str | None,
    class_names: tuple[str, ...] | None,
) -> Source:
    is_labeled = class_names is not None
    reader: Reader = RecordReader(
        image_feature or IMAGE_FEATURE, label_feature or LABEL_FEATURE, is_labeled
    )
    if kind == "webdataset":
        # Compared without their case, and without a dot before the first.
        image, label = (
            name and name.lower().lstrip(".") for name in (image_feature, label_feature)
        )
        extensions = (image,) if image else IMAGE_EXTENSIONS
        reader = TarReader(extensions, label or LABEL_EXTENSION, is_labeled)
    files = [
        dataclasses.replace(file, compression=named_compression(file.name))
        for file in source_forms.list_matches(spec, pattern)
    ]
    return Source(spec, make_shards(files, reader), class_names, reader)


def _open_tfds(
    spec: str,
    rest: str,
    data_dir: str | None,
    image_feature: str | None,
    label_feature: str | None,
    more_features: tuple[str, ...],
) -> Source:
    name, split = split_dataset(rest)
    if not split:
        raise ValueError(f"expected tfds:NAME:SPLIT, got {spec!r}")
    builder = _find_builder(name, data_dir)
    split = split.removeprefix(":")
    _check_split(spec, builder.info, split)
    features = builder.info.features
    image = _find_feature(spec, features, tfds.features.Image, image_feature)
    label = _find_feature(spec, features, tfds.features.ClassLabel, label_feature)
    if image is None:
        raise ValueError(f"{spec} has no image feature, only {', '.join(features)}")
    for name in more_features:
        if name not in features:
            known = ", ".join(features)
            raise ValueError(f"{spec} has no feature {name!r}, only {known}")
    files = _list_split(spec, builder.info.splits[split])
    class_names = _read_tfds_names(builder, label) if label is not None else None
    reader = TfdsReader(
        directory=str(builder.data_dir),
        image_feature=image,
        label_feature=label,
        is_labeled=label is not None,
        more_features=more_features,
    )
    return Source(
        spec,
        make_shards(files, reader),
        class_names,
        reader,
        license=builder.info.redistribution_info.license,
    )


def _check_split(spec: str, info: Any, split: str) -> None:
    """Raises ValueError if a dataset has no such split, or other files than are read.

    A split may be a sum of slices, such as `train[:10%]+test`.
    """
    for part in split.split("+"):
        if part.partition("[")[0].strip() not in info.splits:
            known = ", ".join(map(printable, sorted(info.splits)))
            raise ValueError(f"{spec}: no split {part!r}, the dataset has {known}")
    if info.file_format != tfds.core.FileFormat.TFRECORD:
        raise ValueError(
            f"{spec}: expected TFRECORD files, got {info.file_format.name}"
        )


def _read_tfds_names(builder: Any, label: str) -> tuple[str, ...]:
    """Returns the class names of a ClassLabel, or its numbers if it has no names.

    TFDS itself keeps byte-order marks, and passes over errors.
    """
    feature = builder.info.features[label]
    name = convert_feature_name_to_filename(label, parent_name=None)
    path = feature.get_names_filepath(builder.data_dir, name)
    if not path.exists():
        return tuple(feature.names)
    names = tuple(filter(None, read_lines(path)))
    if len(names) != feature.num_classes:
        raise ValueError(
            f"{path}: expected a name for each of {feature.num_classes} classes of "
            f"features.json, got {len(names)}"
        )
    return names


def _list_split(spec: str, split: Any) -> list[File]:
    files = [
        File(
            path=str(part.filename),
            name=os.path.basename(part.filename),
            skip=part.skip,
            take=part.take,
            to_end=part.takes_all,
            **listing.find_state(str(part.filename)),
        )
        for part in split.file_instructions
    ]
    if not any(file.take for file in files):
        raise ValueError(f"{spec}: expected images, the split has none")
    for file in files:
        # A file that was cut off has a row for each record that it should hold.
        if file.take > max(file.size // FRAME_BYTES, _MAX_LOST):
            raise ValueError(
                f"{spec}: dataset_info.json says that {file.name} has {file.take:,} "
                f"records, in {file.size:,} bytes"
            )
    return files


def _find_builder(name: str, data_dir: str | None) -> Any:
    if "/" in name and listing.is_folder(name):
        if not (listing.open_path(name) / "features.json").exists():
            raise FileNotFoundError(
                f"{name} is no TFDS dataset: no features.json in it"
            )
        return open_builder(name)
    builder = find_builder(name, data_dir)
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"TFDS dataset {name!r} is not prepared in {builder.data_dir}; "
            "run its download_and_prepare() first"
        )
    return builder


def _find_feature(
    spec: str, features: Any, kind: type, wanted: str | None
) -> str | None:
    """Returns the wanted feature of a kind, else the usual or the only one, else None.

    The order of the features differs between processes.
    """
    names = sorted(name for name in features if isinstance(features[name], kind))
    known = ", ".join(names) or "none"
    if wanted is not None:
        if wanted not in names:
            raise ValueError(
                f"{spec}: {wanted!r} is no {kind.__name__} feature, those are: {known}"
            )
        return wanted
    usual = {tfds.features.Image: "image", tfds.features.ClassLabel: "label"}[kind]
    if usual in names:
        return usual
    if len(names) > 1 and kind is tfds.features.Image:
        raise ValueError(f"{spec}: expected one image feature, it has {known}")
    return names[0] if len(names) == 1 else None


def _open_folder(spec: str, root: str) -> Source:
    files = source_forms.list_folder(spec, root)
    class_names = None
    if all(file.name.count("/") == 1 for file in files):
        folders = [file.name.partition("/")[0] for file in files]
        class_names = tuple(sorted(set(folders)))
        label_of = {name: label for label, name in enumerate(class_names)}
        files = [
            dataclasses.replace(file, label=label_of[folder])
            for file, folder in zip(files, folders, strict=True)
        ]
        _warn_of_empty(spec, root, class_names)
    reader = FolderReader()
    return Source(spec, make_shards(files, reader), class_names, reader)


def _check_in_classes(source: Source) -> None:
    """Raises ValueError if files of a folder are not in a sub-folder of a class."""
    if not is_folder_source(source.spec):
        return
    astray = [file.name for file in source.files if file.name.count("/") != 1]
    raise ValueError(
        f"{source.spec}: expected each of {len(source.files):,} files in a sub-folder "
        f"of its class, and none deeper, which {_list_first(astray)} not; move or "
        "delete what is no labeled image"
    )


def _list_first(names: Sequence[str]) -> str:
    """Returns the first name and how many more there are, with the verb."""
    verb = "are" if len(names) > 1 else "is"
    return f"{printable(names[0])!r}{and_more(names)} {verb}"


def _warn_of_empty(spec: str, root: str, class_names: tuple[str, ...]) -> None:
    """Warns of sub-folders without a file, which are no classes."""
    if "://" in root:
        return
    with os.scandir(root) as entries:
        folders = {entry.name for entry in entries if entry.is_dir()}
    empty = sorted(name for name in folders - set(class_names) if name[0] != ".")
    if empty:
        streams.warn(
            f"warning: {spec}: {empty[0]!r}{and_more(empty)} without an image, so no "
            "class"
        )


def has_same_files(one: Mapping[str, Any] | None, other: Mapping[str, Any]) -> bool:
    """Returns whether descriptions are of the same files, whatever their content."""
    return one is not None and {**one, artifact.CONTENT: ""} == {
        **other,
        artifact.CONTENT: "",
    }


def make_shards(
    files: Sequence[File], reader: Reader, first_index: int = 0
) -> tuple[Shard, ...]:
    """Returns shards of `FOLDER_SHARD_SIZE` images each, or of one record file each."""
    size = FOLDER_SHARD_SIZE if isinstance(reader, FolderReader) else 1
    starts = range(0, len(files), size)
    return tuple(
        Shard(index, tuple(files[start : start + size]))
        for index, start in enumerate(starts, first_index)
    )


def _check_keys(source: Source) -> None:
    """Raises ValueError if files, or ranges of a file, would yield a key twice."""
    end_of: dict[str, float] = {}
    ranges = sorted(
        (key_text(os.fsencode(file.name)), file.skip, file.take)
        for file in source.files
    )
    for name, skip, take in ranges:
        if skip < end_of.get(name, 0):
            raise ValueError(
                f"{source.spec}: two images would have the same key, as {name} is "
                "listed twice"
            )
        end_of[name] = skip + take if take >= 0 else float("inf")
