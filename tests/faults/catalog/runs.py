"""Faults: settings of a run, and variables of make."""

from tests.faults.endings import REFUSED, WORKS, Fault

TITLE = "Runs, and variables of make"
FAULTS = (
    Fault(
        "special characters in a make variable",
        WORKS,
        "blanks, quotes, dollar signs and semicolons are passed on unchanged",
    ),
    Fault("make variable with a line break", REFUSED, mentions=("LABELED=", "line")),
    Fault(
        "unknown make variable on the command line",
        REFUSED,
        "the nearest known one is named",
        mentions=("LABELLED", "nearest is 'LABELED'"),
    ),
    Fault(
        "make variable of an earlier version",
        REFUSED,
        "what has replaced it is named",
        mentions=("FOLDS=", "SET=teacher.folds=3"),
    ),
    Fault("make with a Python that is too old", REFUSED, mentions=("3.11", "PYTHON=")),
    Fault(
        "unknown setting of a run file",
        REFUSED,
        "the nearest known one is named",
        mentions=("teacher.presett", "nearest is 'teacher.preset'"),
    ),
    Fault("setting of a run of another type", REFUSED, mentions=("seed", "many")),
    Fault("setting of a run outside of its limits", REFUSED),
    Fault("run file that is no TOML", REFUSED, mentions=("run.toml", "TOML")),
    Fault(
        "run without the images that it needs",
        REFUSED,
        mentions=("expected data.unlabeled",),
    ),
    Fault("more than 20 sources in data.exclude", REFUSED, mentions=("20", "exclude")),
    Fault(
        "labeling.neighbors with a calibration",
        REFUSED,
        "by data.calibration, teacher.folds or teacher.features",
        mentions=("expected labeling.neighbors = 0",),
    ),
    Fault(
        "teacher.features with settings of a network",
        REFUSED,
        "members, folds and consistency",
        mentions=("expected features without",),
    ),
    Fault(
        "preset, setting or flag of a later stage that there is not",
        REFUSED,
        "the section of the run file is named",
    ),
    Fault("directory of a run inside its images", REFUSED, mentions=("lies in",)),
    Fault("images of a run that are not there", REFUSED, mentions=("no folder",)),
    Fault(
        "setting corrected after a failed first stage",
        WORKS,
        "the run continues with the corrected settings, as nothing was made",
    ),
    Fault(
        "run with other settings than its stages were made by",
        REFUSED,
        "each stale stage is named with the reason; `--remake` makes them anew",
        mentions=("round-1/selection", "confidence_threshold", "0.51", "--remake"),
    ),
    Fault(
        "images or labels that changed since a run has read them",
        REFUSED,
        "local files are compared by names, sizes and times",
        mentions=("round-1/", "files of ", "--remake"),
    ),
    Fault(
        "images that are gone when a finished run is reported on",
        WORKS,
        "by `noisy-student report RUN`; only stages that read them need them",
    ),
    Fault(
        "run that make of an earlier version has begun",
        WORKS,
        "each stage compares the settings in its directory itself",
    ),
)
