import dataclasses
import json
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudo_label.selection import order_statistics
from pseudo_label.selection.decision import count_copies
from tests.pseudo_label.selection.selections import (
    brute_force,
    config,
    config_strategy,
    rows_strategy,
    run,
    to_table,
)


@settings(deadline=None, max_examples=200)
@given(
    rows=rows_strategy,
    config=config_strategy,
    cut=st.integers(0, 60),
    narrowings=st.integers(0, 2),
    max_bins=st.sampled_from([2**8, 2**8, 2**8, 2**23]),
)
def test_equals_brute_force_however_the_rows_are_split(
    rows, config, cut, narrowings, max_bins
):
    table = to_table(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order_statistics, "_MAX_BINS", max_bins)
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
@given(rows=rows_strategy, config=config_strategy, seed=st.integers(0, 99))
def test_neither_order_nor_split_of_the_rows_matters(rows, config, seed):
    table = to_table(rows)
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    shuffled = table.take(pa.array(order, pa.int64()))
    sevenths = [shuffled.slice(start, 7) for start in range(0, len(rows), 7)]
    first, second = run([table], config), run(sevenths, config, narrowings=1)
    assert json.dumps(first.to_json()) == json.dumps(second.to_json())


def test_a_class_with_few_images_is_filled_evenly_up_to_max_copies():
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
def test_a_sparse_class_has_a_threshold_that_fills_it(max_copies):
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
