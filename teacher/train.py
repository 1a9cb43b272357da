r"""Trains a ResNet-RS teacher on labeled images and exports it.

  python -m teacher.train --preset=tiny --labeled=folder:photos/train \
      --evaluation=folder:photos/test --workdir=runs/photos/teacher \
      --set=num_steps=2000 --set=optimizer.peak_learning_rate=0.05

Started again, the same command goes on from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from absl import flags

from classifier.training import budget, devices, presets
from stage import artifact, cli
from stage.overrides import override_all, paths_of

_PRESET = flags.DEFINE_string(
    "preset",
    "tiny",
    f"Recipe to start from: {', '.join(presets.PRESETS)}, or any resnet_rs_DEPTH or "
    "resnet_rs_DEPTH_SIZE.",
)
_LABELED = flags.DEFINE_string(
    "labeled",
    None,
    "Labeled images: tfds:NAME:SPLIT, folder:PATH with a sub-folder for each class, "
    "or tfrecord:GLOB.",
    required=True,
)
_EVALUATION = flags.DEFINE_string(
    "evaluation",
    None,
    "Labeled images to evaluate on, in the same forms; never learned from.",
    required=True,
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of the classifier to make.", required=True
)
_SET = flags.DEFINE_multi_string(
    "set", [], "One setting of the recipe, as in optimizer.peak_learning_rate=0.1"
)
_SEED = flags.DEFINE_integer("seed", 0, "Decides weights, data order and noise.")
_FOLDS = flags.DEFINE_integer(
    "folds", 0, "Parts that the labeled images are dealt into, 0 to learn from all."
)
_FOLD = flags.DEFINE_integer(
    "fold", None, "With --folds: the part to leave out, from 0 on."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its datasets; its own default if not given."
)
_CLASS_NAMES = flags.DEFINE_string(
    "class_names", None, "Text file, one class name a line; needed for tfrecord:."
)
_INIT_FROM = flags.DEFINE_string(
    "init_from",
    None,
    "Weights to start from: the directory of a classifier, or resnet_rs_h5:PATH for a "
    "weights file of tf_keras.applications.resnet_rs.",
)
_NEW_HEAD = flags.DEFINE_bool(
    "new_head", False, "Start the last layer fresh, for other classes."
)
_BACKEND = flags.DEFINE_enum(
    "backend",
    "tensorflow",
    devices.BACKENDS,
    "tensorflow for the CPU or one GPU; jax for TPUs, several GPUs, or the CPU.",
)
_DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    None,
    "With --backend=jax, where the same command runs on several hosts: auto on a TPU "
    "pod slice, else HOST:PORT,COUNT,INDEX with process 0's address.",
)
_PROFILE = flags.DEFINE_bool(
    "profile", False, "Write a trace of a few steps, which TensorBoard opens."
)


def main(argv: Sequence[str]) -> None:
    """Trains one teacher."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        recipe = override_all(
            dataclasses.replace(presets.find(_PRESET.value), seed=_SEED.value),
            _SET.value,
        )
        hardware = devices.load_backend(_BACKEND.value, _DISTRIBUTED.value)
        from classifier.data import folds
        from classifier.training import loop, trainer

        fold = folds.find_fold(_FOLDS.value, _FOLD.value)
        sources = trainer.open_sources(
            labeled=_LABELED.value,
            evaluation=_EVALUATION.value,
            data_dir=_DATA_DIR.value,
            class_names_file=_CLASS_NAMES.value,
        )
        config = budget.fit_budget(
            recipe,
            sources.labeled,
            epochs=presets.epochs(_PRESET.value),
            fixed=paths_of(_SET.value),
        )
        hardware.check(config)
        run = trainer.open_run(
            config, sources, init_from=_INIT_FROM.value, new_head=_NEW_HEAD.value
        )
        if fold is not None:
            run = trainer.leave_out(run, fold)
        context = loop.RunContext(
            workdir=_WORKDIR.value,
            log=cli.log_for(_WORKDIR.value, is_first=hardware.is_first),
            devices=hardware,
            profile=_PROFILE.value,
        )
        description = run.describe()
        if hardware.first_does(
            lambda: artifact.start_or_resume(_WORKDIR.value, description)
        ):
            context.log("already complete")
            return
    trainer.train(run, run.labeled_batches, context)


if __name__ == "__main__":
    cli.run(main)
