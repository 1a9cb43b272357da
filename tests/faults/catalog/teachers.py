"""Faults: teachers."""

from tests.faults.endings import REFUSED, Fault

TITLE = "Teachers"
FAULTS = (
    Fault("teacher directory that does not exist", REFUSED, mentions=("nothing",)),
    Fault("teacher whose training is not complete", REFUSED, mentions=("COMPLETED",)),
    Fault("teacher without classifier.json", REFUSED, mentions=("classifier.json",)),
    Fault(
        "teacher with a broken classifier.json", REFUSED, mentions=("classifier.json",)
    ),
    Fault("teacher without a SavedModel", REFUSED, mentions=("SavedModel",)),
    Fault("teacher with a broken SavedModel", REFUSED, mentions=("SavedModel",)),
    Fault(
        "teacher without its weights", REFUSED, mentions=("variables/variables.index",)
    ),
    Fault("teacher with truncated weights", REFUSED, mentions=("variables",)),
    Fault(
        "teacher with the weights of another",
        REFUSED,
        "they are compared with the fingerprint in `classifier.json`",
        mentions=("export", "classifier.json"),
    ),
    Fault(
        "class names in another order than the teacher's",
        REFUSED,
        "`classifier.json` was edited",
        mentions=("class names", "classifier.json"),
    ),
    Fault(
        "SavedModel without the expected signatures",
        REFUSED,
        mentions=("'preprocess'", "'pixels'", "serving_default", "teacher.train"),
    ),
    Fault(
        "SavedModel with another number of classes than classifier.json",
        REFUSED,
        mentions=("3 classes", "4"),
    ),
    Fault(
        "teacher whose ONNX file is another's",
        REFUSED,
        "it is compared with the fingerprint in `classifier.json`",
        mentions=("network.onnx", "classifier.json"),
    ),
    Fault(
        "teacher that is an ONNX file, with an engine that does not run it",
        REFUSED,
        mentions=("--engine=tensorflow", "onnxruntime"),
    ),
    Fault("two teachers with different classes", REFUSED, mentions=("3 classes", "2")),
    Fault("engine that is not installed", REFUSED, mentions=("OpenVINO",)),
    Fault(
        "neither a teacher nor a model handler",
        REFUSED,
        mentions=("--teacher", "--model_handler"),
    ),
    Fault(
        "model handler in a module that does not exist",
        REFUSED,
        mentions=("'no_such_module'",),
    ),
    Fault(
        "model handler that its module does not define",
        REFUSED,
        mentions=("'Handler'",),
    ),
    Fault(
        "model handler that is not a Beam ModelHandler",
        REFUSED,
        mentions=("ModelHandler", "OrderedDict"),
    ),
    Fault(
        "model handler whose construction fails",
        REFUSED,
        mentions=("no license for this model",),
    ),
    Fault(
        "model handler in a module with a syntax error",
        REFUSED,
        mentions=("invalid syntax",),
    ),
    Fault(
        "class name of millions of characters in classifier.json",
        REFUSED,
        mentions=("classifier.json", "class_names[1]", "1,000"),
    ),
    Fault("file of class names that does not exist", REFUSED, mentions=("names.txt",)),
    Fault("file of class names that is not UTF-8", REFUSED, mentions=("names.txt",)),
)
