r"""Exports a classifier's network for use elsewhere, and checks what it has written.

  python -m classifier.export_model --classifier=runs/photos/student \
      --output=student.onnx

The ending of --output tells the format:

  student.onnx   ONNX: `pixels` uint8 [B,S,S,3] to `logits` float32 [B,K]; the names of
                 the classes are in its metadata
  student.keras  Keras, of its own layers alone: opens without this project
  student/       SavedModel, image bytes to logits; no ending will do as well

It is read again, and must give the same logits as the classifier, or nothing is left.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from stage import artifact, cli

_CLASSIFIER = flags.DEFINE_string(
    "classifier", None, "Directory of a trained classifier.", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "What to write: NAME.onnx, NAME.keras or a directory.",
    required=True,
)


def main(argv: Sequence[str]) -> None:
    """Exports one classifier."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        artifact.require_complete(_CLASSIFIER.value, "classifier")
        cli.load_tensorflow()
        from classifier.export.saved_model import read_ensemble_facts
        from classifier.inference import conversion

        read_ensemble_facts([_CLASSIFIER.value])
        conversion.check_output(_OUTPUT.value)
    with cli.exit_on_job_error():
        agreement = conversion.export(_CLASSIFIER.value, _OUTPUT.value)
    cli.log(f"{_OUTPUT.value}: {agreement}")


if __name__ == "__main__":
    cli.run(main)
