"""Lists a source, and reads it as labeling does; prints the figures as JSON.

python -m benchmarks.sources.measure --images=parquet:/data/*.parquet
"""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Sequence

from stage import cli
from stage.flags import SOURCES, CommandFlags

FLAGS = CommandFlags()
_IMAGES = FLAGS.string("images", None, f"The images: {SOURCES}.", required=True)
_READ = FLAGS.boolean("read", True, "Whether to read them, too.")
_BATCH = 64


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    cli.load_tensorflow()
    from classifier.data import python_reader
    from classifier.data.sources import open_source

    before = _peak_megabytes()
    started = time.perf_counter()
    source = open_source(_IMAGES.value)
    listed = time.perf_counter()
    figures = {
        "listing s": listed - started,
        "listing MB": _peak_megabytes() - before,
        "shards": len(source.shards),
    }
    if _READ.value:
        batches = python_reader.read_batches(source.reader, source.files, _BATCH)
        count = sum(len(batch) for batch in batches)
        seconds = time.perf_counter() - listed
        figures |= {"images/s": count / seconds, "MB": _peak_megabytes()}
    cli.log(json.dumps(figures))


def _peak_megabytes() -> float:
    # `getrusage` counts that of the parent, too, before it was forked.
    status = pathlib.Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    cli.run(main, FLAGS)
