"""Faults: running jobs."""

from tests.faults.endings import (
    CONTINUES,
    FAILED,
    FAILED_RESUMABLE,
    LABELED,
    REFUSED,
    RESUMABLE,
    WORKS,
    Fault,
)

TITLE = "Running jobs"
FAULTS = (
    Fault("model that returns NaN", "not_finite", "the network's output is not finite"),
    Fault(
        "model that returns another number of classes",
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
    Fault("`--top_k` above the number of classes", LABELED, "all classes are stored"),
    Fault(
        "source with too many bad images",
        FAILED,
        "`--max_bad_fraction`; checked when all rows are written",
        mentions=("57.1%", "7 images", "3 ok, 4 undecodable", "50.0%"),
    ),
    Fault(
        "source with too many bad images at its beginning",
        FAILED,
        "a worker stops after 10,000 images",
        mentions=("undecodable",),
    ),
    Fault("source whose files hold no image", FAILED),
    Fault(
        "read error in every try",
        FAILED_RESUMABLE,
        mentions=("shard 1 (part-1): [Errno 110]",),
    ),
    Fault(
        "disk that is full in the middle of a predictions file",
        FAILED_RESUMABLE,
        mentions=("shard ", "No space left on device"),
    ),
    Fault(
        "disk that is too small for the predictions",
        FAILED_RESUMABLE,
        mentions=("shard ", "No space left on device"),
    ),
    Fault(
        "output locked by another job",
        FAILED,
        "the output is locked",
        mentions=("out",),
    ),
    Fault(
        "output in a bucket locked by another job",
        FAILED,
        "another process has renewed the object `.lock` in the last five minutes",
        mentions=("process ", " is writing to gs://b/out", "delete .lock"),
    ),
    Fault(
        "two label_images commands with the same output",
        FAILED,
        "the second fails: the output is locked",
        mentions=("out",),
    ),
    Fault("temporary files left by a killed run", CONTINUES),
    Fault("run killed before its first complete file", CONTINUES),
    Fault(
        "truncated predictions file", FAILED, mentions=("predictions-00001.parquet",)
    ),
    Fault(
        "predictions file written by another program",
        FAILED,
        mentions=("predictions-00001.parquet",),
    ),
    Fault("predictions file of another job", FAILED, mentions=("predictions-",)),
    Fault(
        "predictions file deleted after labeling",
        REFUSED,
        "by selection",
        mentions=("predictions",),
    ),
    Fault("image changed since it was labeled", FAILED, "by writing"),
    Fault(
        "disk that is too small for the dataset",
        FAILED_RESUMABLE,
        "by writing",
        mentions=("shards 0 to 5", "No space left on device"),
    ),
    Fault(
        "full temporary directory",
        FAILED_RESUMABLE,
        "by writing",
        mentions=("No space left on device", "TMPDIR="),
    ),
    Fault(
        "dataset begun with another number of shards",
        REFUSED,
        "by writing",
        mentions=("num_shards", "6", "5"),
    ),
    Fault("write_records killed", RESUMABLE),
    Fault(
        "damaged predictions file",
        FAILED,
        "by selection",
        mentions=("predictions-00001.parquet",),
    ),
    Fault("clock that is set back", WORKS),
    Fault("TMPDIR that does not exist", WORKS, "another temporary directory is used"),
    Fault("worker process that is killed", CONTINUES, mentions=("137",)),
    Fault("Ctrl-C during labeling", RESUMABLE),
    Fault("label_images killed", RESUMABLE),
    Fault(
        "part that is out of range",
        REFUSED,
        "`--shards=I/N` counts from 0",
        mentions=("I/N with I from 0 to N - 1", "2/2"),
    ),
    Fault("part of a division into none", REFUSED, mentions=("I/N", "0/0")),
    Fault(
        "part on the runner of a cluster",
        REFUSED,
        mentions=("--shards", "local runner", "--runner="),
    ),
    Fault(
        "part whose engine is chosen by its machine",
        REFUSED,
        "`auto` may find another one on each",
        mentions=("--engine", "--dtype", "all parts"),
    ),
    Fault(
        "new shards for a part",
        REFUSED,
        mentions=("--allow_new_shards", "without --shards"),
    ),
    Fault(
        "part with other settings than the first",
        FAILED,
        "nothing is written",
        mentions=("top_k", "3", "1"),
    ),
    Fault(
        "parts that find the images at different paths",
        FAILED,
        mentions=("shards.list", "same paths", "moved/part-0"),
    ),
    Fault(
        "part that is running already",
        FAILED,
        "its lock is held",
        mentions=("part 0/2 of", "out", "wait until it ends"),
    ),
    Fault(
        "part beside those of another division",
        FAILED,
        mentions=(".part-1-of-3.lock", "wait until it ends"),
    ),
    Fault(
        "whole run beside a part",
        FAILED,
        mentions=("another process is writing to", "wait until it ends"),
    ),
    Fault("more parts than shards", WORKS, "some parts have none"),
    Fault(
        "shard that is changed after its part was done",
        FAILED_RESUMABLE,
        "by writing",
        mentions=("bytes", "start all parts again"),
    ),
    Fault(
        "part killed while it completes the output",
        RESUMABLE,
        "any part, started again, completes it",
    ),
    Fault("two parts, one of which is killed again and again", RESUMABLE),
)
