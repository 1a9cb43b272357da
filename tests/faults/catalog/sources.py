"""Faults: sources."""

from tests.faults.endings import REFUSED, Fault

TITLE = "Sources"
FAULTS = (
    Fault("no file that matches", REFUSED, mentions=("*.tfrecord",)),
    Fault("empty folder", REFUSED, mentions=("empty",)),
    Fault(
        "two images of one key",
        REFUSED,
        "both names read the same once decoded",
        mentions=("caf\\xe9",),
    ),
    Fault(
        "file system whose client is not installed",
        REFUSED,
        mentions=("s3://", "'apache-beam[aws]'"),
    ),
    Fault(
        "bucket that is not there", REFUSED, mentions=("'gs://no-such-bucket/photos'",)
    ),
    Fault(
        "bucket without credentials", REFUSED, mentions=("gs://no-such-bucket/photos",)
    ),
    Fault(
        "bucket without the right to read",
        REFUSED,
        mentions=("Permission denied", "gs://no-such-bucket/photos"),
    ),
)
