r"""Uploads a classifier, a dataset or both to the Hugging Face Hub.

  python -m workflow.push --classifier=runs/photos/round-1/student \
      --dataset=runs/photos/round-1/dataset --repository=OWNER/NAME --dry_run

The classifier goes to the model repository of that name, the dataset to the dataset
repository, each with its card. `--dry_run` needs neither network nor login: it prints
the files, their sizes and the cards. Checkpoints, events, command lines and absolute
paths of this machine are left out. Card and licenses.json name the images and weights
that it was made of, by paths relative to the working directory or, outside of it, the
last two names; this prints them. Records have the keys of their images. Needs the extra
[hub], and a login by `hf auth login` or HF_TOKEN=. Started again, it uploads what has
changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_CLASSIFIER = FLAGS.string("classifier", None, "Directory of a trained classifier.")
_DATASET = FLAGS.string("dataset", None, "Directory that write_records has made.")
_REPOSITORY = FLAGS.string(
    "repository", None, "Name of the repository, OWNER/NAME.", required=True
)
_FILE = FLAGS.strings(
    "file", [], "A file to upload beside the classifier, as export_model writes"
)
_PRIVATE = FLAGS.boolean(
    "private", False, "Make a new repository private; one that is there stays as it is."
)
_DRY_RUN = FLAGS.boolean("dry_run", False, "Only print what would be uploaded.")


def main(argv: Sequence[str]) -> None:
    """Uploads the artifacts."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        if not (_CLASSIFIER.value or _DATASET.value):
            raise ValueError("expected --classifier=, --dataset= or both")
        if _FILE.value and not _CLASSIFIER.value:
            raise ValueError("--file needs --classifier=")
        from workflow.hub import files, upload

        name = _REPOSITORY.value
        upload.check_repository(name)
        packages = []
        if _CLASSIFIER.value:
            datasets = [name] if _DATASET.value else []
            packages.append(
                files.plan(
                    "model",
                    _CLASSIFIER.value,
                    name,
                    more=_FILE.value,
                    datasets=datasets,
                )
            )
        if _DATASET.value:
            packages.append(files.plan("dataset", _DATASET.value, name))
        api = None if _DRY_RUN.value else upload.log_in()
    for package in packages:
        for line in package.describe():
            cli.log(line)
        cli.log(package.describe_sources())
        if _DRY_RUN.value:
            cli.log(f"its card:\n{package.card}")
    with cli.exit_on_job_error():
        for package in packages if api else ():
            upload.upload(api, package, private=_PRIVATE.value, log=cli.log)


if __name__ == "__main__":
    cli.run(main, FLAGS)
