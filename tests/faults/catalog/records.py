"""Faults: records and samples."""

from tests.faults.endings import LABELED, NO_ROW, WORKS, Fault

TITLE = "Records and samples"
FAULTS = (
    Fault("truncated record", "corrupt_record", "one row for what is lost"),
    Fault(
        "record whose content has a wrong checksum",
        "corrupt_record",
        "one row; reading continues with the next record",
    ),
    Fault(
        "record whose length has a wrong checksum",
        "corrupt_record",
        "one row for the rest of the file",
    ),
    Fault(
        "TFDS file with more records than the dataset claims",
        "corrupt_record",
        "one row for what TFDS does not read",
        mentions=("behind its 2 records",),
    ),
    Fault("TFRecord file of zero bytes", NO_ROW),
    Fault("text file read as TFRecord", "corrupt_record", "one row for the whole file"),
    Fault("compressed TFRecord file, whatever its name", LABELED, "gzip or zlib"),
    Fault(
        "truncated compressed TFRecord file",
        "corrupt_record",
        "one row for what is lost",
    ),
    Fault(
        "TFRecord file deleted after the source was listed",
        "missing",
        "one row for all its images",
        mentions=("No such file",),
    ),
    Fault(
        "TFRecord file truncated after the source was listed",
        "changed",
        "one row for all its images",
        mentions=("bytes, has",),
    ),
    Fault(
        "tar file overwritten after the source was listed",
        "changed",
        "one row for all its images",
        mentions=("1970-01-01 00:00:07.000000000",),
    ),
    Fault(
        "record that is not a tf.train.Example",
        "bad_record",
        mentions=("tf.train.Example",),
    ),
    Fault(
        "record without the image feature",
        "bad_record",
        mentions=("'image/encoded'", "'photo'"),
    ),
    Fault(
        "image feature of another type",
        "bad_record",
        mentions=("'image/encoded'", "int64_list"),
    ),
    Fault("record with two images", "bad_record", mentions=("'image/encoded'", "2")),
    Fault("record with an image of zero bytes", "empty", "no bytes"),
    Fault(
        "label of another type in a record to be labeled",
        LABELED,
        "labels are not read",
    ),
    Fault("truncated tar file", "corrupt_record", "one row for what is lost"),
    Fault("text file read as tar file", "corrupt_record", "no tar header"),
    Fault("concatenated tar files", LABELED),
    Fault("concatenated tar files, each compressed", LABELED),
    Fault("block of zeros within a tar file", LABELED),
    Fault(
        "zeros in place of the rest of a tar file",
        "corrupt_record",
        "more zeros than an end mark and its padding; one row",
        mentions=("bytes of zeros",),
    ),
    Fault(
        "zeros in place of a member of a tar file",
        "corrupt_record",
        "one row; the members behind them are read",
        mentions=("3,072 bytes of zeros",),
    ),
    Fault(
        "zeros in place of members that look like the end of a tar file",
        NO_ROW,
        "what is lost is not noticed: up to 1,024 bytes; up to 11,263 at the end of "
        "the file; fewer than a record and 1,024 bytes that end at a multiple of it, "
        "where a record is 512 bytes times 20, 1000, 2000 or a power of two from 32 to "
        "2048",
    ),
    Fault(
        "tar file padded to a larger record",
        LABELED,
        "`tar -b`: 1000, 2000 and powers of two up to 2048",
    ),
    Fault(
        "tar file padded to an unusual record",
        "corrupt_record",
        "`tar -b` of another value above 20: its zeros may stand for lost members; one "
        "row",
        mentions=("bytes of zeros", "-b"),
    ),
    Fault(
        "name of a volume in a tar file",
        NO_ROW,
        "`tar -V`; so are GNU's lists of a folder's files",
    ),
    Fault(
        "part of a file of another volume in a tar file",
        "bad_record",
        "`tar -M`",
        mentions=("'M'",),
    ),
    Fault("text behind the end of a tar file", "corrupt_record", "no tar header"),
    Fault(
        "tar file truncated between two members",
        "corrupt_record",
        "one row: the end-of-archive blocks are missing",
    ),
    Fault(
        "truncated compressed tar file", "corrupt_record", "one row for what is lost"
    ),
    Fault(
        "compressed tar file with a wrong checksum",
        "corrupt_record",
        "one row at the end: any image before it may be damaged",
        mentions=("incorrect data check",),
    ),
    Fault(
        "tar file that decompresses to a thousand times its size",
        "corrupt_record",
        "limit: 100 times, for files of more than 1 GiB decompressed",
        mentions=("100 times",),
    ),
    Fault(
        "tar header that claims 2^62 bytes",
        "corrupt_record",
        "one row for the rest of the file",
    ),
    Fault(
        "tar header that claims a name of 3 GB",
        "corrupt_record",
        mentions=("3,221,225,472", "1,048,576"),
    ),
    Fault(
        "tar member with thousands of long-name headers", LABELED, "the last one counts"
    ),
    Fault("sparse file in a tar file", "bad_record", mentions=("sparse",)),
    Fault("sample without an image", "bad_record", mentions=("0", "'txt'")),
    Fault("sample with two images", "bad_record", mentions=("2", "'jpg', 'png'")),
    Fault(
        "link in place of an image in a tar file",
        "bad_record",
        mentions=("'elsewhere.png'",),
    ),
    Fault("tar member with `..` in its path", LABELED, "nothing is unpacked to disk"),
    Fault(
        "two samples with the same name", LABELED, "keys include the sample's number"
    ),
    Fault(
        "record without an image, of which a teacher is to learn without labels",
        WORKS,
        "the others are learned from; the log counts it",
        mentions=("2 unlabeled", "1 cannot be used", "#1", "not a tf.train.Example"),
    ),
    Fault(
        "damaged record, of which a teacher is to learn without labels",
        WORKS,
        "nothing behind it in its file is learned from; the log names it",
        mentions=("1 unlabeled", "#1", "checksum", "nothing behind"),
    ),
)
