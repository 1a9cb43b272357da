r"""Writes the selected images as a table, or as a folder for each class.

  python -m workflow.export_labels --predictions=runs/photos/predictions \
      --selection=runs/photos/selection --output=labels.csv

  python -m workflow.export_labels --predictions=runs/photos/predictions \
      --selection=runs/photos/selection --images=folder:photos/all --output=labels/

They are the images that write_records writes. A table, .csv or .parquet, has a row for
each: its key, which in a folder is the path below it, the name and number of its class,
the confidence, and the number of records. A folder, for which --images names the
images, has each once, by its key, in a sub-folder for its class, as
torchvision.datasets.ImageFolder, timm and `folder:` of this project read it. Characters
that a name of a file should not have become %XX.
"""

from __future__ import annotations

from collections.abc import Sequence

from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_PREDICTIONS = FLAGS.artifact("predictions")
_SELECTION = FLAGS.artifact("selection")
_IMAGES = FLAGS.image_source(
    "The images that were labeled, named as for label_images; for a folder.",
    required=False,
)
_OUTPUT = FLAGS.output("Table to write, NAME.csv or NAME.parquet, or a directory.")


def main(argv: Sequence[str]) -> None:
    """Writes the selected images."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        from workflow.labels import selected, table

        is_table = table.is_table(_OUTPUT.value)
        if is_table == bool(_IMAGES.spec.value):
            raise ValueError(
                f"--output={_OUTPUT.value}: expected NAME.csv or NAME.parquet, or a "
                "directory together with --images="
            )
        selected.check_new(_OUTPUT.value)
        labels = selected.open_selected(_PREDICTIONS.value, _SELECTION.value)
        if not is_table:
            cli.load_tensorflow()
            from classifier.data.sources import open_source
            from workflow.labels import folders

            source = open_source(**_IMAGES.arguments())
            source = folders.plan(labels, source, _OUTPUT.value)
    with cli.exit_on_job_error():
        if is_table:
            count = table.write(labels, _OUTPUT.value)
        else:
            count = folders.write(labels, source, _OUTPUT.value)
    cli.log(f"wrote {count:,} images to {_OUTPUT.value}")


if __name__ == "__main__":
    cli.run(main, FLAGS)
