import dataclasses
import json
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudo_label import select
from pseudo_label.select import Selection, SelectionConfig

NUM_CLASSES = 4
NAMES = ("ant", "bee", "cat", "dog")

#: Few confidences and few hashes, so that every kind of tie comes up.
rows_strategy = st.lists(
    st.tuples(
        st.sampled_from(["ok", "ok", "ok", "empty"]),
        st.integers(0, NUM_CLASSES - 1),
        st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.9, 1.0]),
        st.integers(0, 2).map(lambda n: n * (2**63 - 1)),
    ),
    max_size=60,
)
config_strategy = st.builds(
    SelectionConfig,
    confidence_threshold=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    images_per_class=st.integers(1, 12),
    max_copies=st.integers(1, 4),
)


def to_table(rows):
    """Rows (status, label, confidence, key_hash); the position becomes the key."""
    ok = [row[0] == "ok" for row in rows]
    schema = pa.schema(
        [
            ("status", pa.string()),
            ("label", pa.int32()),
            ("confidence", pa.float32()),
            ("key_hash", pa.uint64()),
            ("key", pa.string()),
        ]
    )
    columns = [
        [row[0] for row in rows],
        [row[1] if is_ok else None for row, is_ok in zip(rows, ok, strict=True)],
        [row[2] if is_ok else None for row, is_ok in zip(rows, ok, strict=True)],
        [row[3] for row in rows],
        [f"key{index:02d}" for index in range(len(rows))],
    ]
    return pa.table(columns, schema=schema)


def run(tables, config):
    parts = [
        select.find_candidates(table, config, num_classes=NUM_CLASSES)
        for table in tables
    ]
    merged = select.merge_candidates(parts, config, num_classes=NUM_CLASSES)
    return select.decide(merged, config, class_names=NAMES, predictions="abc")


def brute_force(rows, config):
    """Returns copies of every row, from the definition."""
    threshold = np.float32(config.confidence_threshold)
    copies = [0] * len(rows)
    for label in range(NUM_CLASSES):
        members = [
            index
            for index, row in enumerate(rows)
            if row[0] == "ok" and row[1] == label and np.float32(row[2]) >= threshold
        ]
        members.sort(key=lambda i: (-rows[i][2], rows[i][3], f"key{i:02d}"))
        members = members[: config.images_per_class]
        wanted = min(config.images_per_class, len(members) * config.max_copies)
        for turn in range(wanted):
            copies[members[turn % len(members)]] += 1
    return copies


@settings(deadline=None, max_examples=200)
@given(rows=rows_strategy, config=config_strategy, cut=st.integers(0, 60))
def test_equals_brute_force_however_the_rows_are_split(rows, config, cut):
    table = to_table(rows)
    selection = run([table[:cut], table[cut:]], config)
    copies = select.count_copies(table, selection)
    assert copies.tolist() == brute_force(rows, config)
    funnel = selection.funnel
    assert funnel.read == len(rows)
    assert funnel.undecodable == sum(row[0] != "ok" for row in rows)
    assert funnel.read == (
        funnel.undecodable
        + funnel.below_threshold
        + funnel.beyond_quota
        + funnel.unique_kept
    )
    assert funnel.unique_kept == np.count_nonzero(copies)
    assert funnel.records == funnel.unique_kept + funnel.copies == copies.sum()


@settings(deadline=None, max_examples=50)
@given(rows=rows_strategy, config=config_strategy, seed=st.integers(0, 99))
def test_neither_order_nor_split_of_the_rows_matters(rows, config, seed):
    table = to_table(rows)
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    shuffled = table.take(pa.array(order, pa.int64()))
    thirds = [shuffled[start::1].slice(0, 7) for start in range(0, len(rows), 7)]
    first, second = run([table], config), run(thirds, config)
    assert json.dumps(first.to_json()) == json.dumps(second.to_json())


@settings(deadline=None, max_examples=50)
@given(rows=rows_strategy, config=config_strategy)
def test_json_loses_nothing(rows, config):
    table = to_table(rows)
    selection = run([table], config)
    again = Selection.from_json(json.loads(json.dumps(selection.to_json())))
    assert again == selection
    np.testing.assert_array_equal(
        select.count_copies(table, again), select.count_copies(table, selection)
    )


def test_ties_are_broken_by_hash_then_key_never_by_position():
    rows = [("ok", 0, 0.5, 9), ("ok", 0, 0.5, 3), ("ok", 0, 0.5, 3), ("ok", 0, 0.4, 0)]
    config = SelectionConfig(confidence_threshold=0.0, images_per_class=2, max_copies=1)
    selection = run([to_table(rows)], config)
    assert select.count_copies(to_table(rows), selection).tolist() == [0, 1, 1, 0]
    assert selection.classes[0].cut_off.key == "key02"


def test_a_thin_class_is_filled_evenly_up_to_max_copies():
    rows = [("ok", 1, 0.9, 0), ("ok", 1, 0.8, 0), ("ok", 1, 0.7, 0)]
    config = SelectionConfig(confidence_threshold=0.0, images_per_class=7, max_copies=3)
    rule = run([to_table(rows)], config).classes[1]
    assert (rule.unique, rule.records, rule.copies) == (3, 7, 2)
    assert rule.extra_cut_off.key == "key00"
    fewer = dataclasses.replace(config, max_copies=2)
    assert run([to_table(rows)], fewer).classes[1].records == 6


def test_an_empty_class_keeps_nothing():
    config = SelectionConfig(confidence_threshold=0.5, images_per_class=7, max_copies=3)
    rule = run([to_table([("ok", 1, 0.4, 0)])], config).classes[1]
    assert (rule.confident, rule.unique, rule.cut_off) == (0, 0, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("confidence_threshold", 1.1),
        ("confidence_threshold", -0.1),
        ("confidence_threshold", float("nan")),
        ("images_per_class", 0),
        ("max_copies", 0),
    ],
)
def test_nonsense_is_refused(field, value):
    good = {"confidence_threshold": 0.5, "images_per_class": 1, "max_copies": 1}
    with pytest.raises(ValueError, match=field):
        SelectionConfig(**{**good, field: value})


def test_a_label_beyond_the_classes_is_refused():
    config = SelectionConfig(confidence_threshold=0.5, images_per_class=7, max_copies=3)
    with pytest.raises(ValueError, match=r"label 3 is outside 0\.\.1"):
        select.find_candidates(to_table([("ok", 3, 0.9, 0)]), config, num_classes=2)


def test_a_selection_of_another_version_is_refused():
    with pytest.raises(ValueError, match="schema version 1, got 2"):
        Selection.from_json({"schema_version": 2})
