"""Measures how many rows a second the relabeling job labels, and what takes the time.

  python -m benchmarks.relabeling
  python -m benchmarks.relabeling --shapes=1280x10 --images=1000000

`beam_jobs.relabel` on the local runner with all cores, for each of `--shapes`, features
x classes. Rows a second are those of the whole command, without the seconds that it
takes for 1,000 images. The shares of reading, multiplying and writing are processor
seconds of one shard in one process, and `us_per_row` is their sum for a row. All with
and without the embeddings in the output. The last line is all figures as JSON.
"""

from __future__ import annotations

import json
import pathlib
import tempfile
from collections.abc import Sequence

from benchmarks.measuring.turns import Figures, format_row
from benchmarks.relabeling import runs
from benchmarks.relabeling.inputs import Shape, open_inputs
from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_SHAPES = FLAGS.string(
    "shapes", "128x10,512x10,1280x10,128x1000", "Features x classes, with commas."
)
_IMAGES = FLAGS.integer(
    "images", 2_000_000, "Number of images.", lower_bound=10 * runs.FEW_IMAGES
)
_TOP_K = FLAGS.top_k(10, "Number of classes to keep of each image.")


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        shapes = [_parse(word) for word in _SHAPES.value.split(",")]
    found: dict[str, Figures] = {}
    for shape in shapes:
        with tempfile.TemporaryDirectory() as directory:
            inputs = open_inputs(pathlib.Path(directory), shape)
            for embeddings in (True, False):
                name = f"{shape.features}x{shape.classes}" + (
                    "" if embeddings else ", without embeddings"
                )
                run = runs.RelabelRun(
                    inputs=inputs, embeddings=embeddings, top_k=_TOP_K.value
                )
                found[name] = runs.measure(run, shape)
                cli.log(format_row(name, found[name]))
    cli.log(json.dumps({"images": _IMAGES.value, "top_k": _TOP_K.value, **found}))


def _parse(word: str) -> Shape:
    features, separator, classes = word.partition("x")
    if not (separator and features.isdecimal() and classes.isdecimal()):
        raise ValueError(f"--shapes: expected FEATURESxCLASSES, got {word!r}")
    return Shape(features=int(features), classes=int(classes), images=_IMAGES.value)


if __name__ == "__main__":
    cli.run(main, FLAGS)
