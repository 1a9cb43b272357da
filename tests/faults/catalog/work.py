"""Faults: work."""

from tests.faults.endings import (
    CONTINUES,
    FAILED,
    FAILED_RESUMABLE,
    LABELED,
    REFUSED,
    RESUMABLE,
    Fault,
)

TITLE = "Work"
FAULTS = (
    Fault("model that returns NaN", "not_finite", "the network's output is not finite"),
    Fault(
        "model of another number of classes",
        FAILED,
        mentions=("64 rows of 3 logits", "64 of shape (4,)"),
    ),
    Fault(
        "model that returns too few rows",
        FAILED,
        mentions=("64 rows of 3 logits", "63 of shape (3,)"),
    ),
    Fault("model that raises", FAILED, mentions=("out of memory on the accelerator",)),
    Fault(
        "model that cannot be loaded",
        FAILED,
        mentions=("model.onnx: checksum mismatch",),
    ),
    Fault("more top classes than there are", LABELED, "with all of them"),
    Fault(
        "source broken as a whole",
        FAILED,
        mentions=("57.1%", "7 images", "3 ok, 4 undecodable", "50.0%"),
    ),
    Fault("source found to be broken midway", FAILED, mentions=("undecodable",)),
    Fault("no image in any shard", FAILED),
    Fault(
        "read error that stays",
        FAILED_RESUMABLE,
        mentions=("shard 1 (part-1): [Errno 110]",),
    ),
    Fault(
        "disk that fills up",
        FAILED_RESUMABLE,
        mentions=("shard ", "No space left on device"),
    ),
    Fault(
        "full disk", FAILED_RESUMABLE, mentions=("shard ", "No space left on device")
    ),
    Fault("two jobs on one output", FAILED, "the output is locked", mentions=("out",)),
    Fault(
        "two commands on one output", FAILED, "the output is locked", mentions=("out",)
    ),
    Fault("temporary files of a run that was killed", CONTINUES),
    Fault("run killed before it wrote a file", CONTINUES),
    Fault(
        "truncated predictions file", FAILED, mentions=("predictions-00001.parquet",)
    ),
    Fault(
        "predictions of another program",
        FAILED,
        mentions=("predictions-00001.parquet",),
    ),
    Fault("predictions of another job", FAILED, mentions=("predictions-",)),
    Fault(
        "predictions deleted after the end",
        REFUSED,
        "selection",
        mentions=("predictions",),
    ),
    Fault("image changed since it was labeled", FAILED, "writing"),
    Fault(
        "full disk, records to be written to it",
        FAILED_RESUMABLE,
        "writing",
        mentions=("shards 0 to 5", "No space left on device"),
    ),
    Fault(
        "full temporary directory",
        FAILED_RESUMABLE,
        "writing",
        mentions=("No space left on device", "TMPDIR="),
    ),
    Fault(
        "dataset of another number of shards",
        REFUSED,
        "writing",
        mentions=("num_shards", "6", "5"),
    ),
    Fault("writing command that is killed", RESUMABLE),
    Fault(
        "predictions damaged since they were written",
        FAILED,
        "selection",
        mentions=("predictions-00001.parquet",),
    ),
    Fault("clock that goes back", LABELED),
    Fault("temporary directory that is not there", LABELED, "in the next that is"),
    Fault("worker process that is killed", CONTINUES, mentions=("137",)),
    Fault("Ctrl-C", RESUMABLE),
    Fault("command that is killed", RESUMABLE),
)
