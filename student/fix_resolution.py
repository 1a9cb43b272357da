r"""Trains a student's last phase: a few steps at a higher resolution, without noise.

  python -m student.fix_resolution --student=runs/photos/student \
      --labeled=folder:photos/train --evaluation=folder:photos/test \
      --workdir=runs/photos/student-large

The result is a classifier like any other. Started again, the same command goes on from
its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from classifier.training import devices
from classifier.training.config import from_json
from stage import artifact, cli
from stage.overrides import override_all

_STUDENT = flags.DEFINE_string(
    "student", None, "Directory of the trained classifier to start from.", required=True
)
_LABELED = flags.DEFINE_string(
    "labeled", None, "Labeled images, as in student.train.", required=True
)
_EVALUATION = flags.DEFINE_string(
    "evaluation", None, "Labeled images to evaluate on, likewise.", required=True
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of the classifier to make.", required=True
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Side in pixels; a quarter more than before if not given."
)
_SET = flags.DEFINE_multi_string(
    "set", [], "One setting of the recipe, as in optimizer.peak_learning_rate=0.001"
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its datasets; its own default if not given."
)
_CLASS_NAMES = flags.DEFINE_string(
    "class_names", None, "Text file, one class name a line; needed for tfrecord:."
)
_BACKEND = flags.DEFINE_enum(
    "backend", "tensorflow", devices.BACKENDS, "As in student.train."
)


def main(argv: Sequence[str]) -> None:
    """Trains the last phase of one student."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        path = artifact.require_complete(_STUDENT.value, "student")
        trained = from_json(artifact.read_json(path / artifact.CONFIG)["config"])
        hardware = devices.load_backend(_BACKEND.value)
        from classifier.training import loop, trainer
        from student.training import resolution

        sources = trainer.open_sources(
            labeled=_LABELED.value,
            evaluation=_EVALUATION.value,
            data_dir=_DATA_DIR.value,
            class_names_file=_CLASS_NAMES.value,
        )
        recipe = resolution.recipe(
            trained,
            num_labeled=sources.labeled.num_examples,
            image_size=_IMAGE_SIZE.value,
        )
        config = override_all(recipe, _SET.value)
        hardware.check(config)
        run = trainer.open_run(config, sources, init_from=_STUDENT.value)
        context = loop.RunContext(
            workdir=_WORKDIR.value,
            log=cli.log_for(_WORKDIR.value, is_first=hardware.is_first),
            devices=hardware,
        )
        if hardware.first_does(
            lambda: artifact.start_or_resume(_WORKDIR.value, run.describe())
        ):
            context.log("already complete")
            return
    trainer.train(run, run.labeled_batches, context)


if __name__ == "__main__":
    cli.run(main)
