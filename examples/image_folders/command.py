"""What commands that draw folders of pictures have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from stage import artifact, cli


def run(
    argv: Sequence[str], output: str, make: Callable[..., int], **settings: int
) -> None:
    """Makes the folders unless they are complete.

    Args:
        argv: Arguments of the command, of which there must be none.
        output: Directory to make.
        make: Writes the folders of `examples.image_folders.writing` with these settings
            into a directory, and returns the number of unlabeled pictures.
        **settings: Settings that identify the pictures.
    """
    log = cli.log_for(output)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    with (
        cli.exit_on_job_error(),
        artifact.making(output, settings, started=started) as run,
    ):
        if run is None:
            log("already complete")
            return
        unlabeled = make(output, **settings)
    log(f"{unlabeled:,} unlabeled pictures")
