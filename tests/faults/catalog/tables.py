"""Faults: Parquet and CSV files."""

from tests.faults.endings import LABELED, REFUSED, WORKS, Fault

TITLE = "Parquet and CSV files"
FAULTS = (
    Fault(
        "text file among Parquet files",
        "corrupt_record",
        "one row for the whole file",
        mentions=("Parquet",),
    ),
    Fault(
        "truncated Parquet file",
        "corrupt_record",
        "one row for the whole file, whose footer is lost",
        mentions=("Parquet",),
    ),
    Fault(
        "damaged row group of a Parquet file",
        "corrupt_record",
        "a row for each image that is lost; reading continues with the next row group",
        mentions=("row group 1",),
    ),
    Fault(
        "Parquet file deleted after the source was listed",
        "missing",
        "a row for each of its images",
        mentions=("No such file",),
    ),
    Fault(
        "Parquet file overwritten after the source was listed",
        "changed",
        "a row for each of its images",
        mentions=("1970-01-01 00:00:07.000000000",),
    ),
    Fault(
        "null in place of an image in a Parquet file",
        "bad_record",
        mentions=("'image'", "null"),
    ),
    Fault(
        "path in place of an image in a Parquet file",
        "bad_record",
        "the file that it names is not opened",
        mentions=("'image'", "'/etc/passwd'"),
    ),
    Fault("image of zero bytes in a Parquet file", "empty", "no bytes"),
    Fault(
        "Parquet file whose images are texts, among others",
        "bad_record",
        "a row for each of its images",
        mentions=("'image'", "string"),
    ),
    Fault(
        "labels of a Parquet file to be labeled that are lists",
        LABELED,
        "labels are not read",
    ),
    Fault(
        "Parquet files without a column of images",
        REFUSED,
        mentions=("'image'", "--image_column", "'photo': string"),
    ),
    Fault(
        "Parquet files that disagree about the classes",
        REFUSED,
        mentions=("1.parquet", "expected class 0 to be 'a', got 'b'"),
    ),
    Fault("no Parquet file among the files", REFUSED, mentions=("note.txt",)),
    Fault(
        "CSV file without a column of paths",
        REFUSED,
        mentions=("'path'", "--image_column", "'file'"),
    ),
    Fault(
        "CSV line with a value too few",
        REFUSED,
        mentions=("2 values in line 3", "got 1"),
    ),
    Fault(
        "binary file in place of a CSV file",
        REFUSED,
        "limit of a line: 1 MiB",
        mentions=("1,048,576",),
    ),
    Fault(
        "path that a CSV file lists twice", REFUSED, mentions=("0.png", "listed twice")
    ),
    Fault(
        "file that a CSV file lists and that is not there",
        "missing",
        mentions=("No such file",),
    ),
    Fault("folder that a CSV file lists", "unreadable", mentions=("directory",)),
    Fault(
        "path in a CSV file that leads out of its folder",
        LABELED,
        "the file is read, and the key has no `..`",
    ),
    Fault(
        "dataset of the Hugging Face Hub that cannot be read",
        REFUSED,
        mentions=("owner/birds", "parquet:GLOB"),
    ),
    Fault(
        "directory of a TFDS dataset in place of a folder",
        REFUSED,
        mentions=(":train",),
    ),
    Fault(
        "file beside the folders of the classes",
        REFUSED,
        "by training; hidden files do not count, and `init` names it before",
        mentions=("'Thumbs.db'", "sub-folder"),
    ),
    Fault(
        "file in the folder of a class that is no image",
        REFUSED,
        "by training; hidden files do not count, and `init` names it before",
        mentions=("a/Thumbs.db", "no header"),
    ),
    Fault(
        "folder of a class without an image",
        WORKS,
        "a warning names it, since it is no class",
        mentions=("'empty'",),
    ),
)
