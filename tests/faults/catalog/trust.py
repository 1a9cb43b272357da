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
    Fault(
        "special characters in a make variable that names a source",
        WORKS,
        "passed on unchanged",
    ),
    Fault("make variable with a dollar sign", REFUSED, mentions=("dollar", "got ")),
    Fault("make variable with a line break", REFUSED, mentions=("line",)),
    Fault("RUN= with special characters", REFUSED, mentions=("RUN=",)),
    Fault(
        "EXCLUDE= with a path that has blanks",
        REFUSED,
        "blanks separate its sources; a link without blanks helps",
        mentions=("EXCLUDE=", "link"),
    ),
    Fault("EXCLUDE= with more than 20 sources", REFUSED, mentions=("20", "EXCLUDE=")),
    Fault(
        "LABELED= without EVALUATION=",
        REFUSED,
        "or EVALUATION= without LABELED=",
        mentions=("LABELED=", "EVALUATION="),
    ),
    Fault(
        "make without IMAGES= that needs unlabeled images",
        REFUSED,
        mentions=("expected IMAGES=",),
    ),
    Fault(
        "make variable that should be a number", REFUSED, mentions=("expected ", "got ")
    ),
    Fault(
        "NEIGHBORS= with FEATURES=, FOLDS= or CALIBRATION=",
        REFUSED,
        mentions=("expected NEIGHBORS=0", "got NEIGHBORS="),
    ),
    Fault(
        "FEATURES= with settings of a network",
        REFUSED,
        "FOLDS=, TEACHERS= and CONSISTENCY=on",
        mentions=("expected FEATURES= without", "got "),
    ),
    Fault(
        "PRESET=auto without LABELED=", REFUSED, mentions=("LABELED=", "PRESET=auto")
    ),
    Fault(
        "make -n with PRESET=auto before make setup",
        REFUSED,
        "it would install, to choose",
        ("make setup", "PRESET="),
    ),
    Fault(
        "choice of a run that holds more than names",
        REFUSED,
        "`choice.mk` is part of the Makefile, so it could run programs",
        ("expected names in runs/x/choice/choice.mk",),
    ),
    Fault("preset or flag of a later stage that there is not", REFUSED),
    Fault(
        "PYTHON= or IMAGE= with special characters",
        REFUSED,
        mentions=("expected ", "got "),
    ),
    Fault(
        "unknown make variable on the command line",
        REFUSED,
        "all that exist are named",
        ("LABELD=",),
    ),
    Fault(
        "make variable corrected after a failed first stage",
        WORKS,
        "the run continues with the corrected settings, as nothing was made",
    ),
    Fault(
        "make with other settings than the run was begun with",
        REFUSED,
        "what differs is named",
        mentions=("IMAGES=folder:all, got IMAGES=folder:others", "settings"),
    ),
    Fault(
        "images or labels that changed since make began the run",
        REFUSED,
        "local files are compared by names, sizes and times",
        mentions=("RUN=", "settings"),
    ),
    Fault(
        "images of a new run of make that are not there",
        REFUSED,
        "unless they are on another file system, or the run makes them",
        mentions=("no such files",),
    ),
    Fault(
        "images that are gone when make reports on a finished run",
        WORKS,
        "only stages that read them need them",
    ),
    Fault(
        "run that make of an earlier version has begun",
        WORKS,
        "its settings are compared, its images from now on",
    ),
)
