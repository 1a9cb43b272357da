"""Faults: files and folders."""

from tests.faults.endings import LABELED, NO_ROW, Fault

TITLE = "Files and folders"
FAULTS = (
    Fault(
        "file that vanishes after the listing", "missing", mentions=("No such file",)
    ),
    Fault(
        "image that is longer than it was listed",
        "changed",
        mentions=("bytes, has",),
    ),
    Fault(
        "image that was overwritten since the listing",
        "changed",
        "of the same size, of another time",
        mentions=("1970-01-01 00:00:07.000000000",),
    ),
    Fault(
        "pipe in the place of a file", "unreadable", mentions=("not a regular file",)
    ),
    Fault("link to nothing", "missing", mentions=("No such file",)),
    Fault(
        "link that leads to itself",
        "unreadable",
        mentions=("Too many levels of symbolic links",),
    ),
    Fault("file that may not be read", "unreadable", mentions=("Permission denied",)),
    Fault("folder in the place of a file", "unreadable", mentions=("Is a directory",)),
    Fault(
        "file on a bad spot of the disk",
        "unreadable",
        "after several tries",
        mentions=("Input/output error",),
    ),
    Fault("read error that passes", LABELED, "after another try"),
    Fault(
        "file name that is not UTF-8",
        LABELED,
        "the key has `\\xNN` for each byte that is none",
    ),
    Fault("file name with a line break", LABELED),
    Fault("file name with wildcards", LABELED),
    Fault("hidden file", NO_ROW),
    Fault("file in a hidden folder", NO_ROW),
    Fault("pipe in the folder", NO_ROW),
    Fault("socket in the folder", NO_ROW),
    Fault("link to a pipe", NO_ROW),
    Fault("link to a device without end", NO_ROW),
    Fault(
        "link that leads back to its own folder", NO_ROW, "each image of it counts once"
    ),
    Fault(
        "folders that link to each other",
        NO_ROW,
        "each image counts once, by the path of the fewest links",
    ),
)
