"""Parquet files of datasets on the Hugging Face Hub, from its cache or downloaded.

They are downloaded whole, once: a training reads images every epoch, and every stage
reads them again. Everything is of one commit. Only Parquet files and the card are
fetched, and no code of a dataset runs. The extra [hub] installs what this needs.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import fnmatch
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from classifier.data.examples import File
from stage import typed_json
from stage.hub_client import NAME, REPOSITORY, import_hub

_PATTERN = re.compile(
    rf"(?P<name>{REPOSITORY})(?:@(?P<revision>[\w./-]+))?:"
    rf"(?:(?P<config>{NAME})/)?(?P<split>{NAME})"
)
_FORM = (
    "hf:OWNER/NAME:SPLIT, hf:OWNER/NAME@REVISION:SPLIT or hf:OWNER/NAME:CONFIG/SPLIT"
)
_CARD = "README.md"
#: Branch in which the hub keeps datasets of other formats as CONFIG/SPLIT/NNNN.parquet.
_CONVERTED = "refs/convert/parquet"
#: Part and number of parts in the name of a file.
_PART_OF = re.compile(r"-(\d{3,})-of-(\d{3,})")
_PARALLEL = 8


@dataclasses.dataclass(frozen=True)
class HubDataset:
    """The files of a split on this machine.

    Attributes:
        files: The files; names are those in the repository.
        commit: Commit that they are of.
        license: License that the dataset's card states; "" for none.
    """

    files: list[File]
    commit: str
    license: str


@dataclasses.dataclass(frozen=True)
class _Repository:
    """A commit of a dataset.

    Attributes:
        name: `OWNER/NAME`.
        revision: Branch, tag or commit that was asked for.
        commit: Its hash.
        files: Names of its files; without a network of those in the cache.
    """

    name: str
    revision: str
    commit: str
    files: list[str]

    @property
    def parquet(self) -> list[str]:
        """Names of its Parquet files that lie in it."""
        return sorted(
            name
            for name in self.files
            if name.endswith(".parquet")
            and not name.startswith("/")
            and ".." not in name.split("/")
        )


def fetch(spec: str, rest: str) -> HubDataset:
    """Returns the Parquet files of a split, after downloading what is not in the cache.

    Args:
        spec: The source, for messages.
        rest: `OWNER/NAME[@REVISION]:[CONFIG/]SPLIT`. Without a revision it is the
            branch main, or the hub's conversion to Parquet if that has no such file.

    Raises:
        ValueError: If it is no such name, or the dataset has no such files.
        OSError: If the files are neither in the cache nor can be downloaded.
    """
    match = _PATTERN.fullmatch(rest)
    if match is None:
        raise ValueError(f"{spec}: expected {_FORM}")
    hub = import_hub(f"{spec}:")
    found = _find(hub, spec, match["name"], match["revision"] or "main")
    card = _read_card(hub, spec, found)
    if not found.parquet and match["revision"] is None:
        found = _find(hub, spec, match["name"], _CONVERTED)
        chosen = choose_converted(found.parquet, match["config"], match["split"])
    else:
        chosen = choose_files(found.parquet, card, match["config"], match["split"])
    if not chosen:
        known = typed_json.shorten(", ".join(found.parquet) or "none")
        raise ValueError(
            f"{spec}: expected Parquet files of one configuration and split "
            f"{match['split']!r} ({_FORM}), got {known}"
        )
    _check_whole(spec, chosen)
    stated = card.get("license")
    return HubDataset(
        _download_all(hub, spec, found, chosen),
        found.commit,
        stated if isinstance(stated, str) else "",
    )


def _download_all(
    hub: Any, spec: str, found: _Repository, names: Sequence[str]
) -> list[File]:
    _download_named(hub, spec, found, names[0])
    with concurrent.futures.ThreadPoolExecutor(_PARALLEL) as pool:
        paths = pool.map(
            lambda name: _download(hub, spec, found.name, name, found.commit), names
        )
        return [
            # The commit says what is in it, and its time when it was downloaded.
            File(path=path, name=name, size=os.stat(path).st_size)
            for name, path in zip(names, paths, strict=True)
        ]


def choose_files(
    names: Sequence[str], card: Mapping[str, Any], config: str | None, split: str
) -> list[str]:
    """Returns the files that a card lists for a split, else those named like it.

    Returns none if there are several configurations, of which none is the default.
    """
    patterns = _patterns(card, config, split)
    if patterns is not None:
        globs = [pattern.split("/") for pattern in patterns]
        return [
            name
            for name in names
            if any(_matches(name.split("/"), parts) for parts in globs)
        ]
    before = {
        name: name[: found.start()]
        for name in names
        if (found := _find_word(name, split))
        if config is None or _find_word(name, config)
    }
    # What stands before the split is the configuration.
    return list(before) if len(set(before.values())) == 1 else []


def choose_converted(names: Sequence[str], config: str | None, split: str) -> list[str]:
    """Returns the files of a split in the hub's conversion, CONFIG/SPLIT/NNNN.parquet.

    Returns none if there are several configurations and `config` is None.
    """
    parts = [name.split("/") for name in names]
    of_split = [part for part in parts if len(part) == 3 and part[1] == split]
    configs = {part[0] for part in of_split}
    if config is None and len(configs) == 1:
        (config,) = configs
    return ["/".join(part) for part in of_split if part[0] == config]


def _patterns(
    card: Mapping[str, Any], config: str | None, split: str
) -> list[str] | None:
    """Returns a card's patterns of a split's files, None if it has no such list."""
    configs = card.get("configs")
    listed = configs if isinstance(configs, list) else []
    listed = [
        each for each in listed if isinstance(each, dict) and "data_files" in each
    ]
    if not listed:
        return None
    chosen = [each for each in listed if each.get("config_name") == config]
    if config is None:
        chosen = [
            each
            for each in listed
            if each.get("config_name") == "default" or each.get("default") is True
        ] or (listed if len(listed) == 1 else [])
    files = chosen[0]["data_files"] if chosen else []
    if not isinstance(files, list):  # One split, which is called train.
        files = [{"split": "train", "path": files}]
    patterns: list[str] = []
    for each in files:
        if isinstance(each, dict) and each.get("split") == split:
            path = each.get("path")
            paths = path if isinstance(path, list) else [path]
            patterns += [path for path in paths if isinstance(path, str)]
    return patterns


def _matches(name: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path has the parts of a pattern; `**` is any number of them."""
    if not name or not pattern:
        return not name and all(part == "**" for part in pattern)
    if pattern[0] == "**":
        return _matches(name, pattern[1:]) or _matches(name[1:], pattern)
    return fnmatch.fnmatchcase(name[0], pattern[0]) and _matches(name[1:], pattern[1:])


def _find_word(name: str, word: str) -> re.Match[str] | None:
    return re.search(rf"(^|[/_.-]){re.escape(word)}([/_.-]|$)", name)


def _check_whole(spec: str, names: Sequence[str]) -> None:
    """Raises ValueError if a part is missing, of which the other names tell."""
    found = [match for name in names if (match := _PART_OF.search(name))]
    if not found or len(found) < len(names):
        return
    count = int(found[0][2])
    parts = {int(match[1]) for match in found}
    if len({match[2] for match in found}) == 1 and len(parts) < count:
        raise ValueError(
            f"{spec}: expected {count} files, got {len(parts)}, such as {names[0]}; "
            "without HF_HUB_OFFLINE the others are downloaded"
        )


def _find(hub: Any, spec: str, name: str, revision: str) -> _Repository:
    """Returns the commit that a revision is now; without a network, in the cache."""
    try:
        info = hub.HfApi().dataset_info(name, revision=revision)
        names = [each.rfilename for each in info.siblings]
        return _Repository(name, revision, info.sha, names)
    except Exception as error:  # Of the hub, of HTTP.
        try:
            folder = pathlib.Path(
                hub.snapshot_download(
                    name, repo_type="dataset", revision=revision, local_files_only=True
                )
            )
        except Exception:  # Nothing in the cache.
            raise OSError(
                f"{spec}: {hub.constants.ENDPOINT}/datasets/{name} at {revision} "
                "cannot be read; download its Parquet files and give parquet:GLOB "
                f"({typed_json.error_message(error)})"
            ) from error
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in files]
    return _Repository(name, revision, folder.name, names)


def _download_named(hub: Any, spec: str, found: _Repository, file: str) -> str:
    """Returns the path of a file of the commit, and lets the cache know the revision.

    Asked for by the revision's name, too, the cache finds the commit without a network.
    The branch may have moved meanwhile.
    """
    _download(hub, spec, found.name, file, found.revision)
    return _download(hub, spec, found.name, file, found.commit)


def _download(hub: Any, spec: str, repository: str, file: str, revision: str) -> str:
    """Returns the path of a file in the cache."""
    try:
        path = hub.hf_hub_download(
            repository, file, repo_type="dataset", revision=revision
        )
    except Exception as error:  # Of the hub, of HTTP, of the file system.
        raise OSError(
            f"{spec}: {file} cannot be downloaded ({typed_json.error_message(error)})"
        ) from error
    return str(path)


def _read_card(hub: Any, spec: str, found: _Repository) -> Mapping[str, Any]:
    """Returns the metadata of a dataset's card; none if there is none, or no such."""
    if _CARD not in found.files:
        return {}
    try:
        path = _download_named(hub, spec, found, _CARD)
        metadata = hub.metadata_load(path)
    except Exception:  # Not fetched, or no such metadata: names of files will do.
        return {}
    return metadata if isinstance(metadata, dict) else {}
