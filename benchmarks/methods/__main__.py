"""Compares ways to learn from few labels, at the same number of multiply-adds.

  python -m benchmarks.methods --output=runs/methods --data=digits --seeds=1-10
  python -m benchmarks.methods --output=runs/methods --data=folder:textures --seeds=5

Every method trains the same network with the same noise on images from the same draw;
`benchmarks.methods.methods` has the settings in which they differ. A budget of 1 is
what the demo computes. Every pass of an image through a network is counted: of all
members, views, labelings and rounds; evaluations and the graph of similar images are
not. The accuracy is that of the last averaged weights on the test images, which nothing
else sees. A folder is one draw: its intervals are those of the seed of training alone;
if one of its files changes, it is another, without results.

Results are added to `OUTPUT/results.jsonl`, and what is there is not run again. The
same command can be started once for each core: a process takes the runs that no other
has. Each prints, at its end, means, paired differences with 95 % intervals, and all
figures as JSON; `OUTPUT` gets the same as `DATA-LABELS.json` and, as a plot, `.svg`.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from stage import artifact, cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_OUTPUT = FLAGS.output("Directory of the results, which may be there.")
_DATA = FLAGS.string(
    "data",
    "digits",
    "digits, surfaces, shapes, or folder:DIR with labeled/, test/ and all/ as in "
    "examples/your_own_folder.md; with truth.csv for the true labels.",
)
_LABELS_PER_CLASS = FLAGS.integer(
    "labels_per_class",
    None,
    "Number of labels of each class, unless --data is a folder. By default 5 of the "
    "digits, 20 of the surfaces, 25 of the shapes.",
    lower_bound=1,
)
_SEEDS = FLAGS.string("seeds", "1-5", "Seeds, as in 1-10 or 1,4; or a count from 1 on.")
_BUDGETS = FLAGS.string(
    "budgets", "1", "Budgets with commas between; 1 is that of the demo."
)
_METHODS = FLAGS.string("methods", None, "Methods with commas between; all by default.")
_SET = FLAGS.set("image.size=64, of all trainings that can have it")
_KEEP = FLAGS.boolean("keep", False, "Keep the files of each run.")
_REPORT = FLAGS.boolean(
    "report",
    False,
    "Run nothing: print what the results have of these seeds, budgets and methods, and "
    "write OUTPUT/DATA-LABELS.json and .svg in place of those of the last report.",
)

#: A process works on each core, so the libraries in it have one thread.
_ONE_THREAD = (
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
)


def main(argv: Sequence[str]) -> None:
    """Runs what is missing, and prints the tables."""
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    with cli.exit_on_job_error():
        cli.check_no_arguments(argv)
        cli.load_tensorflow()
        from benchmarks.methods import draws, methods, runs, training

        artifact.check_directory(_OUTPUT.value)
        training.check_settings(_SET.value)
        names = runs.parse_methods(_METHODS.value)
        methods.check_settings(names, _SET.value)
        seeds = runs.parse_seeds(_SEEDS.value)
        budgets = runs.parse_budgets(_BUDGETS.value)
        labels_per_class = draws.find_labels(_DATA.value, _LABELS_PER_CLASS.value)
        suite = runs.Suite(
            output=pathlib.Path(_OUTPUT.value).absolute(),
            data=draws.identify(_DATA.value),
            labels_per_class=labels_per_class,
            settings=tuple(_SET.value),
            keep=_KEEP.value,
        )
        keys = list(suite.keys(names, seeds=seeds, budgets=budgets))
        if not _REPORT.value:
            cli.log(suite.describe(keys))
            suite.run_missing(keys)
        runs.report(suite, keys)


if __name__ == "__main__":
    cli.run(main, FLAGS)
