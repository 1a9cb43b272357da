import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.selection.decision import (
    PrecisionEstimate,
    Selection,
    count_copies,
    open_selection,
)
from pseudo_label.selection.precision import Precision
from tests import chain
from tests.pseudo_label.selection.selections import (
    brute_force,
    config,
    config_strategy,
    rows_strategy,
    run,
    to_table,
)


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
    again = Selection.from_json(json.dumps(selection.to_json()).encode(), "file")
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


def test_a_key_is_stored_only_where_it_decides():
    table = to_table([("ok", 0, 0.5, 3), ("ok", 0, 0.5, 3), ("ok", 1, 0.5, 3)])
    tied, alone = run([table], config(images_per_class=1)).classes[:2]
    assert tied.cut_off.key == "key00"
    assert alone.cut_off.key is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("images_per_class", 0), ("max_copies", 0), ("duplicate_bits", 4)],
)
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field.removeprefix("duplicate_")):
        config(**{field: value})


def test_a_selection_of_another_version_is_refused():
    with pytest.raises(ValueError, match=r"\b2\b.*\b1\b"):
        Selection.from_json(b'{"schema_version": 1}', "file")


def test_the_keys_of_the_file_are_those_of_version_2():
    """Old selections must open, and tools read these names."""
    table = to_table([("ok", 0, 0.9, 0), ("ok", 1, 0.2, 0)])
    content = run([table], config(0.5, images_per_class=30)).to_json()
    assert list(content) == [
        *("schema_version", "settings", "predictions", "funnel"),
        *("estimate", "alarms", "classes", "fingerprint"),
    ]
    assert "beyond_quota" in content["funnel"]
    assert list(content["alarms"][0]) == [
        *("name", "predicted", "dropped", "kept", "fills", "filling_threshold"),
    ]
    assert list(content["classes"][0]["cut_off"]) == ["confidence", "key_hash", "key"]


def test_every_count_of_the_funnel_has_a_title():
    funnel = run([to_table([("ok", 0, 0.9, 0)])], config()).funnel
    assert list(funnel.by_title().values()) == list(vars(funnel).values())
    assert {"no prediction", "over quota"} < set(funnel.by_title())


def test_a_selection_opens_with_its_own_predictions_only(tmp_path):
    for name, teachers in (("a", ("aa",)), ("b", ("bb",))):
        chain.make(tmp_path / name, teachers=teachers)
    ours, theirs = (chain.Chain(tmp_path / name) for name in "ab")
    predictions = open_predictions(ours.predictions)
    selection = open_selection(ours.selection, predictions)
    assert selection.predictions == predictions.fingerprint
    with pytest.raises(ValueError, match=predictions.fingerprint[:12]):
        open_selection(theirs.selection, predictions)
    with pytest.raises(ValueError, match=r"selection\.json"):
        open_selection(ours.predictions, predictions)
