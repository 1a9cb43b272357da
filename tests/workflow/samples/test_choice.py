import collections

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudo_label.deduplication import near_duplicates
from tests.pseudo_label.selection import selections
from tests.pseudo_label.selection.selections import NUM_CLASSES, config_strategy
from workflow.samples import choice
from workflow.samples.choice import SampleConfig
from workflow.samples.tiles import SHEETS

STATUS = (("empty", ""), ("bad", "no"), ("bad", "cut off"), ("odd", ""))
CONFIDENCES = (0.0, 1e-30, 0.25, 0.3, 0.5, 0.9, 0.99999994, 1.0)


@st.composite
def row_lists(draw):
    """Rows with few distinct values, so that every kind of tie occurs.

    A row is (status and error), label, confidence, hash, and why it was dropped.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return [
        (
            ("ok", "") if rng.random() < 0.7 else STATUS[rng.integers(len(STATUS))],
            int(rng.integers(NUM_CLASSES)),
            float(rng.choice(CONFIDENCES)),
            int(rng.integers(3)) * (2**63 - 1),
            "" if rng.random() < 0.7 else str(rng.choice(["leaked", "duplicate"])),
        )
        for _ in range(draw(st.integers(0, 90)))
    ]


#: Values that take turns on a sheet; the last one takes precedence.
TURNS = {
    "above_cut": [lambda row: row["label"]],
    "below_cut": [lambda row: row["label"]],
    "undecodable": [lambda row: (row["status"], row["error"]), lambda r: r["status"]],
    "leaked": [lambda row: row["kind"]],
    "duplicate": [lambda row: row["kind"]],
}


def to_tables(rows, num_shards):
    """Rows dealt to shards: (predictions, dropped rows) of each."""
    shards = [rows[index::num_shards] for index in range(num_shards)]
    return [
        (predictions(shard, index), dropped(shard))
        for index, shard in enumerate(shards)
    ]


def predictions(rows, shard):
    table = selections.to_table([(row[0][0], *row[1:4]) for row in rows])
    table = table.set_column(
        3, "key", pa.array([f"{shard}/{i:02d}" for i in range(len(rows))], pa.string())
    )
    for place, name in enumerate(("status", "error")):
        words = pa.array([row[0][place] for row in rows], pa.string())
        table = table.append_column(name, words)
    return table.append_column("record_index", pa.array(np.arange(len(rows))))


def dropped(rows):
    """The dropped rows; how their match was found follows from the label."""
    found = [
        {
            "record_index": index,
            "reason": reason,
            "same_bytes": label == 0,
            "distance": label % 2,
            "twin_set": "test" if reason == "leaked" else "",
            "twin_shard": 7,
            "twin_row": index,
            "twin_key": f"twin of {index}",
        }
        for index, ((status, _), label, _, _, reason) in enumerate(rows)
        if status == "ok" and reason
    ]
    schema = near_duplicates.dropped_schema()
    table = pa.Table.from_pylist(found, schema=schema)
    return table.select(list(choice.DROPPED_COLUMNS))


def find(shards, selection, config, block=10**6):
    """The tiles of all sheets, from shards that are read in blocks."""
    found = []
    for shard, (rows, gone) in shards:
        for first in range(0, len(rows), block):
            part = rows.slice(first, block)
            found.append(
                choice.find_candidates(
                    part, gone, selection, shard=shard, config=config
                )
            )
    return choice.choose(found, config)


def select(shards, config):
    """The selection, and the copies of each key, by sorting everything."""
    kept = pa.concat_tables(
        rows.filter(pa.array(~np.isin(np.arange(len(rows)), gone["record_index"])))
        for rows, gone in shards
    )
    selection = selections.run([kept], config)
    rows = sorted(kept.to_pylist(), key=lambda row: row["key"])
    names = ("status", "label", "confidence", "key_hash")
    counts = selections.brute_force([[row[n] for n in names] for row in rows], config)
    copies = {row["key"]: count for row, count in zip(rows, counts, strict=True)}
    return selection, {key: count for key, count in copies.items() if count}


def best_first(row):
    return -row["confidence"], row["key_hash"], row["key"]


def take_turns(rows, value_of):
    seen = collections.Counter()
    turns = []
    for row in rows:
        turns.append(seen[value_of(row)])
        seen[value_of(row)] += 1
    return [rows[index] for index in np.argsort(turns, kind="stable")]


def brute_force(shards, selection, copies, config):
    """The keys of each sheet, by definition."""
    every, gone = [], {"leaked": [], "duplicate": []}
    for rows, missing in shards:
        found = {row["record_index"]: row for row in missing.to_pylist()}
        for index, row in enumerate(rows.to_pylist()):
            if index in found:
                kind = found[index]["same_bytes"], found[index]["distance"]
                gone[found[index]["reason"]].append({**row, "kind": kind})
            else:
                every.append({**row, "copies": copies.get(row["key"], 0)})
    kept = [row for row in every if row["copies"]]
    below = [row for row in every if not row["copies"] and row["label"] is not None]
    bad = [row for row in every if row["label"] is None]

    def turn(row):
        hashes = np.array([row["key_hash"]], np.uint64)
        return int(choice.seeded_hash(hashes, config.seed)[0]), row["key"]

    def margin(row):
        rule = selection.classes[row["label"]]
        if rule.confident > rule.unique:
            return abs(row["confidence"] - rule.cut_off.confidence)
        return abs(row["confidence"] - rule.threshold)

    # From the worst to the best, of equal margins.
    worst_first = sorted(kept, key=best_first, reverse=True)
    orders = {
        "highest": sorted(kept, key=best_first),
        "random": sorted(kept, key=turn),
        "above_cut": sorted(worst_first, key=margin),
        "below_cut": sorted(sorted(below, key=best_first), key=margin),
        "most_copied": sorted(kept, key=lambda row: (-row["copies"], *best_first(row))),
        "undecodable": sorted(bad, key=turn),
        "leaked": sorted(gone["leaked"], key=turn),
        "duplicate": sorted(gone["duplicate"], key=turn),
    }
    tiles = {}
    for sheet, rows in orders.items():
        chosen = rows
        for value_of in TURNS.get(sheet, ()):
            chosen = take_turns(chosen, value_of)
        keys = {row["key"] for row in chosen[: config.per_sheet]}
        tiles[sheet] = [row["key"] for row in rows if row["key"] in keys]
    return tiles


def keys_of(tiles):
    keys = collections.defaultdict(list)
    for row in tiles.to_pylist():
        keys[row["sheet"]].append(row["key"])
    return {sheet: keys[sheet] for sheet in SHEETS}


@settings(deadline=None, max_examples=80)
@given(
    rows=row_lists(),
    num_shards=st.integers(1, 4),
    config=config_strategy,
    per_sheet=st.integers(1, 9),
    seed=st.integers(0, 3),
)
def test_equals_brute_force(rows, num_shards, config, per_sheet, seed):
    shards = to_tables(rows, num_shards)
    selection, copies = select(shards, config)
    wanted = SampleConfig(per_sheet=per_sheet, seed=seed)
    tiles = find(enumerate(shards), selection, wanted)
    assert keys_of(tiles) == brute_force(shards, selection, copies, wanted)
    for tile in tiles.to_pylist():
        assert tile["copies"] == copies.get(tile["key"], 0)
        shard, row = map(int, tile["key"].split("/"))
        assert (tile["shard"], tile["row"]) == (shard, row)


@settings(deadline=None, max_examples=15)
@given(
    rows=row_lists(),
    config=config_strategy,
    block=st.integers(1, 9),
    per_sheet=st.integers(1, 9),
    order=st.permutations(range(3)),
)
def test_blocks_and_the_order_of_shards_do_not_matter(
    rows, config, block, per_sheet, order
):
    shards = to_tables(rows, 3)
    selection, _ = select(shards, config)
    wanted = SampleConfig(per_sheet=per_sheet)
    whole = find(enumerate(shards), selection, wanted)
    parts = find([(i, shards[i]) for i in order], selection, wanted, block=block)
    assert parts == whole
    # As a shard's best are chosen before those of all.
    of_shards = [find([(i, shards[i])], selection, wanted) for i in order]
    assert choice.choose(of_shards, wanted) == whole


def test_no_class_fills_a_sheet():
    """A hundred images of one class are closer to the cut-off than all others."""
    near = [(("ok", ""), 0, 0.5, n, "") for n in range(100)]
    far = [(("ok", ""), label, 1.0, n, "") for label in (1, 2, 3) for n in range(9)]
    shards = to_tables([*near, *far], 1)
    selection, _ = select(
        shards, selections.config(threshold=0.5, images_per_class=200)
    )
    tiles = find(enumerate(shards), selection, SampleConfig(per_sheet=10)).to_pylist()
    labels = [tile["label"] for tile in tiles if tile["sheet"] == "above_cut"]
    assert sorted(collections.Counter(labels).values()) == [2, 2, 3, 3]
    assert labels[:3] == [0, 0, 0]  # Shown by how near they are.


def test_every_kept_image_is_drawn_as_often_as_any_other():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 40, dtype=np.uint64).tolist()
    shards = to_tables([(("ok", ""), 0, 1.0, key_hash, "") for key_hash in hashes], 2)
    selection, _ = select(shards, selections.config(images_per_class=40))
    count = collections.Counter()
    for seed in range(100):
        wanted = SampleConfig(per_sheet=10, seed=seed)
        keys = keys_of(find(enumerate(shards), selection, wanted))["random"]
        assert len(set(keys)) == 10
        count.update(keys)
    # 25 on average, with a standard deviation of 4.
    assert len(count) == 40
    assert 5 < min(count.values()) < max(count.values()) < 45


def test_the_seeded_hash_is_a_bijection():
    values = np.arange(10_000, dtype=np.uint64)
    assert len(np.unique(choice.seeded_hash(values, 3))) == len(values)
    assert (choice.seeded_hash(values, 3) != choice.seeded_hash(values, 4)).all()


def test_shards_are_chosen_evenly():
    count = collections.Counter()
    for seed in range(200):
        chosen = choice.choose_shards(20, SampleConfig(max_shards=5, seed=seed))
        assert chosen == sorted(set(chosen))
        assert len(chosen) == 5
        count.update(chosen)
    assert len(count) == 20
    assert 25 < min(count.values()) < max(count.values()) < 75
    assert choice.choose_shards(5, SampleConfig(max_shards=5)) == list(range(5))
    assert choice.choose_shards(0, SampleConfig()) == []


def test_reasons_are_in_words():
    rows = [
        (("empty", ""), 0, 0.0, 1, ""),
        (("bad", "cut off"), 0, 0.0, 2, ""),
        (("ok", ""), 0, 0.9, 3, "leaked"),
        (("ok", ""), 2, 0.9, 4, "leaked"),
        (("ok", ""), 3, 0.9, 5, "duplicate"),
        (("ok", ""), 3, 0.9, 6, ""),
    ]
    shards = to_tables(rows, 1)
    selection, _ = select(shards, selections.config())
    tiles = find(enumerate(shards), selection, SampleConfig()).to_pylist()
    assert {tile["key"]: tile["reason"] for tile in tiles} == {
        "0/00": "empty",
        "0/01": "bad: cut off",
        "0/02": "same bytes, in test",
        "0/03": "looks the same, in test",
        "0/04": "looks the same but for 1 of 64 bits",
        "0/05": "",
    }
    matches = {tile["key"]: (tile["twin_set"], tile["twin_key"]) for tile in tiles}
    assert matches["0/02"] == ("test", "twin of 2")
    assert matches["0/04"] == ("", "twin of 4")
    assert matches["0/05"] == (None, None)


@pytest.mark.parametrize("name", ["per_sheet", "thumbnail_size", "max_shards"])
def test_settings_are_positive(name):
    with pytest.raises(ValueError, match=f"{name}.* 0"):
        SampleConfig(**{name: 0})
