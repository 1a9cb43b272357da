"""Corpora with many duplicates, and the dropped images by brute force."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from pseudo_label.predictions import embeddings
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import PredictionSet

#: Number of features of an embedding.
SIZE = 16


@dataclasses.dataclass(frozen=True)
class Images:
    """Rows of predictions; the confidence of what cannot be decoded is NaN."""

    keys: np.ndarray
    key_hash: np.ndarray
    confidence: np.ndarray
    labels: np.ndarray
    hashes: np.ndarray
    has_hash: np.ndarray
    digests: np.ndarray
    embeddings: np.ndarray

    def __len__(self):
        return len(self.keys)

    def take(self, indices):
        return Images(*(value[indices] for value in vars(self).values()))

    @property
    def ok(self):
        return ~np.isnan(self.confidence)

    def to_table(self, *more):
        """All columns of predictions; those that nothing reads are null."""
        digests = [digest.tobytes() for digest in self.digests]
        known = {
            "record_index": np.arange(len(self)),
            "key": self.keys.tolist(),
            "key_hash": self.key_hash,
            "image_sha256": digests,
            "perceptual_hash": pa.array(self.hashes, mask=~self.has_hash),
            "status": np.where(self.ok, "ok", "undecodable").tolist(),
            "label": pa.array(self.labels, mask=~self.ok),
            "confidence": pa.array(self.confidence, mask=~self.ok),
            "embedding": embeddings.to_column(self.embeddings, ~self.ok),
        }
        schema = prediction_schema.schema(*more)
        columns = [known.get(name, [None] * len(self)) for name in schema.names]
        return pa.table(columns, schema=schema)


def make_images(rng, count, *, prefix, pool, spread=4):
    """Random images: few hashes and up to `spread` bits beside them, and many ties."""
    flips = rng.integers(0, spread + 1, count)
    hashes = rng.choice(pool, count)
    for turn in range(spread):
        flip = np.uint64(1) << rng.integers(0, 64, count, dtype=np.uint64)
        hashes = np.where(turn < flips, hashes ^ flip, hashes)
    confidence = rng.choice([0.0, 0.25, 0.5, 0.9, 1.0], count).astype(np.float32)
    confidence[rng.random(count) < 0.1] = np.nan
    is_hashed = ~np.isnan(confidence) & (rng.random(count) < 0.97)
    # Many begin with the same 64 bits.
    digests = rng.integers(0, max(2, count // 4), (count, 4), dtype=np.uint64)
    digests[:, 1:] %= 2
    return Images(
        keys=np.array([f"{prefix}{i:05d}" for i in rng.permutation(count)], object),
        key_hash=rng.integers(0, 3, count, dtype=np.uint64) << np.uint64(62),
        confidence=confidence,
        labels=rng.choice([0, 0, 0, 1], count).astype(np.int32),
        hashes=np.where(is_hashed, hashes, 0).astype(np.uint64),
        has_hash=is_hashed,
        digests=digests,
        embeddings=_draw_embeddings(rng, count, len(pool)),
    )


def _draw_embeddings(rng, count, centers):
    """Directions around some centers, some of them equal."""
    around = np.random.default_rng(0).standard_normal((centers, SIZE))
    drawn = around[rng.integers(0, centers, count)]
    drawn += rng.choice([0, 0.05, 0.2], (count, 1)) * rng.standard_normal((count, SIZE))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def write_predictions(directory, images, parts, class_names=("a", "b")):
    """Writes rows of images, dealt into parts, as a labeling job would."""
    directory.mkdir()
    for index, part in enumerate(parts):
        with (directory / prediction_schema.shard_name(index)).open("wb") as file:
            table = images.take(part).to_table("embedding")
            prediction_schema.write_shard(
                file, iter([table]), fingerprint="abc", more=["embedding"]
            )
    return prediction_set(directory, images, parts, class_names)


def prediction_set(directory, images, parts, class_names=("a", "b")):
    """Returns what `write_predictions` has written."""
    return PredictionSet(
        directory=str(directory),
        fingerprint="abc",
        teachers=("teacher",),
        class_names=class_names,
        temperature=1.0,
        top_k=1,
        num_shards=len(parts),
        num_images=len(images),
        embedding_size=SIZE,
    )


def rank(images):
    """Returns the rank of each image, 0 for the best."""
    confidence = np.nan_to_num(images.confidence, nan=-1.0)
    order = sorted(
        range(len(images)),
        key=lambda i: (-confidence[i], images.key_hash[i], images.keys[i]),
    )
    return np.argsort(order)


def brute_force(corpus, excluded, *, bits, similarity=None):
    """Returns by key of the dropped: reason, same bytes, distance, set, match's key."""
    leaked = find_leaked(corpus, excluded, bits=bits, similarity=similarity)
    dropped = {}
    for index, (name, match, distance) in leaked.items():
        same = (corpus.digests[index] == excluded[name].digests[match]).all()
        found = ("leaked", same, distance, name, excluded[name].keys[match])
        dropped[corpus.keys[index]] = found
    if bits is not None or similarity is not None:
        may_be = corpus.ok & corpus.has_hash
        may_be[list(leaked)] = False
        rows = corpus.take(np.flatnonzero(may_be))
        duplicates = find_duplicates(rows, bits=bits, similarity=similarity)
        for index, match in duplicates.items():
            same = (rows.digests[index] == rows.digests[match]).all()
            distance = np.bitwise_count(rows.hashes[index] ^ rows.hashes[match])
            found = ("duplicate", same, distance, "", rows.keys[match])
            dropped[rows.keys[index]] = found
    return dropped


def cosines(some, others):
    """Cosines [N,M] of float16, in float64."""
    some, others = some.astype(float), others.astype(float)
    lengths = [np.linalg.norm(each, axis=-1) for each in (some, others)]
    return some @ others.T / np.multiply.outer(*lengths)


def find_leaked(corpus, excluded, *, bits, similarity=None):
    found = {}
    for index in np.flatnonzero(corpus.ok):
        matches = []
        for number, (name, images) in enumerate(excluded.items()):
            same = (images.digests == corpus.digests[index]).all(axis=1)
            distance = np.bitwise_count(images.hashes ^ corpus.hashes[index])
            is_alike = distance <= (-1 if bits is None else bits)
            near = images.has_hash & is_alike & corpus.has_hash[index]
            near &= images.ok
            matches += [((0, 0, number, i), name, 0) for i in np.flatnonzero(same)[:1]]
            for i in np.flatnonzero(near):
                matches.append(((1, int(distance[i]), number, i), name, distance[i]))
            if similarity is not None:
                cosine = cosines(corpus.embeddings[index], images.embeddings)
                for i in np.flatnonzero(images.ok & (cosine >= similarity)):
                    nearness = (2, -round(cosine[i], 6), number, i)
                    matches.append((nearness, name, distance[i]))
        if matches:
            (*_, match), name, distance = min(matches)
            found[int(index)] = (name, match, int(distance))
    return found


def find_duplicates(rows, *, bits, similarity=None):
    """Returns the index of the best match by index of the duplicate."""
    best_first = np.argsort(rank(rows))
    hashes, labels = rows.hashes[best_first], rows.labels[best_first]
    embedded = rows.embeddings[best_first]
    found = {}
    for place, index in enumerate(best_first):
        distances = np.bitwise_count(hashes[:place] ^ hashes[place])
        near = distances <= (-1 if bits is None else bits)
        if similarity is not None:
            near |= cosines(embedded[place], embedded[:place]) >= similarity
        near &= labels[:place] == labels[place]
        if near.any():
            found[int(index)] = int(best_first[near.argmax()])
    return found
