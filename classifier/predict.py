r"""Prints the most probable classes of images.

  python -m classifier.predict --classifier=runs/photos/student photos/new robin.jpg

An argument is a file, or a directory whose files are meant, in sub-directories, too.
Several classifiers answer as one, by the mean of their probabilities. A file that is no
image stands in the table with the reason, and the command ends with status 1.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from absl import flags

from stage import cli

_CLASSIFIER = flags.DEFINE_multi_string(
    "classifier",
    None,
    "Directory of a trained classifier. Given several times, the mean of their "
    "probabilities counts",
    required=True,
)
_TOP_K = flags.DEFINE_integer("top_k", 5, "Classes to name of each.", lower_bound=1)
_JSON = flags.DEFINE_bool(
    "json", False, "Print a line of JSON for each image: file, status, top or error."
)


def main(argv: Sequence[str]) -> None:
    """Answers for each image."""
    with cli.exit_on_user_error():
        if len(argv) < 2:
            raise ValueError("expected images: files, or directories of them")
        cli.load_tensorflow()
        from classifier.export.saved_model import read_ensemble_facts
        from classifier.inference import ensemble, file_predictions

        read_ensemble_facts(_CLASSIFIER.value)
        files = file_predictions.list_images(argv[1:])
    num_bad = 0
    with cli.exit_on_job_error(), _ending_with_its_reader():
        members = ensemble.Ensemble(_CLASSIFIER.value)
        width = max(
            len(file_predictions.printable(name)) for name in members.class_names
        )
        for answer in file_predictions.answers(members, files, top_k=_TOP_K.value):
            num_bad += answer.status != ensemble.OK
            cli.log(
                file_predictions.to_json(answer)
                if _JSON.value
                else file_predictions.tell(answer, width=width)
            )
    sys.exit(min(num_bad, 1))


@contextlib.contextmanager
def _ending_with_its_reader() -> Iterator[None]:
    """Ends the program where nobody reads on what it prints, as behind `| head`."""
    try:
        yield
    except BrokenPipeError:
        # Or Python would try to write the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    flags.FLAGS.set_gnu_getopt()  # Flags may stand behind the images.
    cli.run(main)
