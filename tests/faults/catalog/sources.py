"""Faults: sources."""

from tests.faults.endings import REFUSED, Fault

TITLE = "Sources"
FAULTS = (
    Fault("pattern that matches no file", REFUSED, mentions=("*.tfrecord",)),
    Fault("empty folder", REFUSED, mentions=("empty", "holds no images")),
    Fault(
        "file that is neither a folder nor of a known ending, in place of a source",
        REFUSED,
        "a single image, too; by `run --dry_run` as well",
        mentions=("photo.jpg", ".csv"),
    ),
    Fault(
        "two file names with the same key",
        REFUSED,
        "`\\xNN` in one name, a byte that is not UTF-8 in the other",
        mentions=("caf\\xe9",),
    ),
    Fault(
        "TFDS dataset that claims more records than its files can hold",
        REFUSED,
        mentions=("dataset_info.json", "99,999,999,999"),
    ),
    Fault(
        "TFDS dataset with a description of gigabytes",
        REFUSED,
        "also a file of class names: limit 256 MiB",
        mentions=("features.json", "2,147,483,648"),
    ),
    Fault(
        "file system whose client is not installed",
        REFUSED,
        mentions=("s3://", "'apache-beam[aws]'"),
    ),
    Fault(
        "bucket that does not exist",
        REFUSED,
        mentions=("'gs://no-such-bucket/photos'",),
    ),
    Fault(
        "bucket without credentials", REFUSED, mentions=("gs://no-such-bucket/photos",)
    ),
    Fault(
        "bucket without read permission",
        REFUSED,
        mentions=("Permission denied", "gs://no-such-bucket/photos"),
    ),
)
