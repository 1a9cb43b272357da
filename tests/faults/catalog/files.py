"""Faults: files and folders."""

from tests.faults.endings import LABELED, NO_ROW, Fault

TITLE = "Files and folders"
FAULTS = (
    Fault(
        "file deleted after the source was listed",
        "missing",
        mentions=("No such file",),
    ),
    Fault(
        "image file that grew after the source was listed",
        "changed",
        mentions=("bytes, has",),
    ),
    Fault(
        "image file overwritten after the source was listed",
        "changed",
        "same size, another modification time",
        mentions=("1970-01-01 00:00:07.000000000",),
    ),
    Fault(
        "file replaced by a named pipe after the source was listed",
        "unreadable",
        mentions=("not a regular file",),
    ),
    Fault("dangling symbolic link", "missing", mentions=("No such file",)),
    Fault(
        "symbolic link to itself",
        "unreadable",
        mentions=("Too many levels of symbolic links",),
    ),
    Fault(
        "file without read permission", "unreadable", mentions=("Permission denied",)
    ),
    Fault(
        "file replaced by a folder after the source was listed",
        "unreadable",
        mentions=("Is a directory",),
    ),
    Fault(
        "file on a damaged part of the disk",
        "unreadable",
        "after several tries",
        mentions=("Input/output error",),
    ),
    Fault("temporary read error", LABELED, "the file is read again"),
    Fault(
        "file name that is not UTF-8",
        LABELED,
        "the key has `\\xNN` for each byte that is not UTF-8",
    ),
    Fault("file name with a line break", LABELED),
    Fault("file name with wildcards", LABELED),
    Fault("hidden file", NO_ROW),
    Fault("file in a hidden folder", NO_ROW),
    Fault("named pipe in the folder", NO_ROW),
    Fault("socket in the folder", NO_ROW),
    Fault("symbolic link to a named pipe", NO_ROW),
    Fault("symbolic link to an endless device", NO_ROW),
    Fault(
        "symbolic link to the folder that holds it", NO_ROW, "each image counts once"
    ),
    Fault(
        "folders that link to each other",
        NO_ROW,
        "each image counts once, under the path with the fewest links",
    ),
)
