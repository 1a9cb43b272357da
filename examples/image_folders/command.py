"""What commands that draw folders of pictures have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from stage import cli
from stage.flags import CommandFlags


def define_flags(*, labels_per_class: int) -> CommandFlags:
    """Returns the flags of a command, given the default of one of them."""
    flags = CommandFlags()
    flags.output("Directory to make.")
    flags.integer(
        "labels_per_class",
        labels_per_class,
        "Number of labeled pictures of each class.",
        lower_bound=1,
    )
    flags.seed("the pictures", lower_bound=0)
    return flags


def run(argv: Sequence[str], flags: CommandFlags, make: Callable[..., int]) -> None:
    """Makes the folders unless they are complete.

    Args:
        argv: Arguments of the command, of which there must be none.
        flags: Flags of `define_flags`.
        make: Writes the folders of `examples.image_folders.writing` into a directory,
            given `labels_per_class` and `seed`; returns the number of unlabeled
            pictures.
    """
    values = flags.values
    log = cli.log_for(values.output)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    settings = {name: values[name].value for name in ("labels_per_class", "seed")}
    with cli.making(values.output, settings, started=started, log=log) as run:
        if run is None:
            return
        unlabeled = make(values.output, **settings)
    log(f"{unlabeled:,} unlabeled pictures")
