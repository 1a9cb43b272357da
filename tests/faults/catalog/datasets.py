"""Faults of predictions, selections and datasets, after labeling."""

from tests.faults.endings import CONTINUES, FAILED, REFUSED, WORKS, Fault

TITLE = "Predictions, selections and datasets"
FAULTS = (
    Fault(
        "flipped bit in a predictions file",
        FAILED,
        "by each command that reads its column; no other depends on it",
        mentions=("predictions-00000.parquet",),
    ),
    Fault(
        "rows of predictions in another order",
        FAILED,
        "by each command that reads them",
        mentions=("predictions-00001.parquet", "record_index"),
    ),
    Fault(
        "predictions edited by another program",
        FAILED,
        "by each command that reads them",
        mentions=("predictions-00001.parquet",),
    ),
    Fault(
        "label in predictions that is not below the number of classes",
        FAILED,
        "by each command that reads it",
        mentions=("predictions-00001.parquet",),
    ),
    Fault(
        "embedding or top classes of another length, or out of bounds",
        FAILED,
        "`beam_jobs.propagate_labels`",
        mentions=("predictions-00000.parquet, row 7",),
    ),
    Fault(
        "predictions files that were exchanged",
        REFUSED,
        "by each command that reads them",
        mentions=("predictions-00000.parquet, predictions-00001.parquet", "COMPLETED"),
    ),
    Fault(
        "predictions file of other images",
        REFUSED,
        "by each command that reads them, also if it has as many rows",
        mentions=("predictions-00001.parquet", "COMPLETED"),
    ),
    Fault(
        "predictions files that were exchanged before labeling was complete",
        FAILED,
        "by labeling",
        mentions=("predictions-00000.parquet",),
    ),
    Fault(
        "rows of another calibration",
        REFUSED,
        "by selection and report",
        mentions=("calibration.parquet",),
    ),
    Fault(
        "predictions made anew since the selection",
        REFUSED,
        "by writing; select again",
        mentions=("selection",),
    ),
    Fault(
        "predictions made anew since the dataset was written",
        FAILED,
        "by `pseudo_label.verify`",
        mentions=("predictions",),
    ),
    Fault(
        "damaged list of dropped images",
        FAILED,
        "by writing, verification and report",
        mentions=("dropped", "predictions-00001.parquet"),
    ),
    Fault(
        "list of dropped images of another shard or selection",
        FAILED,
        "by writing, verification and report",
        mentions=("dropped", "predictions-00001.parquet"),
    ),
    Fault(
        "selection.json of another selection",
        REFUSED,
        "by writing and report",
        mentions=("selection.json", "config.json"),
    ),
    Fault(
        "list of dropped images that is missing",
        FAILED,
        "by writing",
        mentions=("dropped", "selection.json"),
    ),
    Fault(
        "selection.json with more records than its images give",
        FAILED,
        "by writing, before any work",
        mentions=("selection.json", "expected "),
    ),
    Fault(
        "damaged selection.json",
        FAILED,
        "by `pseudo_label.verify`",
        mentions=("selection",),
    ),
    Fault(
        "file beside the records that was changed",
        FAILED,
        "by `pseudo_label.verify`",
        mentions=("README.md", "write_records"),
    ),
    Fault(
        "complete dataset that lacks a file, or with one of another size",
        REFUSED,
        "by writing; without `COMPLETED` it writes what is missing",
        mentions=("tfrecord-00001-of-00006", "bytes", "COMPLETED"),
    ),
    Fault(
        "complete predictions that lack a file, or with one of another size",
        REFUSED,
        "by labeling; without `COMPLETED` and the file, it labels what is missing",
        mentions=("predictions-00001.parquet", "bytes", "COMPLETED"),
    ),
    Fault("empty output shard, left by a power failure", CONTINUES, "written again"),
    Fault("output shard truncated between two records", CONTINUES, "written again"),
    Fault("output shard with the records of another one", CONTINUES, "written again"),
    Fault(
        "dataset with a file shorter than dataset_info.json says",
        REFUSED,
        "by student training",
        mentions=("dataset", "bytes"),
    ),
    Fault(
        "dataset with a missing file",
        REFUSED,
        "by student training",
        mentions=("tfrecord-00001-of-00006",),
    ),
    Fault(
        "images that differ only in color",
        WORKS,
        "the hash sees brightness only: the best of each predicted class is kept",
    ),
    Fault(
        "unlabeled image that is an evaluation image in another color",
        WORKS,
        "dropped as a leak, whatever its predicted class",
    ),
    Fault(
        "class most of whose images are dropped as duplicates",
        WORKS,
        "the warning about the sparse class has the number before dropping",
    ),
)
