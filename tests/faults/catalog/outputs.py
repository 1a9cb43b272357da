"""Faults: outputs."""

from tests.faults.endings import REFUSED, Fault

TITLE = "Outputs"
FAULTS = (
    Fault("output begun with another teacher", REFUSED, mentions=("teachers",)),
    Fault("output that holds other files", REFUSED, "the directory is not empty"),
    Fault(
        "output inside the folder of images",
        REFUSED,
        "its files would be images of the next run",
        mentions=("--images=folder:",),
    ),
    Fault("output that is a file", REFUSED, mentions=("expected a directory",)),
    Fault("output whose parent is a file", REFUSED),
    Fault("output with a broken config.json", REFUSED, mentions=("config.json",)),
    Fault("output with a broken shards.list", REFUSED, mentions=("shards.list",)),
    Fault("read-only output", REFUSED),
    Fault(
        "bucket without write permission",
        REFUSED,
        mentions=("gs://no-such-bucket/out", "[Errno 13]"),
    ),
    Fault(
        "image deleted since the first run",
        REFUSED,
        mentions=("00001.png", "1 gone", "0 changed", "0 new"),
    ),
    Fault(
        "image replaced since the first run",
        REFUSED,
        "same size, another modification time; also if the output is complete",
        mentions=("00001.png", "1 changed", "cp -p"),
    ),
    Fault(
        "image of another size since the first run", REFUSED, mentions=("00001.png",)
    ),
    Fault(
        "image added since the first run",
        REFUSED,
        mentions=("00003.png", "--allow_new_shards"),
    ),
)
