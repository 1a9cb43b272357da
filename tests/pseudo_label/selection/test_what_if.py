import dataclasses

import numpy as np
import pytest

from pseudo_label.selection import what_if
from pseudo_label.selection.precision import LabeledPredictions, precision_above
from pseudo_label.selection.tally import Tally
from tests.pseudo_label.selection.selections import config, run, to_rows, to_table


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return to_table(
        [
            ("ok", int(label), float(confidence), index)
            for index, (label, confidence) in enumerate(
                zip(rng.integers(0, 3, 400), 1 - rng.random(400) ** 3, strict=True)
            )
        ]
    )


def cells_of(table, asked, calibration=None):
    tally = Tally.zero(asked.thresholds.of_classes(4), what_if.levels(asked))
    tally.count(to_rows(table))
    return what_if.make_table(tally, asked, calibration)


def test_every_cell_is_what_that_selection_keeps(table):
    asked = config(0.62, images_per_class=90, max_copies=2)
    cells = cells_of(table, asked)
    assert len({cell.images_per_class for cell in cells}) == 5
    assert np.float32(0.62) in {np.float32(c.confidence_threshold) for c in cells}
    for cell in cells:
        settings = config(cell.confidence_threshold, cell.images_per_class, 2)
        selection = run([table], settings)
        assert cell.records == selection.funnel.records
        assert cell.unique == selection.funnel.unique_kept
        assert cell.copies == selection.funnel.copies
        assert cell.empty_classes == sum(r.unique == 0 for r in selection.classes)
        assert cell.precision is None


def test_precision_is_of_what_the_same_settings_keep_of_labeled_images(table):
    rows = to_rows(table)
    right = np.random.default_rng(1).random(len(rows.row)) < rows.confidence
    calibration = LabeledPredictions(
        kind="held_out",
        label=np.where(right, rows.label, 3).astype(np.int32),
        predicted=rows.label,
        confidence=rows.confidence,
    )
    asked = config(0.5, images_per_class=40, max_copies=1)
    for cell in cells_of(table, asked, calibration):
        selection = run(
            [table], config(cell.confidence_threshold, cell.images_per_class)
        )
        cuts = np.array(
            [
                rule.cut_off.confidence if rule.cut_off else np.inf
                for rule in selection.classes
            ]
        )
        kept = rows.confidence >= cuts[rows.label]
        # A quota's cut is known to a bin: some images more may count.
        assert 0 <= cell.precision.images - kept.sum() <= 0.05 * kept.sum() + 3


def test_json_loses_nothing(table, tmp_path):
    cells = cells_of(table, config(0.5, images_per_class=3))
    assert what_if.read_table(tmp_path) is None
    what_if.write_table(tmp_path, cells)
    assert what_if.read_table(tmp_path) == cells


def label_rows(*rows):
    """Labeled images: true class, predicted class and confidence of each."""
    label, predicted, confidence = zip(*rows, strict=True)
    return LabeledPredictions(
        kind="test",
        label=np.array(label, np.int32),
        predicted=np.array(predicted, np.int32),
        confidence=np.array(confidence, np.float32),
    )


def test_images_below_the_last_one_kept_do_not_count():
    """Even in a class that is not full, as for the precision of the kept labels."""
    table = to_table([("ok", 0, 0.9, 1), ("ok", 0, 0.8, 2), ("ok", 1, 0.7, 3)])
    labeled = label_rows((0, 0, 0.85), (1, 0, 0.6), (1, 1, 0.75), (2, 2, 0.99))
    asked = config(0.5, images_per_class=9)
    for cell in cells_of(table, asked, labeled):
        lowest = run([table], config(cell.confidence_threshold, 9)).lowest_kept
        expected = precision_above(labeled, lowest)
        if cell.images_per_class == 9:
            assert cell.precision == expected


@pytest.mark.parametrize("is_labeled", [False, True])
def test_the_lines_mark_the_chosen_settings(table, is_labeled):
    asked = config(0.5, images_per_class=40)
    labeled = label_rows((0, 0, 0.9)) if is_labeled else None
    cells = cells_of(table, asked, labeled)
    head, *lines = what_if.format_table(cells, asked)
    assert len(lines) == len(cells)
    assert ("precision" in head) == is_labeled
    (chosen,) = (line for line in lines if "chosen" in line)
    assert chosen.split()[:2] == ["0.5", "40"]
    assert is_labeled or {len(line.rstrip()) for line in lines if line != chosen} == {
        len(head)
    }


@pytest.mark.parametrize(
    "thresholds", [{"adaptive": True}, {"rule": "per_class", "values": (0.5,) * 4}]
)
def test_no_line_is_chosen_where_classes_differ(table, thresholds):
    asked = config(0.5, images_per_class=40)
    rule = dataclasses.replace(asked.thresholds, **thresholds)
    cells = cells_of(table, asked)
    own = dataclasses.replace(asked, thresholds=rule)
    assert not any(what_if.is_chosen(cell, own) for cell in cells)
