"""Faults: labeled images."""

from tests.faults.endings import FAILED, REFUSED, RESUMABLE, WORKS, Fault

TITLE = "Labeled images"
FAULTS = (
    Fault("empty labeled set", REFUSED, mentions=("none",)),
    Fault(
        "empty split of a labeled TFDS dataset",
        REFUSED,
        "by training, evaluation, calibration and labeling",
        mentions=("train[:0]",),
    ),
    Fault(
        "`input_shards` that leaves a part without an image",
        REFUSED,
        mentions=("input_shards", "2"),
    ),
    Fault(
        "dataset without a record",
        REFUSED,
        "by student training and evaluation",
        mentions=("dataset",),
    ),
    Fault(
        "label that is text",
        REFUSED,
        mentions=("#5", "bytes_list", "'image/class/label'"),
    ),
    Fault("label that is a float", REFUSED, mentions=("#5", "float_list")),
    Fault("image with two labels", REFUSED, mentions=("#5", "one integer", "2")),
    Fault(
        "label feature without a value",
        REFUSED,
        mentions=("#5", "'image/class/label'", "0"),
    ),
    Fault(
        "labeled image without a label",
        REFUSED,
        mentions=("#5", "'image/class/label'", "--label_feature"),
    ),
    Fault(
        "negative label",
        REFUSED,
        "some datasets mark unlabeled images with -1",
        mentions=("#5", "0..2", "none"),
    ),
    Fault(
        "label that is not below the number of classes",
        REFUSED,
        mentions=("#5", "0..2", "3"),
    ),
    Fault(
        "class names that are not those of the folders",
        REFUSED,
        "`--class_names`",
        mentions=("class 2", "'c'", "'x'"),
    ),
    Fault(
        "labeled records with other feature names",
        REFUSED,
        "`--image_feature` and `--label_feature` set the names",
        mentions=("'image/encoded'", "'picture'", "--image_feature"),
    ),
    Fault(
        "sample without a label in a labeled tar file",
        REFUSED,
        mentions=("#5", "'cls'", "--label_feature"),
    ),
    Fault(
        "label in a tar file that is not a whole number",
        REFUSED,
        mentions=("#5", "digits"),
    ),
    Fault(
        "sample with two labels in a tar file", REFUSED, mentions=("#5", "'cls'", "2")
    ),
    Fault(
        "upper-case extensions in a labeled tar file", WORKS, "the case does not matter"
    ),
    Fault(
        "compressed labeled records, whatever the file's name",
        WORKS,
        "training and labeling recognize gzip and zlib by content",
    ),
    Fault(
        "compressed records that TensorFlow reads in part",
        REFUSED,
        "by training: several zlib streams in a file, or padding",
        mentions=("ZLIB", "2 of 4"),
    ),
    Fault("corrupt record in a training set", REFUSED, mentions=("#5", "checksum")),
    Fault(
        "undecodable image in a training set",
        REFUSED,
        "its header is read wherever it stands in the set",
        mentions=("#5", "no header"),
    ),
    Fault(
        "labels that changed under the same file names",
        REFUSED,
        "by training, evaluation and calibration into the same directory",
        mentions=("labels have changed", "delete"),
    ),
    Fault(
        "images that changed under the same file names",
        REFUSED,
        "by training, evaluation and calibration into the same directory",
        mentions=("images or labels have changed", "delete"),
    ),
    Fault("images that change during training", FAILED, mentions=("part",)),
    Fault(
        "file server that does not answer during training",
        RESUMABLE,
        "Ctrl-C and SIGTERM end the training",
    ),
    Fault(
        "class name that a dataset cannot hold",
        REFUSED,
        "blanks around it, control characters, line breaks, bytes that are not UTF-8",
    ),
    Fault(
        "class name of millions of characters",
        REFUSED,
        "limit: 1,000 characters, here and in artifacts",
        mentions=("names.txt", "1,000"),
    ),
    Fault(
        "byte-order mark in a TFDS dataset's class names",
        WORKS,
        "`*.labels.txt`; the mark is not part of the first name",
    ),
    Fault(
        "TFDS dataset with another number of class names than classes",
        REFUSED,
        "TFDS itself passes over it",
        mentions=("class.labels.txt", "3", "4"),
    ),
    Fault(
        "TFDS dataset with class names that are not UTF-8",
        REFUSED,
        "TFDS itself would name the classes by numbers",
        mentions=("class.labels.txt", "UTF-8"),
    ),
    Fault(
        "blank line between class names",
        REFUSED,
        "labels are numbers of lines; blank lines at the end do not count",
        mentions=("names.txt", "line 3"),
    ),
    Fault(
        "file of class names with a byte-order mark",
        WORKS,
        "the mark is not part of the first name",
    ),
    Fault(
        "student training without `--pseudo_labeled`",
        WORKS,
        "it says that it uses labeled images alone",
        mentions=("--pseudo_labeled",),
    ),
)
