r"""Chooses teacher and student for a run, for the preset `auto`.

  python -m workflow.choose --labeled=birds/labeled --images=birds/unlabeled \
      --minutes=30 --output=runs/birds/choice

Looks at the images, the machine and the pretrained weights at hand, and prints the
choice in five lines, the last of which says what a better one would need. The output
has them in `choice.json`. A choice is kept, also on another machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from stage import artifact, cli
from stage.flags import SOURCES, CommandFlags
from workflow.choice import stored

FLAGS = CommandFlags()
_LABELED = FLAGS.string("labeled", None, f"Labeled images: {SOURCES}.", required=True)
_UNLABELED = FLAGS.string("images", None, f"Images without labels: {SOURCES}.")
_SOURCE = FLAGS.source()
_UNLABELED_IMAGE_FEATURE = FLAGS.string(
    "unlabeled_image_feature",
    None,
    "Name of the image feature of --images, if not the usual.",
)
_FEATURES = FLAGS.string(
    "features",
    None,
    "Features of the probe that teaches, see teacher.probe; without, those at hand.",
)
_SET = FLAGS.strings("set", [], "A setting of --features, as teacher.probe has it.")
_NETWORK = FLAGS.boolean("network", False, "Choose a network as the teacher, no probe.")
_TPU = FLAGS.boolean("tpu", False, "Whether TPUs train.")
_MINUTES = FLAGS.number(
    "minutes",
    30.0,
    "Longest duration of teacher, labeling, student and control together.",
    lower_bound=1.0,
)
_OUTPUT = FLAGS.output("Directory of the choice to make, in that of its run.")


def main(argv: Sequence[str]) -> None:
    """Makes the choice, unless it was made."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        flags = (_LABELED, _UNLABELED, *vars(_SOURCE).values(), _FEATURES, _NETWORK)
        flags = (*flags, _SET, _UNLABELED_IMAGE_FEATURE, _TPU, _MINUTES)
        config = {"asked": {flag.name: flag.value for flag in flags}}
        cli.load_tensorflow()
        from workflow.choice import decision, gathering, weights

        features = _FEATURES.value
        given = weights.describe(features, _SET.value) if features else None
        facts = gathering.gather(
            _LABELED.value,
            _UNLABELED.value,
            unlabeled_image_feature=_UNLABELED_IMAGE_FEATURE.value,
            given=given,
            needs_network=_NETWORK.value,
            has_tpu=_TPU.value,
            minutes=_MINUTES.value,
            **_SOURCE.arguments(),
        )
        choice = decision.choose(facts)
        with artifact.making(
            _OUTPUT.value, config, may_change="asked", started=started
        ) as run:
            if run is None:
                return
            stored.write(_OUTPUT.value, facts, choice)
    for line in choice.reasons:
        log(line)


if __name__ == "__main__":
    cli.run(main, FLAGS)
