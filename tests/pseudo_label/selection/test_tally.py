import dataclasses
import json
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudo_label.selection.decision import PrecisionEstimate, Selection, count_copies
from pseudo_label.selection.precision import Precision
from tests.pseudo_label.selection.selections import (
    NUM_CLASSES,
    config,
    config_strategy,
    rows_strategy,
    run,
    to_table,
)


def brute_force(rows, config, dropped=()):
    """Returns copies of every row, from the definition."""
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
        members.sort(key=lambda i: (-np.float32(rows[i][2]), rows[i][3], f"key{i:02d}"))
        members = members[: config.images_per_class]
        wanted = min(config.images_per_class, len(members) * config.max_copies)
        for turn in range(wanted):
            copies[members[turn % len(members)]] += 1
    return copies


@settings(deadline=None, max_examples=200)
@given(
    rows=rows_strategy,
    config=config_strategy,
    cut=st.integers(0, 60),
    narrowings=st.integers(0, 2),
)
def test_equals_brute_force_however_the_rows_are_split(rows, config, cut, narrowings):
    table = to_table(rows)
    selection = run([table[:cut], table[cut:]], config, narrowings=narrowings)
    copies = count_copies(table, selection)
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
@given(rows=rows_strategy, config=config_strategy, dropped=st.sets(st.integers(0, 9)))
def test_what_is_dropped_counts_for_nothing(rows, config, dropped):
    dropped = sorted(i for i in dropped if i < len(rows) and rows[i][0] == "ok")
    table = to_table(rows)
    selection = run([table], config, dropped=dropped)
    copies = count_copies(table, selection, dropped)
    assert copies.tolist() == brute_force(rows, config, dropped)
    funnel = selection.funnel
    assert funnel.read == (
        funnel.undecodable
        + funnel.duplicate
        + funnel.below_threshold
        + funnel.beyond_quota
        + funnel.unique_kept
    )


@settings(deadline=None, max_examples=50)
@given(rows=rows_strategy, config=config_strategy, seed=st.integers(0, 99))
def test_neither_order_nor_split_of_the_rows_matters(rows, config, seed):
    table = to_table(rows)
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    shuffled = table.take(pa.array(order, pa.int64()))
    sevenths = [shuffled.slice(start, 7) for start in range(0, len(rows), 7)]
    first, second = run([table], config), run(sevenths, config, narrowings=1)
    assert json.dumps(first.to_json()) == json.dumps(second.to_json())


@settings(deadline=None, max_examples=50)
@given(rows=rows_strategy, config=config_strategy)
def test_json_loses_nothing(rows, config):
    table = to_table(rows)
    selection = run([table], config)
    precision = Precision.of(np.array([True, False]))
    selection = dataclasses.replace(
        selection,
        estimate=PrecisionEstimate(
            kind="held_out", above_threshold=precision, kept=precision
        ),
    )
    again = Selection.from_json(json.loads(json.dumps(selection.to_json())))
    assert again == selection
    np.testing.assert_array_equal(
        count_copies(table, again), count_copies(table, selection)
    )


def test_ties_are_broken_by_hash_then_key_never_by_position():
    rows = [("ok", 0, 0.5, 9), ("ok", 0, 0.5, 3), ("ok", 0, 0.5, 3), ("ok", 0, 0.4, 0)]
    table = to_table(rows)
    for images, copies in ((1, [0, 1, 0, 0]), (2, [0, 1, 1, 0]), (3, [1, 1, 1, 0])):
        selection = run([table], config(images_per_class=images))
        assert count_copies(table, selection).tolist() == copies
        backwards = table.take([3, 2, 1, 0])
        assert run([backwards], config(images_per_class=images)) == selection


def test_a_key_is_told_only_where_it_decides():
    table = to_table([("ok", 0, 0.5, 3), ("ok", 0, 0.5, 3), ("ok", 1, 0.5, 3)])
    tied, alone = run([table], config(images_per_class=1)).classes[:2]
    assert tied.cut_off.key == "key00"
    assert alone.cut_off.key is None


def test_a_thin_class_is_filled_evenly_up_to_max_copies():
    table = to_table([("ok", 1, 0.9, 0), ("ok", 1, 0.8, 0), ("ok", 1, 0.7, 0)])
    seven = config(images_per_class=7, max_copies=3)
    rule = run([table], seven).classes[1]
    assert (rule.unique, rule.records, rule.copies) == (3, 7, 2)
    assert rule.extra_cut_off.confidence == np.float32(0.9)
    fewer = dataclasses.replace(seven, max_copies=2)
    assert run([table], fewer).classes[1].records == 6


def test_an_empty_class_keeps_nothing_and_is_named():
    table = to_table([("ok", 1, 0.4, 0)])
    selection = run([table], config(0.5, images_per_class=1))
    rule = selection.classes[1]
    assert (rule.confident, rule.unique, rule.cut_off) == (0, 0, None)
    assert [sparse.name for sparse in selection.sparse_classes] == [
        "ant",
        "bee",
        "cat",
        "dog",
    ]
    assert [sparse.predicted for sparse in selection.sparse_classes] == [0, 1, 0, 0]


@pytest.mark.parametrize("max_copies", [1, 3])
def test_an_alarm_names_a_threshold_that_fills_the_class(max_copies):
    rng = np.random.default_rng(0)
    rows = [("ok", 0, float(c), i) for i, c in enumerate(rng.random(500) * 0.8)]
    asked = config(0.795, images_per_class=200, max_copies=max_copies)
    selection = run([to_table(rows)], asked)
    sparse = selection.sparse_classes[0]
    assert (sparse.name, sparse.fills) == ("ant", -(-200 // max_copies))
    filled = config(sparse.filling_threshold, asked.images_per_class, max_copies)
    rule = run([to_table(rows)], filled).classes[0]
    assert rule.records == 200
    # The highest such threshold, but for the width of a bin.
    higher = 1 - (1 - sparse.filling_threshold) * 0.98
    rule = run([to_table(rows)], config(higher, 200, max_copies)).classes[0]
    assert rule.records < 200


def test_a_class_that_nothing_fills_has_no_such_threshold():
    table = to_table([("ok", 0, 0.9, 0)])
    selection = run([table], config(0.95, images_per_class=2))
    assert selection.sparse_classes[0].filling_threshold is None
    assert selection.sparse_classes[0].predicted == 1


@pytest.mark.parametrize(
    ("field", "value"), [("images_per_class", 0), ("max_copies", 0)]
)
def test_nonsense_is_refused(field, value):
    with pytest.raises(ValueError, match=field):
        config(**{field: value})


def test_a_selection_of_another_version_is_refused():
    with pytest.raises(ValueError, match="schema version 2, got 1"):
        Selection.from_json({"schema_version": 1})
