"""DuckDB: a window query over the Parquet files."""

from __future__ import annotations

import duckdb

from benchmarks.selection.task import CONFIDENCE_THRESHOLD, CutOff, SelectionTask
from stage.system import num_cores

#: The fastest of several equivalent queries.
QUERY = """
    WITH ranked AS (
        SELECT label, confidence, key_hash, row_number() OVER (
            PARTITION BY label ORDER BY {order}
        ) AS place
        FROM read_parquet($files) WHERE confidence >= $threshold::FLOAT
    )
    SELECT label, max(place), arg_max(confidence, place), arg_max(key_hash, place)
    FROM ranked WHERE place <= $images_per_class GROUP BY label
"""


def run(task: SelectionTask) -> list[CutOff]:
    """Returns the cut-offs.

    Ties are broken by the key's hash, or then by the key as in ours. The latter takes
    DuckDB longer, since it sorts every column that it orders by.
    """
    connection = duckdb.connect()
    connection.execute(f"SET threads = {num_cores()}")
    connection.execute("SET preserve_insertion_order = false")
    order = "confidence DESC, key_hash"
    if task.way.endswith("with_key"):
        order += ", key"
    rows = connection.execute(
        QUERY.format(order=order),
        {
            "files": f"{task.predictions}/*.parquet",
            "threshold": CONFIDENCE_THRESHOLD,
            "images_per_class": task.images_per_class,
        },
    ).fetchall()
    return [CutOff(*row) for row in rows]
