"""Random changes of bytes and of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

_DEPTHS = (2, 50, 2_000, 100_000)
_NUMBERS = (
    *(0, 1, -1, 7, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1),
    *(2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 10**30),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, -0.0, 0.5, 1e308, float("nan"), float("inf"), float("-inf")),
    *("", "x", "0", "nan", "../..", "/", "\0", "a\nb", "\u202e", "\ud800", "ß" * 5_000),
    *([], {}, [[]], [0] * 5_000, {"a": {"b": 0}}, *_NUMBERS),
)
_MARK = "?deep?"


def change_bytes(
    random: Random, seeds: Sequence[bytes], tokens: Sequence[bytes] = (), block: int = 1
) -> bytes:
    """Returns one of some contents with up to eight changes.

    Args:
        random: Source of all choices.
        seeds: Contents to start from, or to take pieces of.
        tokens: Pieces with a meaning in the format.
        block: Bytes of the format's blocks; half of the changes begin at one.
    """
    content = random.choice(seeds)
    for _ in range(random.choice((1, 1, 1, 1, 2, 3, 8))):
        start = _place(random, content, block)
        end = min(len(content), start + _size(random, block))
        piece = random.choice(_PIECES)(random, content[start:end])
        if tokens and random.random() < 0.3:
            piece = random.choice(tokens)
            end = random.choice((start, start + len(piece)))
        elif random.random() < 0.2:
            other = random.choice((content, *seeds))
            at = _place(random, other, block)
            piece = other[at : at + _size(random, block)]
            end = random.choice((start, start + len(piece), len(content)))
        content = content[:start] + piece + content[end:]
        if random.random() < 0.05:
            content = random.choice((content[:start], content + random.choice(seeds)))
    return content


def _place(random: Random, content: bytes, block: int) -> int:
    place = random.randrange(len(content) + 1)
    return place - place % random.choice((1, block))


def _size(random: Random, block: int) -> int:
    return random.choice((1, 1, 2, 4, 8, 16, 64, 512, block, 2 * block, 4 * block))


def _flip(random: Random, piece: bytes) -> bytes:
    if not piece:
        return piece
    at = random.randrange(len(piece))
    return piece[:at] + bytes([piece[at] ^ 1 << random.randrange(8)]) + piece[at + 1 :]


def _number(random: Random, piece: bytes) -> bytes:
    size, order = min(8, len(piece)), random.choice(("little", "big"))
    number = random.choice(_NUMBERS) % 256**size
    return number.to_bytes(size, order) + piece[size:]  # type: ignore[arg-type]


_PIECES: tuple[Callable[[Random, bytes], bytes], ...] = (
    *(_flip, _flip, _number),
    lambda random, piece: random.randbytes(len(piece)),
    lambda random, piece: bytes([random.choice((0, 0, 32, 48, 255))]) * len(piece),
    lambda random, piece: b"",
    lambda random, piece: piece * random.choice((2, 3, 50)),
    lambda random, piece: piece + random.randbytes(random.choice((1, 8, 512))),
    lambda random, piece: piece[len(piece) // 2 :] + piece[: len(piece) // 2],
)


def change_json(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Returns one of some contents with changed values, or with changed bytes."""
    if random.random() < 0.2:
        return change_bytes(
            random, seeds, tokens=(b"\xef\xbb\xbf", b"{}", b'"', b"1e9")
        )
    content = json.loads(random.choice(seeds))
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        content = _change_value(random, content)
    text = json.dumps(content)
    depth = random.choice(_DEPTHS)
    text = text.replace(f'"{_MARK}"', "[" * depth + "]" * depth)
    if random.random() < 0.05:  # A name that occurs twice.
        text = text.replace("{", '{"seed": [], "class_names": 3, "step": "x", ', 1)
    return text.encode(random.choice(("utf-8",) * 30 + ("utf-16", "utf-8-sig")))


def _change_value(random: Random, value: Any) -> Any:
    """Returns the value with one change at a random depth."""
    if isinstance(value, dict | list) and value and random.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key, other = random.choice(keys), random.choice(keys)
        change = random.random()
        changed = value.copy()
        if change < 0.12:
            del changed[key]
        elif change < 0.2:
            changed[key], changed[other] = value[other], value[key]
        else:
            changed[key] = _change_value(random, value[key])
        return changed
    if isinstance(value, int | float) and random.random() < 0.4:
        return random.choice((-value, value + 1, value / 3, value * 10**9, str(value)))
    if isinstance(value, list) and random.random() < 0.3:
        return value * random.choice((2, 50))
    return random.choice((*_VALUES, [value], {"": value}, _MARK, _MARK))
