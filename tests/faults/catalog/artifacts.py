"""Faults: artifacts and runs."""

from tests.faults.endings import CONTINUES, FAILED, REFUSED, RESUMABLE, Fault

TITLE = "Artifacts and runs"
#: What can be wrong with any JSON file of an artifact.
BROKEN_JSON = (
    Fault("empty JSON file", REFUSED),
    Fault("JSON file that is cut off", REFUSED),
    Fault("JSON file in another encoding", REFUSED),
    Fault("JSON file of 100,000 nested lists", REFUSED),
    Fault("JSON file that repeats a key", REFUSED, mentions=('"again"',)),
    Fault("JSON file with NaN", REFUSED, mentions=("NaN",)),
    Fault("JSON file with an infinite number", REFUSED, mentions=("1e400",)),
    Fault("JSON file with a number of 5,000 digits", REFUSED, mentions=("9999",)),
    Fault("list as a JSON file", REFUSED, mentions=("[]",)),
    Fault("JSON file of 300 MB", REFUSED),
    Fault("pipe in the place of a JSON file", REFUSED, "it is not opened"),
)
FAULTS = (
    *BROKEN_JSON,
    Fault(
        "field of a JSON file of another type or out of range",
        REFUSED,
        "the field is named; one that nothing reads is ignored",
    ),
    Fault(
        "selection with a field of a later version",
        REFUSED,
        mentions=("classes[0].later",),
    ),
    Fault(
        "selection of other classes than its predictions",
        REFUSED,
        mentions=("selection.json", "3 classes", "2"),
    ),
    Fault("calibration of other classes", REFUSED, mentions=("3 classes", "7")),
    Fault("calibration without a confidence", REFUSED, mentions=("confidence",)),
    Fault("run without one of its rounds", REFUSED, mentions=("round-2",)),
    Fault("two trainings in one directory", REFUSED, "the directory is locked"),
    Fault("two commands that make one artifact", REFUSED, "the directory is locked"),
    Fault("artifact that another command has made meanwhile", CONTINUES),
    Fault("empty newest checkpoint", CONTINUES, "from the one before"),
    Fault("truncated newest checkpoint", CONTINUES, "from the one before"),
    Fault("damaged newest checkpoint", CONTINUES, "from the one before"),
    Fault("no checkpoint that can be read", CONTINUES, "from the first step"),
    Fault("metrics.jsonl that is cut off", CONTINUES),
    Fault(
        "broken line in metrics.jsonl",
        FAILED,
        mentions=("metrics.jsonl, line 1", "train/loss"),
    ),
    Fault(
        "training that is killed",
        RESUMABLE,
        "metrics.jsonl and TensorBoard's events have every step once",
    ),
    Fault("trace of a training that is killed", RESUMABLE, "replaced by the next"),
    Fault(
        "Ctrl-C in training",
        RESUMABLE,
        "saved after the step; a second Ctrl-C ends at once",
        mentions=("SIGINT", "5"),
    ),
)
