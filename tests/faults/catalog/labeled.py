"""Faults: labeled images."""

from tests.faults.endings import CONTINUES, FAILED, LABELED, REFUSED, RESUMABLE, Fault

TITLE = "Labeled images"
FAULTS = (
    Fault("labeled set without an image", REFUSED, mentions=("none",)),
    Fault(
        "labeled split without an image",
        REFUSED,
        "training, evaluation, calibration and labeling",
        mentions=("train[:0]",),
    ),
    Fault("input shard without an image", REFUSED, mentions=("input_shards", "2")),
    Fault("dataset without a pseudo-labeled record", REFUSED, mentions=("dataset",)),
    Fault(
        "label that is text",
        REFUSED,
        mentions=("#5", "bytes_list", "'image/class/label'"),
    ),
    Fault("label that is a fraction", REFUSED, mentions=("#5", "float_list")),
    Fault("two labels of an image", REFUSED, mentions=("#5", "one integer", "2")),
    Fault(
        "label without a value", REFUSED, mentions=("#5", "'image/class/label'", "0")
    ),
    Fault(
        "labeled image without a label",
        REFUSED,
        mentions=("#5", "'image/class/label'", "--label_feature"),
    ),
    Fault("label that stands for none", REFUSED, mentions=("#5", "0..2", "none")),
    Fault("label above the classes", REFUSED, mentions=("#5", "0..2", "3")),
    Fault(
        "labeled records with other features",
        REFUSED,
        "the flags name them",
        mentions=("'image/encoded'", "'picture'", "--image_feature"),
    ),
    Fault(
        "tar file without labels", REFUSED, mentions=("#5", "'cls'", "--label_feature")
    ),
    Fault("label in a tar file that is no number", REFUSED, mentions=("#5", "digits")),
    Fault("two labels of a sample", REFUSED, mentions=("#5", "'cls'", "2")),
    Fault("extensions of a tar file in capitals", LABELED, "training reads them, too"),
    Fault(
        "labeled records of any compression and name",
        LABELED,
        "in training as in labeling",
    ),
    Fault(
        "compressed records that TensorFlow reads in part",
        REFUSED,
        "several zlib streams, or padding; in training",
        mentions=("ZLIB", "2 of 4"),
    ),
    Fault("broken record to train on", REFUSED, mentions=("#5", "checksum")),
    Fault(
        "image to train on that is not decoded",
        REFUSED,
        "found by its header, whatever its place",
        mentions=("#5", "no header"),
    ),
    Fault(
        "labels corrected in the same file",
        REFUSED,
        "by the directory made of the others: training, evaluation, calibration",
        mentions=("labels have changed", "delete"),
    ),
    Fault(
        "pictures replaced in the same files",
        REFUSED,
        "by the directory made of the others",
        mentions=("images or labels have changed", "delete"),
    ),
    Fault("images that change while training", FAILED, mentions=("part",)),
    Fault(
        "images that never come",
        RESUMABLE,
        "a file server that does not answer: Ctrl-C and SIGTERM end the training",
    ),
    Fault(
        "class name that a dataset cannot hold",
        REFUSED,
        "blanks around it, control characters, line breaks, bytes that are not UTF-8",
    ),
    Fault("byte-order mark before the class names", CONTINUES, "it is no part of them"),
    Fault(
        "student without pseudo-labels",
        CONTINUES,
        "a line says so",
        mentions=("--pseudo_labeled",),
    ),
)
