"""Faults: teachers."""

from tests.faults.endings import FAILED, REFUSED, Fault

TITLE = "Teachers"
FAULTS = (
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
)
