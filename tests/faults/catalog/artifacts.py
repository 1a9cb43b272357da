"""Faults: artifacts and runs."""

from tests.faults.endings import (
    CONTINUES,
    FAILED,
    FAILED_RESUMABLE,
    REFUSED,
    RESUMABLE,
    Fault,
)

TITLE = "Artifacts and runs"
#: What can be wrong with any JSON file of an artifact.
BROKEN_JSON = (
    Fault("empty JSON file", REFUSED),
    Fault("truncated JSON file", REFUSED),
    Fault("JSON file in another encoding", REFUSED),
    Fault("JSON file of 100,000 nested lists", REFUSED),
    Fault("JSON file that repeats a key", REFUSED, mentions=('"again"',)),
    Fault("JSON file with NaN", REFUSED, mentions=("NaN",)),
    Fault("JSON file with an infinite number", REFUSED, mentions=("1e400",)),
    Fault("JSON file with a number of 5,000 digits", REFUSED, mentions=("9999",)),
    Fault("JSON file that holds a list", REFUSED, mentions=("[]",)),
    Fault("JSON file of 300 MB", REFUSED),
    Fault("named pipe in place of a JSON file", REFUSED, "it is not opened"),
)
FAULTS = (
    *BROKEN_JSON,
    Fault(
        "field of a JSON file with a wrong type or out of range",
        REFUSED,
        "the message names the field; fields that nothing reads are ignored",
    ),
    Fault(
        "selection with a field of a later version",
        REFUSED,
        mentions=("classes[0].later",),
    ),
    Fault(
        "selection with other classes than its predictions",
        REFUSED,
        mentions=("selection.json", "3 classes", "2"),
    ),
    Fault(
        "calibration with other classes than the teacher",
        REFUSED,
        mentions=("3 classes", "7"),
    ),
    Fault("calibration without a confidence", REFUSED, mentions=("confidence",)),
    Fault(
        "run directory that lacks a round",
        REFUSED,
        "by the report",
        mentions=("round-2",),
    ),
    Fault("two trainings in one directory", REFUSED, "the directory is locked"),
    Fault(
        "two commands that make the same artifact", REFUSED, "the directory is locked"
    ),
    Fault(
        "artifact that another command completes meanwhile",
        CONTINUES,
        "nothing is done twice",
    ),
    Fault("empty newest checkpoint", CONTINUES, "training resumes from the one before"),
    Fault(
        "truncated newest checkpoint", CONTINUES, "training resumes from the one before"
    ),
    Fault(
        "damaged newest checkpoint", CONTINUES, "training resumes from the one before"
    ),
    Fault("no readable checkpoint", CONTINUES, "training starts from the first step"),
    Fault("metrics.jsonl with an incomplete last line", CONTINUES),
    Fault(
        "malformed line in metrics.jsonl",
        FAILED,
        mentions=("metrics.jsonl, line 1", "train/loss"),
    ),
    Fault(
        "training killed",
        RESUMABLE,
        "metrics.jsonl and TensorBoard's events have every step once",
    ),
    Fault(
        "training killed while `--profile` records",
        RESUMABLE,
        "the next run replaces the trace",
    ),
    Fault(
        "Ctrl-C during training",
        RESUMABLE,
        "the step is finished and saved; a second one, and any before a first step is "
        "done, ends at once",
        mentions=("SIGINT", "5"),
    ),
    Fault("damaged model.keras", REFUSED, "`--init_from`", ("model.keras",)),
    Fault(
        "model.keras of another classifier",
        REFUSED,
        "`--init_from`",
        ("model.keras", "classifier.json"),
    ),
    Fault(
        "damaged model.keras of what is exported",
        FAILED,
        "`classifier.export_model`",
        ("model.keras",),
    ),
    Fault(
        "named pipe or device in place of a classifier's file",
        REFUSED,
        "it is not opened",
        ("regular file",),
    ),
    Fault(
        "named pipe or device in place of another artifact's file",
        REFUSED,
        mentions=("regular file",),
    ),
    Fault(
        "named pipe in place of a file of what a command resumes",
        REFUSED,
        mentions=("regular file",),
    ),
    Fault(
        "named pipe in place of a weights file",
        REFUSED,
        "`--init_from=resnet_rs_h5:`",
        ("regular file",),
    ),
    Fault("named pipe in place of a file of a run", REFUSED, "by the report"),
    Fault(
        "named pipe in place of a file of a TFDS dataset",
        REFUSED,
        mentions=("regular file",),
    ),
    Fault(
        "config.json of a network that cannot be",
        REFUSED,
        "in converting and by `--init_from`",
        ("config.json",),
    ),
    Fault(
        "file in place of the directory `export`",
        FAILED_RESUMABLE,
        "training; the steps are not repeated",
        ("export",),
    ),
)
