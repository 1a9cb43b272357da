"""`docs/predictions.md`: its programs run, and its tables name every column."""

import json
import pathlib
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from etils import epath

from classifier.inference import calibration, evaluation
from pseudo_label.deduplication.near_duplicates import dropped_schema
from pseudo_label.predictions import schema as prediction_schema
from stage import shard_list
from tests import chain, documents
from tests.commands import ROOT

PAGE = (ROOT / "docs" / "predictions.md").read_text()
#: A word of each program, and the package that it needs.
NEEDS = {"pandas": "pandas", "polars": "polars", "duckdb": "duckdb", "buffer": "numpy"}
PROGRAMS = {
    word: block.text
    for block in documents.blocks(PAGE)
    for word in NEEDS
    if block.language == "python" and word in block.text
}
MORE = ("embedding", "embedding_norm", "true_label")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    found = chain.make(tmp_path_factory.mktemp("chain"))
    pathlib.Path(found.predictions, shard_list.NAME).write_bytes(b"no predictions")
    return found


def run(name, predictions, capsys):
    """Returns the variables of a program of the page and what it printed."""
    pytest.importorskip(NEEDS[name])
    variables = {}
    program = PROGRAMS[name].replace("runs/birds/predictions", str(predictions))
    exec(program, variables)
    return variables, capsys.readouterr().out


def read_rows(predictions):
    files = sorted(pathlib.Path(predictions).glob("predictions-*.parquet"))
    return pa.concat_tables(map(pq.read_table, files))


def test_pandas_keeps_hashes_labels_and_names(made, capsys):
    pandas = pytest.importorskip("pandas")
    variables, printed = run("pandas", made.predictions, capsys)
    rows, expected = variables["rows"], read_rows(made.predictions)
    for name in ("key_hash", "perceptual_hash", "label", "record_index"):
        found = [None if value is pandas.NA else value for value in rows[name]]
        assert found == expected[name].to_pylist(), name
    # Such hashes are no numbers of float64.
    assert max(expected["key_hash"].to_pylist()) > 2**53
    names = [
        None if label is None else chain.CLASS_NAMES[label]
        for label in expected["label"].to_pylist()
    ]
    assert [None if name != name else name for name in rows["class"]] == names
    assert "undecodable" in printed


def test_polars_counts_each_class(made, capsys):
    _, printed = run("polars", made.predictions, capsys)
    labels = read_rows(made.predictions)["label"].drop_null()
    for label, name in enumerate(chain.CLASS_NAMES):
        count = labels.to_pylist().count(label)
        assert re.search(rf"{re.escape(name)}.* {count} ", printed)


def test_duckdb_counts_each_class(made, capsys):
    _, printed = run("duckdb", made.predictions, capsys)
    labels = read_rows(made.predictions)["label"].drop_null()
    for label, name in enumerate(chain.CLASS_NAMES):
        count = labels.to_pylist().count(label)
        assert re.search(rf"{re.escape(name)}.* {count} ", printed)


def test_embeddings_are_read_back(tmp_path, capsys):
    features = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    block = prediction_schema.Block(
        first_index=0,
        keys=["a", "b", "c"],
        images=[b"a", b"b", b"c"],
        status=["ok", "undecodable", "ok"],
        errors=["", "broken", ""],
        probabilities=np.full((3, 2), 0.5, np.float32),
        pixels=np.zeros((3, 32, 32, 3), np.uint8),
        embeddings=features,
    )
    with (tmp_path / prediction_schema.shard_name(0)).open("wb") as file:
        prediction_schema.write_shard(
            file,
            iter([prediction_schema.to_table(block, top_k=2)]),
            fingerprint="f",
            more=("embedding",),
        )
    (tmp_path / "config.json").write_text(json.dumps({"embedding_size": 5}))
    variables, _ = run("buffer", tmp_path, capsys)
    assert (variables["embeddings"] == features[[0, 2]].astype(np.float16)).all()


def test_a_glob_finds_predictions_alone(made):
    directory = pathlib.Path(made.predictions)
    found = {path.name for path in directory.glob("*.parquet")}
    assert found == set(prediction_schema.list_files(epath.Path(directory)))


@pytest.mark.parametrize(
    ("names", "heading"),
    [
        (prediction_schema.schema(*MORE).names, "Columns"),
        (dropped_schema().names, "Which images were selected"),
        (evaluation.SCHEMA.names, "Evaluations and calibrations"),
        (calibration.SCHEMA.names, "Evaluations and calibrations"),
    ],
)
def test_the_tables_name_every_column(names, heading):
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    assert set(names) <= set(re.findall(r"`(\w+)`", " ".join(cells)))


@pytest.mark.parametrize(
    "field", list(prediction_schema.schema(*MORE)), ids=lambda field: field.name
)
def test_the_page_states_the_type(field):
    kinds = {"fixed_size_binary[32]": "fixed binary, 32 bytes", "float": "float32"}
    kind = str(field.type)
    if pa.types.is_list(field.type):
        value = str(field.type.value_type)
        kind = f"list of {kinds.get(value, value)}"
    assert f"| `{field.name}` | {kinds.get(kind, kind)} |" in PAGE
