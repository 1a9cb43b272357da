r"""Compares two runs of the chain file by file, such as those of two commits.

  python -m tests.compare_runs BEFORE AFTER

Tables must be equal in schema and rows, checkpoints and TFRecord files in bytes, JSON
files but for what a commit may change: versions, wall times, fingerprints of
configurations, and the renamed setting `precision`, now `dtype`. TFRecord files that
TFDS has written are named if only the order of the features in their examples differs,
which is another in each process. Prints each difference; the exit status is 1 if there
is any.
"""

import collections
import json
import pathlib
import re
import sys

import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf

#: Files that hold wall times, versions or the command line.
_UNCOMPARED = {"COMPLETED", "report.json", "report.html", "settings", "run.toml"}
#: Keys of wall times.
_TIMES = {"seconds", "images_per_second", "time"}
#: Columns of the places and times of input files, which another run has made anew.
_FILE_TIMES = {"mtime_ns", "path"}
#: A fingerprint: SHA-256 in hexadecimal.
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
#: Fingerprints of weights, which no renamed setting changes.
_KEPT_FINGERPRINTS = {"teachers", "teacher"}


def normalize(value, key=None):
    """Returns a JSON value without wall times and configuration fingerprints."""
    if isinstance(value, dict):
        return {
            "dtype" if name == "precision" else name: normalize(child, name)
            for name, child in value.items()
            if name not in _TIMES
        }
    if isinstance(value, list):
        return [normalize(child, key) for child in value]
    is_fingerprint = isinstance(value, str) and _FINGERPRINT.fullmatch(value)
    return "fingerprint" if is_fingerprint and key not in _KEPT_FINGERPRINTS else value


def read(path):
    """Returns the comparable content of a file."""
    if path.suffix in (".parquet", ".list"):  # The list of shards is one as well.
        table = pq.read_table(path).replace_schema_metadata()
        return table.drop_columns(_FILE_TIMES & set(table.column_names))
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: arrays[name].tobytes() for name in arrays.files}
    if path.suffix == ".json":
        return normalize(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        return [normalize(json.loads(line)) for line in path.read_text().splitlines()]
    return path.read_bytes()


def is_reordered(before, after):
    """Whether two TFRecord files of TFDS have the same examples in the same order."""
    if "data" not in before.parts or ".tfrecord" not in before.name:
        return False
    parsed = [
        [
            tf.train.Example.FromString(record.numpy())
            for record in tf.data.TFRecordDataset(str(path))
        ]
        for path in (before, after)
    ]
    return parsed[0] == parsed[1]


def find_files(run, skipped):
    """Returns the relative paths of the files to compare."""
    skipped = {"export", "events", "stages", *skipped}
    return {
        path.relative_to(run)
        for path in run.rglob("*")
        if path.is_file()
        and path.name not in _UNCOMPARED
        and path.suffix not in {".keras", ".md"}
        and not skipped & set(path.relative_to(run).parts)
    }


def main(before, after, *skipped):
    """Prints how runs differ, in directories that are not to be skipped."""
    before, after = pathlib.Path(before), pathlib.Path(after)
    files, others = find_files(before, skipped), find_files(after, skipped)
    differences = [f"only in one run: {path}" for path in files ^ others]
    counts = collections.Counter()
    for path in sorted(files & others):
        counts[path.suffix.partition("-")[0] or path.name] += 1
        if read(before / path) == read(after / path):
            continue
        if is_reordered(before / path, after / path):
            sys.stdout.write(f"equal but for the order of features: {path}\n")
        else:
            differences.append(f"different: {path}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    total = f"compared {counts.total()} files ({kinds}): {len(differences)} differences"
    sys.stdout.write("\n".join([*sorted(differences), total, ""]))
    return bool(differences)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
