import numpy as np
import pytest

from pseudo_label.selection import what_if
from pseudo_label.selection.precision import LabeledPredictions
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
    assert len(list(what_if.format_table(cells))) == len(cells) + 1
