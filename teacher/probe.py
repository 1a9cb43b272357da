r"""Makes a teacher of pretrained features and a few labels, in seconds.

  python -m teacher.probe --features=onnx:dinov2.onnx --labeled=folder:photos/train \
      --evaluation=folder:photos/test --workdir=runs/photos/teacher

The network stays as it is; a multinomial logistic regression is fitted to its features.
Size and crop of its input are chosen by the labeled images, unless --set= gives them or
it is a classifier of this project.
WORKDIR is a classifier like any other. In WORKDIR/calibration are predictions of the
labeled images by heads that have not seen them, for `label_images --calibration=` and
`select_labels --target_precision=`, see `docs/pretrained.md`.

With --class_embeddings=FILE nothing is learned: a class has the embedding of its name.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from classifier.export.facts import Evaluation
from classifier.probing.config import PREFIX, ProbeConfig, split_settings
from classifier.training import metrics, tracking
from classifier.training.tracker import Tracker
from stage import artifact, cli, licenses
from stage.cli import Log
from stage.flags import SOURCES, CommandFlags
from stage.overrides import override_all, paths_of

FLAGS = CommandFlags()
_FEATURES = FLAGS.string(
    "features",
    None,
    "Network that gives the features: a classifier's directory, onnx:PATH, "
    "saved_model:PATH, keras_hub:PRESET, keras:NAME, keras_h5:NAME:PATH, "
    "hf:OWNER/NAME, safetensors:PATH or resnet_rs_h5:PATH; or predictions:DIRECTORY, "
    "made by label_images --embeddings, which hold them.",
    required=True,
)
_LABELED = FLAGS.string(
    "labeled",
    None,
    f"Labeled images to learn from: {SOURCES}. With --class_embeddings they are "
    "optional, and fit a temperature only; with stored features they may be left out "
    "if the predictions hold labels.",
)
_EVALUATION = FLAGS.string(
    "evaluation",
    None,
    f"Labeled images to evaluate on, never learned from: {SOURCES}. Optional with "
    "stored features.",
)
_SOURCE = FLAGS.source()
_CLASS_EMBEDDINGS = FLAGS.string(
    "class_embeddings",
    None,
    "File .npy or .safetensors of [K,D] embeddings of the class names, by label: "
    "folders are sorted by name.",
)
_BACKBONE = FLAGS.string(
    "backbone",
    None,
    "With stored features: the network that they are of, as in --features, to make a "
    "whole classifier; without, only beam_jobs.relabel can use the probe.",
)
_LICENSES = FLAGS.licenses(
    features=_FEATURES, labeled=_LABELED, class_embeddings=_CLASS_EMBEDDINGS
)
_WORKDIR = FLAGS.workdir()
_SET = FLAGS.strings(
    "set",
    [],
    "A setting of the network's input, such as image.size=224, or of the fit, such as "
    "probe.folds=10.",
)
_SEED = FLAGS.seed("the folds")
_LOG_TO = FLAGS.log_to()

#: The setting of how the input is chosen.
_OF_INPUT = "max_input_images"
#: What the name of predictions begins with, as a source of features.
_STORED = "predictions:"


def main(argv: Sequence[str]) -> None:
    """Makes one probe."""
    log = cli.log_for(_WORKDIR.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        config, settings = _read_settings()
        artifact.check_startable(_WORKDIR.value)
        stated = licenses.parse(**_LICENSES.arguments())
        log_to = tracking.parse(_LOG_TO.value)
        cli.load_tensorflow()
        from classifier.export import model_card

        opening = _open_stored if _FEATURES.value.startswith(_STORED) else _open
        run = opening(config, settings, stated, log)
        described = run.describe()
    with cli.making(_WORKDIR.value, described, started=started, log=log) as figures:
        licenses.write(_WORKDIR.value, run.ledger)
        if figures is not None:
            with tracking.tracked(log_to, _WORKDIR.value, described, log) as trackers:
                _track(trackers, run.make(_WORKDIR.value, log))
        model_card.write(_WORKDIR.value)
    if figures is not None:
        log(f"complete after {time.monotonic() - started:.1f} s")


def _track(trackers: Sequence[Tracker], evaluation: Evaluation | None) -> None:
    """Sends the evaluation, if there is one, as a training does after its steps."""
    if evaluation is not None:
        for tracker in trackers:
            tracker.log_metrics(0, metrics.of_evaluation(evaluation))


def _open(
    config: ProbeConfig, settings: list[str], stated: dict[str, str], log: Log
) -> Any:
    """Returns the probe to make of a network and images."""
    from classifier.features.opening import is_classifier, open_features
    from classifier.features.source import FeatureSource
    from classifier.probing import run as probing
    from classifier.probing.input_choice import CROP, SIZE, InputChoice

    if _EVALUATION.value is None:
        raise ValueError("expected --evaluation, labeled images to evaluate on")
    if _BACKBONE.value is not None:
        raise ValueError(f"--backbone needs --features={_STORED}DIRECTORY")
    given = paths_of(settings)
    if _CLASS_EMBEDDINGS.value is not None:
        _refuse("", "--class_embeddings, which learn nothing")
    if is_classifier(_FEATURES.value):
        _refuse(_OF_INPUT, "a classifier's directory, which keeps its input")
    if given >= {SIZE, CROP}:
        _refuse(_OF_INPUT, f"{SIZE}= and {CROP}=, which are the input")

    def reopen(chosen: Sequence[str]) -> FeatureSource:
        return open_features(_FEATURES.value, [*chosen, *settings])

    choice = InputChoice(reopen=reopen, given=given, workdir=_WORKDIR.value, log=log)
    return probing.open_run(
        open_features(_FEATURES.value, settings, log),
        config,
        None if is_classifier(_FEATURES.value) else choice,
        labeled=_LABELED.value,
        evaluation=_EVALUATION.value,
        class_embeddings=_CLASS_EMBEDDINGS.value,
        stated=stated,
        **_SOURCE.arguments(),
    )


def _open_stored(
    config: ProbeConfig, settings: list[str], stated: dict[str, str], log: Log
) -> Any:
    """Returns the probe to make of stored embeddings."""
    from classifier.features.opening import open_features
    from teacher.probing import run as probing

    if _CLASS_EMBEDDINGS.value is not None:
        raise ValueError(f"--class_embeddings needs a network, got {_FEATURES.value}")
    _refuse(_OF_INPUT, "stored features, which have an input")
    if settings and _BACKBONE.value is None:
        raise ValueError(f"--set={settings[0]} needs a network, see --backbone")
    return probing.open_run(
        config,
        predictions=_FEATURES.value.removeprefix(_STORED),
        backbone=_BACKBONE.value and open_features(_BACKBONE.value, settings, log),
        labeled=_LABELED.value,
        evaluation=_EVALUATION.value,
        stated=stated,
        **_SOURCE.arguments(),
    )


def _read_settings() -> tuple[ProbeConfig, list[str]]:
    """Returns the settings of the fit, and those of the network."""
    fit, of_network = split_settings(_SET.value)
    config = dataclasses.replace(ProbeConfig(), seed=_SEED.value)
    return override_all(config, fit), of_network


def _refuse(name: str, why: str) -> None:
    """Raises ValueError if settings of the fit are given that change nothing.

    They are those whose names begin with `name`.
    """
    for path in sorted(paths_of(_SET.value)):
        if path.startswith(f"{PREFIX}{name}"):
            raise ValueError(f"--set={path}= has no effect with {why}")


if __name__ == "__main__":
    cli.run(main, FLAGS)
