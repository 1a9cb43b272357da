r"""Evaluates a teacher, or several as one, on labeled images.

  python -m teacher.evaluate --teacher=runs/photos/teacher \
      --evaluation=folder:photos/test --output=runs/photos/evaluation

It sees what the labeling job sees: the exported graph and, of several teachers, the
mean of their probabilities. What it says of each image stands in evaluation.parquet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from absl import flags

from stage import artifact, cli

_TEACHER = flags.DEFINE_multi_string(
    "teacher",
    None,
    "Directory of a trained classifier. Given several times, the mean of their "
    "probabilities counts",
    required=True,
)
_EVALUATION = flags.DEFINE_string(
    "evaluation",
    None,
    "Labeled images: tfds:NAME:SPLIT, folder:PATH or tfrecord:GLOB.",
    required=True,
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Directory to make, for evaluation.json.", required=True
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its datasets; its own default if not given."
)
_CLASS_NAMES = flags.DEFINE_string(
    "class_names", None, "Text file, one class name a line; needed for tfrecord:."
)


def main(argv: Sequence[str]) -> None:
    """Evaluates one teacher, or one ensemble."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        cli.load_tensorflow()
        from classifier.data.class_names import check_same_classes
        from classifier.data.sources import open_source
        from classifier.export.saved_model import read_ensemble_facts
        from classifier.inference import ensemble, evaluation

        facts = read_ensemble_facts(_TEACHER.value)
        source = open_source(
            _EVALUATION.value,
            data_dir=_DATA_DIR.value,
            class_names_file=_CLASS_NAMES.value,
        )
        check_same_classes(
            facts[0]["class_names"], source.labeled_class_names(), source.spec
        )
        config = {
            "teachers": [member["fingerprint"] for member in facts],
            "evaluation": source.describe(),
        }
        if artifact.start_or_resume(_OUTPUT.value, config):
            log("already complete")
            return
    with cli.exit_on_job_error():
        rows = evaluation.evaluate(ensemble.Ensemble(_TEACHER.value), source)
        figures = evaluation.summarize(rows)
        evaluation.write(_OUTPUT.value, figures, rows)
    log(evaluation.describe(figures))
    artifact.complete(_OUTPUT.value, seconds=time.monotonic() - started)


if __name__ == "__main__":
    cli.run(main)
