r"""Prints the most probable classes of images.

  python -m classifier.predict --classifier=runs/photos/student photos/new robin.jpg

An argument is a file, or a directory whose files are read, sub-directories included.
The probabilities, at the temperature of a probe's calibration if there is one, are
averaged over several classifiers. A file that cannot be decoded is listed with the
reason, and the command exits with status 1. `--format=csv` prints a line for each class
of a file, `--format=json` a line for each file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from stage import cli
from stage.flags import CommandFlags
from stage.status import OK

FLAGS = CommandFlags()
_CLASSIFIER = FLAGS.members("classifier")
_TOP_K = FLAGS.top_k(5, "Number of classes to print per image.")
_FORMAT = FLAGS.choice(
    "format",
    "table",
    ("table", "csv", "json"),
    "Table of one row per image; CSV of one row per image and class; one line of JSON "
    "per image, with file, status, top or error.",
)


def main(argv: Sequence[str]) -> None:
    """Predicts each image."""
    with cli.exit_on_user_error():
        if len(argv) < 2:
            raise ValueError("expected images: files, or directories of them")
        cli.load_tensorflow()
        from classifier.export.facts import own_temperature
        from classifier.export.saved_model import read_ensemble_facts
        from classifier.inference import ensemble, file_predictions

        facts = read_ensemble_facts(_CLASSIFIER.value)
        temperatures = list(map(own_temperature, _CLASSIFIER.value, facts))
        files = file_predictions.list_images(argv[1:])
    num_bad = 0
    with cli.exit_on_job_error():
        members = ensemble.Ensemble(_CLASSIFIER.value, temperature=temperatures)
        layout = file_predictions.make_layout(
            _FORMAT.value, files=files, class_names=members.class_names
        )
        for line in layout.header:
            cli.log(line)
        for prediction in file_predictions.predict_files(
            members, files, top_k=_TOP_K.value
        ):
            num_bad += prediction.status != OK
            cli.log(layout.lines(prediction))
            if not cli.can_print():  # As in `| head`.
                break
    sys.exit(min(num_bad, 1))


if __name__ == "__main__":
    cli.run(main, FLAGS)
