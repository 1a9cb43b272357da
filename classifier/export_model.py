r"""Exports a classifier's network for use elsewhere, and checks the exported file.

  python -m classifier.export_model --classifier=runs/photos/student \
      --output=student.onnx

The ending of --output selects the format:

  student.onnx   ONNX: `pixels` uint8 [B,S,S,3], 0 to 255, to `logits` float32 [B,K];
                 the class names are in its metadata
  student.keras  Keras, the same, with built-in layers only: opens without this project;
                 the class names are in classifier.json inside of it
  student/       SavedModel, image bytes to logits; for a name without a suffix

The classifier's card, README.md, has a program for each.

The exported network is read back. If its logits differ from the classifier's, it is
deleted and the command fails.
"""

from __future__ import annotations

from collections.abc import Sequence

from stage import artifact, cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_CLASSIFIER = FLAGS.string(
    "classifier", None, "Directory of a trained classifier.", required=True
)
_OUTPUT = FLAGS.output("Path to write: NAME.onnx, NAME.keras or a directory.")


def main(argv: Sequence[str]) -> None:
    """Exports one classifier."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        artifact.require_complete(_CLASSIFIER.value, "classifier")
        cli.load_tensorflow()
        from classifier.export.saved_model import read_ensemble_facts
        from classifier.inference import conversion

        (facts,) = read_ensemble_facts([_CLASSIFIER.value])
        conversion.check_output(_OUTPUT.value, facts.network)
    with cli.exit_on_job_error():
        agreement = conversion.export(_CLASSIFIER.value, _OUTPUT.value)
    cli.log(f"{_OUTPUT.value}: {agreement}")
    cli.log(conversion.describe(_OUTPUT.value, facts))


if __name__ == "__main__":
    cli.run(main, FLAGS)
