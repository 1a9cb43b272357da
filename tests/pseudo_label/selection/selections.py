"""Selecting in this process: what the job's passes do, over parts of some rows."""

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from pseudo_label.selection import order_statistics
from pseudo_label.selection import tally as selection_tally
from pseudo_label.selection.decision import Selection, SelectionConfig
from pseudo_label.selection.order_statistics import Rows
from pseudo_label.selection.tally import Tally
from pseudo_label.selection.thresholds import FIXED, ThresholdConfig

NAMES = ("ant", "bee", "cat", "dog")
NUM_CLASSES = len(NAMES)

#: Few confidences and few hashes, so that every kind of tie comes up.
rows_strategy = st.lists(
    st.tuples(
        st.sampled_from(["ok", "ok", "ok", "empty"]),
        st.integers(0, NUM_CLASSES - 1),
        st.sampled_from([0.0, 1e-30, 0.25, 0.3, 0.5, 0.9, 0.99999994, 1.0]),
        st.integers(0, 2).map(lambda n: n * (2**63 - 1)),
    ),
    max_size=60,
)


def config(threshold=0.0, images_per_class=1, max_copies=1, **more):
    rule = ThresholdConfig(rule=FIXED, values=(threshold,))
    return SelectionConfig(
        thresholds=rule,
        images_per_class=images_per_class,
        max_copies=max_copies,
        **more,
    )


config_strategy = st.builds(
    config,
    threshold=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    images_per_class=st.integers(1, 12),
    max_copies=st.integers(1, 4),
)


def to_table(rows):
    """Rows (status, label, confidence, key_hash); the position becomes the key."""
    ok = [row[0] == "ok" for row in rows]
    schema = pa.schema(
        [
            ("label", pa.int32()),
            ("confidence", pa.float32()),
            ("key_hash", pa.uint64()),
            ("key", pa.string()),
        ]
    )
    columns = [
        [row[1] if is_ok else None for row, is_ok in zip(rows, ok, strict=True)],
        [row[2] if is_ok else None for row, is_ok in zip(rows, ok, strict=True)],
        [row[3] for row in rows],
        [f"key{index:02d}" for index in range(len(rows))],
    ]
    return pa.table(columns, schema=schema)


def to_rows(table, shard=0, dropped=(), num_classes=NUM_CLASSES):
    """Rows of a table; those that cannot be selected get the label `num_classes`."""
    label = table["label"].fill_null(num_classes).to_numpy().copy()
    label[list(dropped)] = num_classes
    return Rows(
        label,
        table["confidence"].fill_null(0).to_numpy(),
        table["key_hash"].to_numpy(),
        np.full(len(label), shard, np.int32),
        np.arange(len(label), dtype=np.int32),
    )


def run(tables, config, *, narrowings=0, dropped=(), classes=NAMES):
    """Selects from tables, each a shard; `dropped` are rows of the first."""
    thresholds = config.thresholds.of_classes(len(classes))
    parts = [
        to_rows(table, index, dropped if index == 0 else (), len(classes))
        for index, table in enumerate(tables)
    ]
    tally = Tally.zero(thresholds)
    for part in parts:
        counted = Tally.zero(thresholds)
        counted.count(part)
        tally += counted
    statistics = find_statistics(parts, tables, tally, config, narrowings)
    rules = selection_tally.make_rules(tally, statistics, config, classes)
    labels = tables[0]["label"].take(list(dropped)).to_pylist() if dropped else []
    counts = Counter(("duplicate", label) for label in labels)
    return Selection(
        settings=config,
        predictions="abc",
        funnel=selection_tally.make_funnel(tally, counts, rules),
        sparse_classes=selection_tally.find_sparse_classes(
            tally, counts, rules, config
        ),
        classes=rules,
    )


def find_statistics(parts, tables, tally, config, narrowings):
    ranks = selection_tally.wanted_ranks(tally.confident, config)
    windows = order_statistics.find_windows(tally.histogram, ranks, tally.bins)
    for _ in range(narrowings):
        inside = np.zeros((*ranks.shape, windows.num_digits), np.int64)
        for part in parts:
            np.add.at(
                inside.reshape(-1), order_statistics.digit_index(part, windows), 1
            )
        windows = order_statistics.narrow(windows, inside)
    taken = Rows.concatenate(
        order_statistics.take_inside(part, windows) for part in parts
    )
    return order_statistics.find_order_statistics(
        taken,
        windows,
        lambda shards, rows: [
            tables[shard]["key"][int(row)].as_py()
            for shard, row in zip(shards, rows, strict=True)
        ],
    )


def brute_force(rows, config, dropped=()):
    """Returns copies of every row, from the definition; rows are in order of key."""
    threshold = np.float32(config.thresholds.values[0])
    copies = [0] * len(rows)
    for label in range(NUM_CLASSES):
        members = [
            index
            for index, row in enumerate(rows)
            if row[0] == "ok"
            and row[1] == label
            and np.float32(row[2]) >= threshold
            and index not in dropped
        ]
        members.sort(key=lambda i: (-np.float32(rows[i][2]), rows[i][3], i))
        members = members[: config.images_per_class]
        wanted = min(config.images_per_class, len(members) * config.max_copies)
        for turn in range(wanted):
            copies[members[turn % len(members)]] += 1
    return copies
