r"""Trains on a Cloud TPU that is created for it, again after each preemption.

  python -m infra.tpu --zone=us-central1-a --accelerator_type=v5litepod-32 \
      -- teacher.train --preset=resnet_rs_50_160 --set=input_shards=32 \
      --labeled=tfds:imagenet2012:train --evaluation=tfds:imagenet2012:validation \
      --data_dir=gs://my-bucket/tensorflow_datasets \
      --workdir=gs://my-bucket/runs/teacher

After `--` stands the command to run on every host. Its flags are checked before
anything is created. The machine is deleted when the training is complete or has failed,
and after --max_hours. The last commit's code, the hosts' logs and the compiled steps
are in WORKDIR.machine. Ctrl-C ends this command, not the training; the same command
watches it again. See docs/tpu.md.
"""

from __future__ import annotations

import contextlib
import pathlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NoReturn

from infra.tpu import job
from infra.tpu.gcloud import FLEX_START_MAX_HOURS, TpuMachine
from infra.tpu.loop import MIN_HOURS, TpuLoop
from infra.tpu.slices import find_slice
from stage import cli
from stage.flags import CommandFlags
from stage.validation import check

FLAGS = CommandFlags()
_NAME = FLAGS.string(
    "name", None, "Name of the machine, if not one that only this --workdir has."
)
_ZONE = FLAGS.string("zone", None, "Zone of the machine.", required=True)
_TYPE = FLAGS.string(
    "accelerator_type", None, "Size of the slice, as v5litepod-32.", required=True
)
_PROJECT = FLAGS.string("project", None, "Google Cloud project, if not gcloud's own.")
_SPOT = FLAGS.boolean("spot", True, "Whether to use cheaper machines that may go.")
_MAX_STARTS = FLAGS.integer(
    "max_starts", 20, "Largest number of machines to create.", lower_bound=1
)
_MAX_HOURS = FLAGS.number(
    "max_hours",
    24.0,
    "Hours that machines may be on in all; the training saves its state before.",
    lower_bound=MIN_HOURS,
    upper_bound=8784,
)
_FLEX_START = FLAGS.boolean(
    "flex_start", False, "Whether Google ends the machine after --max_hours itself."
)
_PRICE = FLAGS.number(
    "price_per_chip_hour", None, "Price of a chip for an hour.", lower_bound=0
)
_KEEP = FLAGS.boolean("keep", False, "Leave the machine on at the end.")
_POLL = FLAGS.number(
    "poll_seconds", 60.0, "Seconds between two looks.", lower_bound=0, upper_bound=3600
)


def main(argv: Sequence[str]) -> None:
    """Trains until the classifier is complete."""
    log = cli.log_for("tpu")
    with cli.exit_on_user_error(), tempfile.TemporaryDirectory() as scratch:
        tpu = find_slice(_TYPE.value)
        _check_flex_start()
        training = job.plan(argv[1:], tpu)
        machine = TpuMachine(
            name=_NAME.value or training.machine_name,
            zone=_ZONE.value,
            project=_PROJECT.value,
            slice=tpu,
            spot=_SPOT.value,
            flex_start=_FLEX_START.value,
        )
        code = job.archive_code(pathlib.Path(scratch))
        log(f"{machine.describe()}, {training.input_shards} input shards, {code}")
        loop = TpuLoop(
            machine=machine,
            job=training,
            scratch=pathlib.Path(scratch),
            max_starts=_MAX_STARTS.value,
            max_hours=_MAX_HOURS.value,
            price=_PRICE.value,
            keep=_KEEP.value,
            pause=lambda: time.sleep(_POLL.value),
            log=log,
        )
        with _interruptible():
            _run(loop)


def _check_flex_start() -> None:
    """Raises ValueError if Google could not end the machine as asked."""
    if _FLEX_START.value:
        check(
            not _SPOT.value,
            "expected --nospot with --flex_start: Google has the one or the other",
        )
        check(
            _MAX_HOURS.value <= FLEX_START_MAX_HOURS,
            f"expected --max_hours of at most {FLEX_START_MAX_HOURS:g} with "
            f"--flex_start, got {_MAX_HOURS.value:g}",
        )


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Makes an exception of what else would end the process without a word.

    What nohup ignores stays ignored.
    """
    before = {}
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) != signal.SIG_IGN:
            before[each] = signal.signal(each, _interrupt)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _interrupt(number: int, _: object) -> NoReturn:
    raise KeyboardInterrupt(number)


def _run(loop: TpuLoop) -> None:
    """Runs the loop; says what is still billed if it ends early."""
    try:
        loop.run()
    except BaseException as end:
        # None: before the first look, perhaps at the machine of an earlier command.
        is_unseen = loop.may_be_on is None and isinstance(end, KeyboardInterrupt)
        if loop.may_be_on or is_unseen:
            loop.log(
                f"{loop.machine.name} may be on, and billed: the same command watches "
                f"it; to delete it: {loop.machine.how_to_end()}"
            )
        if isinstance(end, KeyboardInterrupt):
            sys.exit(128 + end.args[0])
        raise


if __name__ == "__main__":
    cli.run(main, FLAGS)
