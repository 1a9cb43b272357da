"""Images of a run that are not what its figures seem to say.

Stages say in their `config.json` which files they have read. Since then files may have
been added or deleted; and images to evaluate on may be those that were trained on.

Names and parts of files are compared, as the stage has listed them. A run compares
sizes and times instead, `workflow.chain.source_files`: it asks whether to make a stage
again, and a source that is copied to another machine is the same for a report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from classifier.data import csv_listing, listing, parquet_listing
from classifier.data.examples import File
from classifier.data.leak import described_source, is_trained_on
from classifier.data.source_forms import find_form
from stage import artifact
from stage.flags import split_source
from workflow.report.analysis.run_files import FinishedStage, Run, read_optional

#: Flags that name a source, and what a `config.json` calls it.
_KEYS = {
    **{f"--{name}": name for name in ("labeled", "evaluation", "images")},
    **dict.fromkeys(("--held_out", "--out_of_fold"), "labeled"),
}
#: With this flag the shards of a labeling are numbered as they were added.
_GROWING = "--allow_new_shards"
#: Forms whose files have one image each.
_ONE_EACH = ("folder", "csv")


def read_warnings(run: Run, stages: Sequence[FinishedStage]) -> Iterator[str]:
    """Yields a sentence for each source that has changed, and one for a leak."""
    configs = {
        stage.name: read_optional(run.path / stage.name / artifact.CONFIG)
        for stage in stages
    }
    seen = set()
    for stage in stages:
        flags = dict(word.partition("=")[::2] for word in stage.command)
        for flag, key in _KEYS.items():
            spec, described = (
                flags.get(flag),
                described_source(configs[stage.name], key),
            )
            if spec is None or described is None or spec in seen:
                continue
            seen.add(spec)
            change = describe_change(
                spec,
                described,
                image_column=_find_flag(flags, "image"),
                label_column=_find_flag(flags, "label"),
                by_number=_GROWING in flags,
            )
            if change:
                yield (
                    f"{change} than {stage.name} has read; the figures are of those "
                    "that it has read, another run would read all"
                )
    for name, config in configs.items():
        evaluation = described_source(config, "evaluation") or {}
        if is_trained_on(config, evaluation.get(artifact.CONTENT)):
            yield (
                f"{name} was evaluated on the images that it was trained on, so its "
                "accuracy says little about other images"
            )
            return


def _find_flag(flags: Mapping[str, str], what: str) -> str | None:
    """Returns the column of images or labels that a command names, if it does."""
    return flags.get(f"--{what}_column") or flags.get(f"--{what}_feature") or None


def describe_change(
    spec: str,
    described: Mapping[str, Any],
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    by_number: bool = False,
) -> str | None:
    """Returns how the files of a source differ from those that a stage has read.

    None if they do not, or cannot be listed here at little cost.

    Args:
        spec: The source as the user wrote it.
        described: What the stage's `config.json` says about it.
        image_column: Column of a table that has images or their paths, if not the
            usual.
        label_column: Column of a table that has the labels, if not the usual.
        by_number: Whether to compare the numbers of files only.
    """
    form, now = _list(spec, image_column, label_column)
    if not now or "num_files" not in described:
        return None
    more = len(now) - described["num_files"]
    if more:
        files = "file" if abs(more) == 1 else "files"
        return f"{spec} has {abs(more):,} {files} {'more' if more > 0 else 'fewer'}"
    size = listing.FOLDER_SHARD_SIZE if form in _ONE_EACH else 1
    # As `classifier.data.sources` makes shards, which needs TensorFlow.
    numbered = ((index // size, file) for index, file in enumerate(now))
    if by_number or listing.fingerprint(numbered) == described.get("fingerprint"):
        return None
    return f"{spec} has other files"


def _list(
    spec: str, image: str | None, label: str | None
) -> tuple[str, Sequence[File]]:
    """Returns a source's form, and its local files; none of any other source.

    `image` and `label` are columns of a table, None for the usual ones.
    """
    try:
        form, path = split_source(find_form(spec))
        if "://" in path:
            return form, ()
        if form in _TABLES:
            return form, _TABLES[form](path, image, label)
        return form, _LISTINGS[form](path) if form in _LISTINGS else ()
    except (OSError, ValueError):
        return "", ()  # A finished run is reported on without its images.


def _list_csv(path: str, image: str | None, label: str | None) -> Sequence[File]:
    return csv_listing.list_csv(f"csv:{path}", path, image, label)[0]


def _list_parquet(pattern: str, image: str | None, label: str | None) -> Sequence[File]:
    files = listing.list_matches(pattern)
    if not files:
        return ()
    spec = f"parquet:{pattern}"
    return parquet_listing.list_parquet(spec, files, image, label, None).files


#: How the files of a source are listed, by its form; and those of tables.
_LISTINGS: dict[str, Callable[[str], Sequence[File]]] = {
    "folder": listing.list_folder,
    "tfrecord": listing.list_matches,
    "webdataset": listing.list_matches,
}
_TABLES: dict[str, Callable[[str, str | None, str | None], Sequence[File]]] = {
    "csv": _list_csv,
    "parquet": _list_parquet,
}
