"""Beam's own options, which follow `--` on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

#: Beam's DirectRunner picks one of three runners, downloads one of them, and only
#: this one reads --direct_num_workers: so a local run names it.
LOCAL_RUNNER = "FnApiRunner"


def parse_beam_arguments(argv: Sequence[str]) -> PipelineOptions:
    """Returns Beam's options out of what absl has left of the command line.

    Args:
        argv: The program's name, then the arguments behind `--`.

    Raises:
        ValueError: If an argument is no option. Names are checked for local runs
            only: other runners have options that Beam's Python side does not know.
    """
    arguments = list(argv[1:])
    if arguments and not arguments[0].startswith("--"):
        raise ValueError(f"expected Beam options as --name=value, got {arguments[0]!r}")
    options = PipelineOptions(arguments)
    standard = options.view_as(StandardOptions)
    if standard.runner in (None, "DirectRunner"):
        standard.runner = LOCAL_RUNNER
    if standard.runner == LOCAL_RUNNER:
        known = set(options.get_all_options())
        for argument in arguments:
            name = argument.removeprefix("--").partition("=")[0]
            is_known = name in known or name.removeprefix("no_") in known
            if argument.startswith("--") and not is_known:
                raise ValueError(f"Beam has no option --{name}")
    return options
