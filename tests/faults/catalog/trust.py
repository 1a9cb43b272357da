"""Faults: untrusted inputs, and variables of make."""

from tests.faults.endings import LABELED, REFUSED, WORKS, Fault

TITLE = "Untrusted inputs, and variables of make"
_FEATURE = ("'planted.Feature'",)
FAULTS = (
    Fault(
        "foreign Python class in a TFDS dataset's features.json",
        REFUSED,
        "TFDS itself would import it",
        mentions=_FEATURE,
    ),
    Fault("foreign Python class in a nested feature", REFUSED, mentions=_FEATURE),
    Fault(
        "foreign Python class in the features.json of an older TFDS",
        REFUSED,
        mentions=_FEATURE,
    ),
    Fault("foreign Python class in dataset_info.json", REFUSED, mentions=_FEATURE),
    Fault("TFDS dataset with files outside its directory", REFUSED, mentions=("/etc",)),
    Fault(
        "TFDS dataset with a namespace",
        REFUSED,
        "TFDS itself would download and run code",
        mentions=("huggingface:",),
    ),
    Fault(
        "classifier whose graph writes a file",
        REFUSED,
        "by labeling, prediction, evaluation, calibration and export",
        mentions=("export", "'WriteFile'"),
    ),
    Fault("classifier whose graph reads a file", REFUSED, mentions=("'ReadFile'",)),
    Fault("classifier whose graph calls Python", REFUSED, mentions=("'EagerPyFunc'",)),
    Fault(
        "classifier whose graph calls the function that saves its weights",
        REFUSED,
        mentions=("traced_save",),
    ),
    Fault(
        "foreign file in a classifier's SavedModel",
        WORKS,
        "not exported: it may be a link to any other",
    ),
    Fault(
        "foreign layer in a classifier's model.keras",
        LABELED,
        "only weights are read from the file",
    ),
    Fault(
        "features in an ONNX file with operators of others",
        REFUSED,
        "allowed are those of ONNX, and of ONNX Runtime's optimizer",
        mentions=("PyOp",),
    ),
    Fault(
        "features in an ONNX file whose tensors are outside its directory",
        REFUSED,
        mentions=("../secret",),
    ),
    Fault(
        "features in a SavedModel that reads a file",
        REFUSED,
        mentions=("'ReadFile'",),
    ),
    Fault(
        "control characters in file and class names",
        LABELED,
        "escaped on the terminal, the card and the report; unchanged in data files",
    ),
    Fault(
        "control characters in an argument",
        REFUSED,
        "escaped in the message",
        mentions=(r"\x1b]0;", r"\u202e"),
    ),
)
