"""Made-up predictions with embeddings, and what the job should make of them."""

import dataclasses
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from pseudo_label.predictions import schema as prediction_schema
from stage import artifact, parquet
from tests.pseudo_label.propagation import brute_force

CLASS_NAMES = tuple("abcdef")
TOP_K = 3
SIZE = 8
#: Centers of the classes in the space of features.
CENTERS = np.random.default_rng(7).standard_normal((len(CLASS_NAMES), SIZE))
#: Rows of each shard without a prediction.
UNDECODABLE = (1, 4)


def write(
    root: pathlib.Path,
    *,
    shards=3,
    rows=20,
    seed=0,
    labeled=False,
    order=None,
    spoil=None,
    **config,
):
    """Writes predictions of images around the centers; `order` is that of the shards.

    `spoil` is a column, a row and another value for it, in each shard. Returns the
    directory, as text.
    """
    config = {
        "images": {"num_shards": shards, "num_files": shards, "fingerprint": "f"},
        "teachers": ["0123"],
        "class_names": list(CLASS_NAMES),
        "temperature": 1.0,
        "embedding_size": SIZE,
        "has_true_labels": labeled,
        "top_k": TOP_K,
        **config,
    }
    artifact.start_or_resume(root, config)
    table = pa.table({"shard": range(shards)})
    parquet.write_parquet_file(root / "shards.list", table)
    fingerprint = artifact.config_fingerprint(config, leaving_out="images")
    columns = {
        "embedding": config["embedding_size"],
        "embedding_norm": config.get("has_embedding_norms"),
        "true_label": labeled and config["embedding_size"],
    }
    more = [name for name in columns if columns[name]]
    for place in range(shards):
        shard = place if order is None else order[place]
        block = make_block(np.random.default_rng([seed, shard]), shard, rows, labeled)
        if not config["embedding_size"]:
            block = dataclasses.replace(block, embeddings=None, true_labels=None)
        if not config.get("has_embedding_norms"):
            block = dataclasses.replace(block, embedding_norms=None)
        tables = [prediction_schema.to_table(block, top_k=TOP_K)]
        if spoil:
            tables = [spoiled(tables[0], *spoil)]
        with (root / prediction_schema.shard_name(place)).open("wb") as file:
            prediction_schema.write_shard(
                file,
                iter(tables),
                fingerprint=fingerprint,
                shard=f"s{shard}",
                more=more,
            )
    artifact.complete(root, seconds=0.0)
    return str(root)


def spoiled(table, column, row, value):
    values = table[column].to_pylist()
    values[row] = value
    at = table.schema.get_field_index(column)
    if column == "embedding":
        values = [value if value is None else to_bytes(value) for value in values]
    return table.set_column(at, column, pa.array(values, table.schema.types[at]))


def to_bytes(embedding):
    """An embedding, or its bytes, as bytes."""
    is_encoded = isinstance(embedding, bytes)
    return embedding if is_encoded else np.array(embedding, "<f2").tobytes()


def make_block(rng, shard, rows, labeled):
    classes = rng.integers(0, len(CLASS_NAMES), rows)
    status = ["undecodable" if row in UNDECODABLE else "ok" for row in range(rows)]
    features = CENTERS[classes] + rng.standard_normal((rows, SIZE)) / 2
    keys = [f"{labeled}{shard}#{row}" for row in range(rows)]
    return prediction_schema.Block(
        first_index=0,
        keys=keys,
        images=[key.encode() for key in keys],
        status=status,
        errors=["" if code == "ok" else "broken" for code in status],
        probabilities=rng.dirichlet([0.3] * len(CLASS_NAMES), rows).astype(np.float32),
        pixels=rng.integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8),
        embeddings=brute_force.unit(features).astype(np.float32),
        embedding_norms=np.linalg.norm(features, axis=1).astype(np.float32),
        true_labels=classes.astype(np.int32) if labeled else None,
    )


def read(directory):
    """All rows of all shards, as dictionaries with the name of their file."""
    rows = [
        {**row, "file": path.name}
        for path in sorted(pathlib.Path(directory).glob("predictions-*"))
        for row in pq.read_table(path).to_pylist()
    ]
    for row in rows:
        if row.get("embedding"):
            row["embedding"] = np.frombuffer(row["embedding"], "<f2").tolist()
    return rows


def files(directory):
    """Contents by name, but for what differs between runs."""
    return {
        path.name: path.read_bytes()
        for path in pathlib.Path(directory).iterdir()
        if path.name != "COMPLETED"
    }


def expected(predictions, labeled, *, neighbors, alpha, blend):
    """Distributions [N,K] of the rows with a prediction, by brute force."""
    corpus = [row for row in read(predictions) if row["embedding"]]
    known = [row for row in read(labeled) if row["embedding"]]
    features = np.array([row["embedding"] for row in known + corpus])
    given = np.array([row["true_label"] for row in known] + [-1] * len(corpus))
    weights = brute_force.graph(features, neighbors)
    num_classes = len(CLASS_NAMES)
    spread = brute_force.spread(weights, given, num_classes, alpha)[len(known) :]
    spread = keep_top(spread)
    result = np.zeros((len(corpus), num_classes))
    for row, found, distribution in zip(corpus, spread, result, strict=True):
        teacher = np.full(num_classes, 0.0)
        teacher[row["top_labels"]] = row["top_probabilities"]
        rest = np.setdiff1d(np.arange(num_classes), row["top_labels"])
        teacher[rest] = (1 - teacher.sum()) / len(rest)
        share = blend if found.any() else 0
        distribution[:] = (1 - share) * teacher + share * found
        both = [row["label"], found.argmax()]
        if found.any():
            distribution[both] = distribution[both].mean()
    return result


def keep_top(spread):
    """The `TOP_K` highest shares; what is left is spread evenly over the others."""
    order = np.argsort(-spread, axis=1)
    kept = np.zeros_like(spread)
    for row, best in enumerate(order):
        kept[row, best[:TOP_K]] = spread[row, best[:TOP_K]]
        if spread[row].any():
            kept[row, best[TOP_K:]] = spread[row, best[TOP_K:]].mean()
    return kept


def path_of(directory, shard):
    return epath.Path(directory) / prediction_schema.shard_name(shard)
