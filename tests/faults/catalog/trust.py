"""Faults: inputs of somebody else that would do more than be read."""

from tests.faults.endings import LABELED, REFUSED, Fault

TITLE = "Inputs that are not trusted"
_FEATURE = ("'planted.Feature'",)
FAULTS = (
    Fault(
        "TFDS dataset whose features name a class of its own",
        REFUSED,
        "TFDS would import it",
        _FEATURE,
    ),
    Fault("such a feature in other features", REFUSED, mentions=_FEATURE),
    Fault("such a feature, as earlier TFDS wrote it", REFUSED, mentions=_FEATURE),
    Fault("such a feature in dataset_info.json", REFUSED, mentions=_FEATURE),
    Fault("TFDS dataset whose files are elsewhere", REFUSED, mentions=("/etc",)),
    Fault(
        "TFDS dataset of a namespace",
        REFUSED,
        "TFDS would download its code",
        ("huggingface:",),
    ),
    Fault(
        "classifier whose graph writes a file",
        REFUSED,
        "in predicting, evaluating, calibrating and converting, too",
        ("export", "'WriteFile'"),
    ),
    Fault("classifier whose graph reads a file", REFUSED, mentions=("'ReadFile'",)),
    Fault("classifier whose graph calls Python", REFUSED, mentions=("'EagerPyFunc'",)),
    Fault(
        "classifier whose graph calls what saves its weights",
        REFUSED,
        mentions=("traced_save",),
    ),
    Fault(
        "classifier whose model.keras names layers of its own",
        LABELED,
        "only weights are read from it, in converting and by `--init_from`",
    ),
    Fault(
        "control characters in names",
        LABELED,
        "escaped on the terminal, the card and the page, unchanged in files of data",
    ),
    Fault(
        "control characters in an argument",
        REFUSED,
        "escaped",
        (r"\x1b]0;", r"\u202e"),
    ),
    Fault(
        "make variable of a source with blanks, quotes and other characters",
        LABELED,
        "it arrives as it is",
    ),
    Fault("make variable with a dollar sign", REFUSED, mentions=("dollar", "got ")),
    Fault("make variable of several lines", REFUSED, mentions=("line",)),
    Fault("RUN= that is no plain path", REFUSED, mentions=("RUN=",)),
    Fault(
        "EXCLUDE= of a path with blanks",
        REFUSED,
        "its sources are separated by blanks",
        ("EXCLUDE=", "link"),
    ),
    Fault("more than 20 sources to exclude", REFUSED, mentions=("20", "EXCLUDE=")),
    Fault(
        "LABELED= without EVALUATION=",
        REFUSED,
        "or the reverse",
        ("LABELED=", "EVALUATION="),
    ),
    Fault("number for make that is none", REFUSED, mentions=("expected ", "got ")),
    Fault("make corrected after a typing error", LABELED, "nothing was made yet"),
    Fault(
        "run of make begun with other settings",
        REFUSED,
        mentions=("IMAGES=folder:all", "settings"),
    ),
)
