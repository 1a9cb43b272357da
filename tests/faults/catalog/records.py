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
