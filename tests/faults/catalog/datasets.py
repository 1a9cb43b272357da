"""Faults of predictions, selections and datasets, after labeling."""

from tests.faults.endings import (
    CONTINUES,
    FAILED,
    LABELED,
    REFUSED,
    Fault,
)

TITLE = "Predictions, selections and datasets"
FAULTS = (
    Fault(
        "bit of a predictions file that flipped",
        FAILED,
        "any bit: each command that reads it",
        ("predictions-00000.parquet",),
    ),
    Fault(
        "predictions in another order",
        FAILED,
        "each command that reads them",
        ("predictions-00001.parquet", "record_index"),
    ),
    Fault(
        "predictions edited by another program",
        FAILED,
        "each command that reads them",
        ("predictions-00001.parquet",),
    ),
    Fault(
        "label beyond the classes in predictions",
        FAILED,
        "each command that reads it",
        ("predictions-00001.parquet",),
    ),
    Fault(
        "predictions labeled anew since the selection",
        REFUSED,
        "writing: select again",
        ("selection",),
    ),
    Fault(
        "predictions changed since the dataset was written",
        FAILED,
        "verify",
        ("predictions",),
    ),
    Fault(
        "list of dropped rows that is damaged",
        FAILED,
        "writing, verify, report",
        ("dropped", "predictions-00001.parquet"),
    ),
    Fault(
        "selection that is damaged",
        FAILED,
        "verify",
        ("selection",),
    ),
    Fault(
        "empty shard of records, left by a power cut",
        CONTINUES,
        "it is written again",
    ),
    Fault(
        "shard of records cut off between two records",
        CONTINUES,
        "it is written again",
    ),
    Fault(
        "shard with records of another shard",
        CONTINUES,
        "it is written again",
    ),
    Fault(
        "dataset whose files are shorter than it says",
        REFUSED,
        "student training",
        ("dataset", "bytes"),
    ),
    Fault(
        "dataset with a file that is missing",
        REFUSED,
        "student training",
        ("tfrecord-00001-of-00006",),
    ),
    Fault(
        "images that differ only in color",
        LABELED,
        "kept, too, if their predicted classes differ; the hash sees brightness only",
    ),
    Fault(
        "image of the evaluation set in another color",
        LABELED,
        "dropped as a leak, whatever its predicted class",
    ),
    Fault(
        "class whose images are all dropped",
        LABELED,
        "the sparse class is named with the number of images before dropping",
    ),
)
