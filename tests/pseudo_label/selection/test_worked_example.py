"""The worked example of `docs/selection.md` is what the code computes."""

import math
import pathlib
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pseudo_label.predictions.schema import hash_key
from pseudo_label.selection import order_statistics
from pseudo_label.selection import tally as selection_tally
from pseudo_label.selection.decision import Selection, count_copies
from pseudo_label.selection.order_statistics import HistogramBins
from pseudo_label.selection.tally import Tally
from tests.pseudo_label.selection.selections import config, to_rows

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "selection.md"
KEYS = "abcdefgh"
LABELS = (0, 0, 0, 0, 0, 1, 1, 1)
CONFIDENCES = (0.9, 0.75, 0.75, 0.6, 0.25, 0.95, 0.55, 0.4)
CLASSES = (0, 1)
SETTINGS = config(threshold=0.5, images_per_class=3, max_copies=2)
TABLE = pa.table(
    {
        "label": pa.array(LABELS, pa.int32()),
        "confidence": pa.array(CONFIDENCES, pa.float32()),
        "key_hash": pa.array(map(hash_key, KEYS), pa.uint64()),
        "key": list(KEYS),
    }
)
ROWS = to_rows(TABLE)


def hexadecimal(number):
    return f"0x{int(number):016x}"


def count_digits(windows):
    """Returns the digit of each row inside each window, and their counts."""
    index = order_statistics.digit_index(ROWS, windows)
    counts = np.bincount(index, minlength=windows.ranks.size * windows.num_digits)
    return index, counts.reshape(*windows.ranks.shape, -1)


class Example:
    """Every array of the selection, by the project's functions."""

    def __init__(self):
        self.tally = Tally.zero(SETTINGS.thresholds.of_classes(len(CLASSES)))
        self.tally.count(ROWS)
        self.bins = self.tally.bins
        self.bin = self.bins.index(ROWS.label, ROWS.confidence) % self.bins.num_bins
        self.ranks = selection_tally.wanted_ranks(self.tally.confident, SETTINGS)
        self.windows = order_statistics.find_windows(
            self.tally.histogram, self.ranks, self.bins
        )
        self.taken = order_statistics.take_inside(ROWS, self.windows)
        self.statistics = order_statistics.find_order_statistics(
            self.taken, self.windows, pytest.fail
        )
        self.rules = selection_tally.make_rules(
            self.tally, self.statistics, SETTINGS, list(map(str, CLASSES))
        )
        self.selection = Selection(
            settings=SETTINGS,
            predictions="",
            funnel=selection_tally.make_funnel(self.tally, Counter(), self.rules),
            classes=self.rules,
        )

    def predictions(self):
        steps = order_statistics._steps(ROWS.confidence)
        hashes = map(hexadecimal, ROWS.key_hash)
        return zip(KEYS, LABELS, CONFIDENCES, hashes, steps, self.bin, strict=True)

    def histogram(self):
        for label in CLASSES:
            counts = self.tally.histogram[label]
            cumulative = np.cumsum(counts)
            for number in np.flatnonzero(counts):
                reaches = number < self.bins.num_confident[label]
                yield (
                    *(label, number, counts[number], cumulative[number]),
                    "yes" if reaches else "no",
                )

    def wanted_ranks(self):
        for label in CLASSES:
            rule = self.rules[label]
            yield label, rule.confident, rule.unique, rule.records, *self.ranks[label]

    def rank_windows(self):
        for label in CLASSES:
            for rank in np.flatnonzero(self.ranks[label]):
                before, first, steps = (
                    values[label, rank]
                    for values in (
                        self.windows.rows_before,
                        self.windows.first_step,
                        self.windows.num_steps,
                    )
                )
                (number,) = {
                    self.bin[row]
                    for row in self.windows.find_inside(ROWS)[rank]
                    if LABELS[row] == label
                }
                inside = self.tally.histogram[label, number]
                yield (
                    *(label, self.ranks[label, rank]),
                    *(number, before, inside, first, steps),
                )

    def narrowing(self):
        windows = self.windows
        for turn in (1, 2):
            by_hash = windows.is_split_by_hash[0, 0]
            inside = [KEYS[row] for row in windows.find_inside(ROWS)[0]][:2]
            assert inside == ["b", "c"]
            index, counts = count_digits(windows)
            digits = index[:2] % windows.num_digits
            windows = order_statistics.narrow(windows, counts)
            yield (
                turn,
                "hash" if by_hash else "step",
                *digits,
                windows.rows_before[0, 0],
                sum(LABELS[row] == 0 for row in windows.find_inside(ROWS)[0]),
                windows.first_step[0, 0],
                windows.num_steps[0, 0],
                hexadecimal(windows.first_hash[0, 0]),
            )

    def sorted_rows(self):
        ordered = order_statistics._sort(self.taken)
        for label in CLASSES:
            keys = [KEYS[row] for row in ordered.row[ordered.label == label]]
            cells = []
            for rank, statistic in enumerate(self.statistics[label]):
                if statistic is None:
                    cells += ["", ""]
                    continue
                row = ROWS.key_hash.tolist().index(statistic.key_hash)
                position = (
                    self.ranks[label, rank] - self.windows.rows_before[label, rank]
                )
                cells += [position, KEYS[row]]
            yield label, " ".join(keys), *cells

    def rules_table(self):
        def describe(statistic):
            if statistic is None:
                return "none"
            confidence = round(statistic.confidence, 6)
            return f"{confidence}, {hexadecimal(statistic.key_hash)}"

        for label in CLASSES:
            rule = self.rules[label]
            cut_offs = describe(rule.cut_off), describe(rule.extra_cut_off)
            yield label, cut_offs[0], rule.copies, cut_offs[1]

    def copies(self):
        yield "records", *count_copies(TABLE, self.selection)

    def funnel(self):
        yield self.selection.funnel.by_title().values()


TABLES = (
    *(Example.predictions, Example.histogram, Example.wanted_ranks),
    *(Example.rank_windows, Example.narrowing, Example.sorted_rows),
    *(Example.rules_table, Example.copies, Example.funnel),
)


def read_tables():
    """Returns the tables of the example, without their heads, as lists of cells."""
    text = PAGE.read_text().partition("### Worked example")[2]
    tables, lines = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            lines.append([cell.strip() for cell in line.strip("|").split("|")])
        elif lines:
            tables.append(lines[2:])
            lines = []
    return tables


@pytest.fixture(scope="module")
def example():
    return Example()


def test_every_table_is_computed():
    assert len(read_tables()) == len(TABLES)


@pytest.mark.parametrize("number", range(len(TABLES)), ids=lambda n: TABLES[n].__name__)
def test_a_table_is_what_the_code_computes(example, number):
    rows = [[str(cell) for cell in row] for row in TABLES[number](example)]
    assert read_tables()[number] == rows


def test_the_formula_of_the_bins(example):
    """It holds for each row, and for bins at the ends and beside a power of two."""
    steps = [0, 1, 2, 3, 255, 256, 257, 2**24 - 1, 2**24, 1_065_353_216]
    steps += order_statistics._steps(ROWS.confidence).tolist()
    confidence = (np.uint32(0x3F800000) - np.array(steps, np.uint32)).view(np.float32)
    bins = []
    for step, value in zip(steps, confidence, strict=True):
        exponent = max(step, 1).bit_length() - 1
        number = 1 + 128 * exponent + math.floor(128 * (step / 2**exponent - 1))
        bins.append((number if step else 0) + (value < 0.5))
    found = example.bins.index(np.zeros(len(steps), np.int32), confidence)
    assert found.tolist() == bins
    assert example.bins.num_bins == 3842
    assert HistogramBins(np.zeros(2184, np.float32)).num_bins == 3842
    assert HistogramBins(np.zeros(2185, np.float32)).num_bins < 3842


def test_the_sentences_between_the_tables(example):
    """Their figures, too, are those of the code."""
    text = " ".join(PAGE.read_text().split())
    assert f"The first {example.bins.num_confident[0]} bins reach" in text
    assert f"the {example.windows.num_digits} digits" in text.replace("\n", " ")
    assert example.windows.rows == 4
    assert not example.windows.are_wide
