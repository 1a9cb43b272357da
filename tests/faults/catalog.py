"""All faults that are tested; `docs/faults.md` is generated from this list."""

import dataclasses

LABELED = "labeled"
NO_ROW = "no row"
REFUSED = "error before any work"
FAILED = "error"
FAILED_RESUMABLE = "error, resumable"
CONTINUES = "continues"
RESUMABLE = "resumable"
#: Statuses of rows without a prediction.
STATUSES = (
    *("empty", "undecodable", "too_large", "missing", "unreadable"),
    *("corrupt_record", "bad_record", "not_finite"),
)


@dataclasses.dataclass(frozen=True)
class Fault:
    """What can be wrong, and how a job ends.

    Attributes:
        name: The fault, unique.
        end: One of the constants above, or the status of the image's row.
        note: Explanation for the page; not checked.
        mentions: Parts of the message that identify the cause: names, values, codes.
    """

    name: str
    end: str
    note: str = ""
    mentions: tuple[str, ...] = ()

    @property
    def is_row(self) -> bool:
        """Whether it ends as a row without a prediction."""
        return self.end in STATUSES

    @property
    def status(self) -> str:
        """The status of the image's row; `ok` where it is labeled."""
        assert self.is_row or self.end == LABELED, self
        return self.end if self.is_row else "ok"

    @property
    def ending(self) -> str:
        """The end, as the page words it."""
        return f"row `{self.end}`" if self.is_row else self.end

    def check(self, message: str) -> None:
        """Checks that a message mentions the cause."""
        assert message
        for mention in self.mentions:
            assert mention in message, f"expected {mention!r} in {message!r}"


FAULTS = (
    Fault("image of zero bytes", "empty", "no bytes"),
    Fault("text named as an image", "undecodable", "no header of a supported format"),
    Fault(
        "error page of a web server", "undecodable", "no header of a supported format"
    ),
    Fault("truncated JPEG", "undecodable", mentions=("Invalid JPEG data",)),
    Fault("JPEG without its end mark", "undecodable", mentions=("Invalid JPEG data",)),
    Fault("JPEG of two bytes", "undecodable", "no header of a supported format"),
    Fault("truncated PNG", "undecodable", mentions=("Invalid PNG data",)),
    Fault("PNG with a wrong checksum", "undecodable", mentions=("Invalid PNG data",)),
    Fault("PNG of zero width", "undecodable", "no header of a supported format"),
    Fault("truncated GIF", "undecodable", mentions=("Invalid GIF data",)),
    Fault("truncated BMP", "undecodable", mentions=("Input size should match",)),
    Fault("truncated WebP", "undecodable", "no header of a supported format"),
    Fault("animated WebP", "undecodable", mentions=("WebP Animation",)),
    Fault("TIFF", "undecodable", "no header of a supported format"),
    Fault("AVIF", "undecodable", "no header of a supported format"),
    Fault("HEIC", "undecodable", "no header of a supported format"),
    Fault("JPEG 2000", "undecodable", "no header of a supported format"),
    Fault("JPEG XL", "undecodable", "no header of a supported format"),
    Fault("SVG", "undecodable", "no header of a supported format"),
    Fault("image with more pixels than the limit", "too_large"),
    Fault(
        "PNG header that claims billions of pixels",
        "too_large",
        "refused before decoding",
    ),
    Fault(
        "JPEG header that claims billions of pixels",
        "too_large",
        "refused before decoding",
    ),
    Fault("GIF of many frames", "too_large", "the decoder unpacks them all"),
    Fault(
        "GIF with a huge frame behind a small one", "too_large", "as for many frames"
    ),
    Fault(
        "PNG above the limit behind a broken text",
        "undecodable",
        "its size cannot be read; no header of a supported format",
    ),
    Fault("progressive JPEG", LABELED),
    Fault("grayscale JPEG", LABELED, "three equal channels"),
    Fault("CMYK JPEG", LABELED, "in RGB"),
    Fault("JPEG with bytes behind its end", LABELED),
    Fault("JPEG named as PNG", LABELED, "names do not count"),
    Fault(
        "EXIF rotation",
        LABELED,
        "as it is stored, not turned: so it is trained on, too",
    ),
    Fault("PNG of 16 bits", LABELED, "by the upper eight"),
    Fault("gray PNG of 16 bits", LABELED, "by the upper eight"),
    Fault("PNG of black and white", LABELED),
    Fault("PNG with a palette", LABELED),
    Fault("PNG with a palette and alpha", LABELED, "without the alpha"),
    Fault("PNG with alpha", LABELED, "without the alpha"),
    Fault("BMP", LABELED),
    Fault("animated GIF", LABELED, "its first frame"),
    Fault("WebP", LABELED),
    Fault("image of one pixel", LABELED),
    Fault("image a thousand times as wide as high", LABELED, "its center"),
    Fault(
        "file that vanishes after the listing", "missing", mentions=("No such file",)
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
    Fault(
        "link that leads back to its own folder", NO_ROW, "each image of it counts once"
    ),
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
    Fault("no teacher in its place", REFUSED, mentions=("nothing",)),
    Fault("teacher whose training has not ended", REFUSED, mentions=("COMPLETED",)),
    Fault("teacher without classifier.json", REFUSED, mentions=("classifier.json",)),
    Fault(
        "teacher with a broken classifier.json", REFUSED, mentions=("classifier.json",)
    ),
    Fault("teacher without a SavedModel", REFUSED, mentions=("SavedModel",)),
    Fault("teacher with a broken SavedModel", REFUSED, mentions=("SavedModel",)),
    Fault(
        "teacher without its weights", REFUSED, mentions=("variables/variables.index",)
    ),
    Fault("teacher whose weights are cut off", REFUSED, "the weights are cut off"),
    Fault(
        "teacher whose weights are cut off, its engine named",
        FAILED,
        "the weights are cut off",
    ),
    Fault(
        "SavedModel without the signature",
        REFUSED,
        mentions=("'preprocess'", "'pixels'", "serving_default", "teacher.train"),
    ),
    Fault(
        "SavedModel of another number of classes", REFUSED, mentions=("3 classes", "4")
    ),
    Fault("two teachers of different classes", REFUSED, mentions=("3 classes", "2")),
    Fault("engine that is not installed", REFUSED, mentions=("OpenVINO",)),
    Fault(
        "neither a teacher nor a model handler",
        REFUSED,
        mentions=("--teacher", "--model_handler"),
    ),
    Fault(
        "model handler of a module that is not there",
        REFUSED,
        mentions=("'no_such_module'",),
    ),
    Fault("model handler that its module has not", REFUSED, mentions=("'Handler'",)),
    Fault(
        "model handler that is none", REFUSED, mentions=("ModelHandler", "OrderedDict")
    ),
    Fault(
        "model handler that cannot be made",
        REFUSED,
        mentions=("no license for this model",),
    ),
    Fault(
        "model handler whose module is broken", REFUSED, mentions=("invalid syntax",)
    ),
    Fault("no file of class names", REFUSED, mentions=("names.txt",)),
    Fault("class names that are not UTF-8", REFUSED, mentions=("names.txt",)),
    Fault("output of another teacher", REFUSED, mentions=("teachers",)),
    Fault("output that holds other files", REFUSED, "the directory is not empty"),
    Fault("output that is a file", REFUSED, mentions=("Not a directory",)),
    Fault("output below a file", REFUSED),
    Fault("output with a broken config.json", REFUSED, mentions=("config.json",)),
    Fault("output with a broken shards.parquet", REFUSED, mentions=("shards.parquet",)),
    Fault("read-only output", REFUSED),
    Fault(
        "bucket without the right to write",
        REFUSED,
        mentions=("gs://no-such-bucket/out", "[Errno 13]"),
    ),
    Fault(
        "image deleted since the first run",
        REFUSED,
        mentions=("00001.png", "1 gone", "0 changed", "0 new"),
    ),
    Fault(
        "image of another size since the first run", REFUSED, mentions=("00001.png",)
    ),
    Fault(
        "image added since the first run",
        REFUSED,
        mentions=("00003.png", "--allow_new_shards"),
    ),
    Fault("model that returns NaN", "not_finite", "the network's output is not finite"),
    Fault(
        "model of another number of classes",
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
    Fault("more top classes than there are", LABELED, "with all of them"),
    Fault(
        "source broken as a whole",
        FAILED,
        mentions=("57.1%", "7 images", "3 ok, 4 undecodable", "50.0%"),
    ),
    Fault("source found to be broken midway", FAILED, mentions=("undecodable",)),
    Fault("no image in any shard", FAILED),
    Fault(
        "read error that stays",
        FAILED_RESUMABLE,
        mentions=("shard 1 (part-1): [Errno 110]",),
    ),
    Fault(
        "disk that fills up",
        FAILED_RESUMABLE,
        mentions=("shard ", "No space left on device"),
    ),
    Fault(
        "full disk", FAILED_RESUMABLE, mentions=("shard ", "No space left on device")
    ),
    Fault("two jobs on one output", FAILED, "the output is locked", mentions=("out",)),
    Fault(
        "two commands on one output", FAILED, "the output is locked", mentions=("out",)
    ),
    Fault("temporary files of a run that was killed", CONTINUES),
    Fault("run killed before it wrote a file", CONTINUES),
    Fault(
        "truncated predictions file", FAILED, mentions=("predictions-00001.parquet",)
    ),
    Fault(
        "predictions of another program",
        FAILED,
        mentions=("predictions-00001.parquet",),
    ),
    Fault("predictions of another job", FAILED, mentions=("predictions-",)),
    Fault(
        "predictions deleted after the end",
        REFUSED,
        "selection",
        mentions=("predictions",),
    ),
    Fault("image changed since it was labeled", FAILED, "writing"),
    Fault(
        "full disk, records to be written to it",
        FAILED_RESUMABLE,
        "writing",
        mentions=("shards 0 to 5", "No space left on device"),
    ),
    Fault(
        "full temporary directory",
        FAILED_RESUMABLE,
        "writing",
        mentions=("No space left on device", "TMPDIR="),
    ),
    Fault(
        "dataset of another number of shards",
        REFUSED,
        "writing",
        mentions=("num_shards", "6", "5"),
    ),
    Fault("writing command that is killed", RESUMABLE),
    Fault(
        "predictions damaged since they were written",
        FAILED,
        "selection",
        mentions=("predictions-00001.parquet",),
    ),
    Fault("clock that goes back", LABELED),
    Fault("temporary directory that is not there", LABELED, "in the next that is"),
    Fault("worker process that is killed", CONTINUES, mentions=("137",)),
    Fault("Ctrl-C", RESUMABLE),
    Fault("command that is killed", RESUMABLE),
)
