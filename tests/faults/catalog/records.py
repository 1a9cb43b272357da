"""Faults: records and samples."""

from tests.faults.endings import LABELED, NO_ROW, Fault

TITLE = "Records and samples"
FAULTS = (
    Fault(
        "truncated record",
        "corrupt_record",
        "one row for what is lost; the file ends within a record",
    ),
    Fault(
        "wrong checksum of a record", "corrupt_record", "wrong checksum of the content"
    ),
    Fault(
        "wrong checksum of a record's length",
        "corrupt_record",
        "one row for the rest of the file; wrong checksum of the length",
    ),
    Fault("shard of zero bytes", NO_ROW),
    Fault("text as TFRecord", "corrupt_record", "wrong checksum of the length"),
    Fault("compressed TFRecord of any name", LABELED, "gzip or zlib"),
    Fault(
        "truncated compressed TFRecord",
        "corrupt_record",
        "one row for what is lost; the compressed data ends too early",
    ),
    Fault(
        "shard that vanishes after the listing",
        "missing",
        "one row for all its images",
        mentions=("No such file",),
    ),
    Fault(
        "TFRecord file cut between two records after the listing",
        "changed",
        "one row for all its images",
        mentions=("bytes, has",),
    ),
    Fault(
        "tar file that was overwritten since the listing",
        "changed",
        "one row for all its images",
        mentions=("1970-01-01 00:00:07.000000000",),
    ),
    Fault("record that is no Example", "bad_record", mentions=("tf.train.Example",)),
    Fault(
        "record without the image's feature",
        "bad_record",
        mentions=("'image/encoded'", "'photo'"),
    ),
    Fault(
        "image's feature of another type",
        "bad_record",
        mentions=("'image/encoded'", "int64_list"),
    ),
    Fault("record of two images", "bad_record", mentions=("'image/encoded'", "2")),
    Fault("record of an image of zero bytes", "empty", "no bytes"),
    Fault("label of another type", LABELED, "labels are not read"),
    Fault(
        "truncated tar file",
        "corrupt_record",
        "one row for what is lost; the file ends early",
    ),
    Fault("text as tar file", "corrupt_record", "no tar header"),
    Fault("concatenated tar files", LABELED),
    Fault("concatenated tar files, each compressed", LABELED),
    Fault("zeros within a tar file", LABELED),
    Fault("zeros behind a tar file", LABELED, "any number of them"),
    Fault("words behind a tar file", "corrupt_record", "no tar header"),
    Fault(
        "tar file cut between two members",
        "corrupt_record",
        "the file ends without an end mark",
    ),
    Fault(
        "truncated compressed tar file",
        "corrupt_record",
        "the compressed data ends too early",
    ),
    Fault(
        "wrong checksum of a compressed tar file",
        "corrupt_record",
        "the last row: any image before it may be another",
        mentions=("incorrect data check",),
    ),
    Fault(
        "tar file that decompresses to a thousand times its size",
        "corrupt_record",
        "from a GiB on",
        mentions=("100 times",),
    ),
    Fault("member of 2^62 bytes", "corrupt_record", "the file ends within a member"),
    Fault(
        "name of gigabytes in a tar file",
        "corrupt_record",
        mentions=("3,221,225,472", "1,048,576"),
    ),
    Fault("thousands of names for one member", LABELED, "the last counts"),
    Fault("sparse file in a tar file", "bad_record", mentions=("sparse",)),
    Fault("sample without an image", "bad_record", mentions=("0", "'txt'")),
    Fault("sample of two images", "bad_record", mentions=("2", "'jpg', 'png'")),
    Fault("link in a tar file", "bad_record", mentions=("'elsewhere.png'",)),
    Fault(
        "sample whose name leads out of its folder",
        LABELED,
        "nothing is unpacked to disk",
    ),
    Fault("two samples of one name", LABELED, "keys have the sample's number"),
)
