"""Where a job keeps the frozen list of its shards, a Parquet file.

It is named otherwise, so that `*.parquet` finds predictions alone.
`classifier.data.shard_manifest` writes and reads it.
"""

from __future__ import annotations

from etils import epath

NAME = "shards.list"
#: Name that earlier versions gave it; such a directory keeps it.
FORMER_NAME = "shards.parquet"


def find(directory: epath.PathLike) -> epath.Path:
    """Returns the path of a job's list, where it is or where it is to be written."""
    path = epath.Path(directory)
    former = path / FORMER_NAME
    return former if not (path / NAME).exists() and former.exists() else path / NAME
