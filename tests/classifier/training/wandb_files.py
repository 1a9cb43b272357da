"""What is in the file of an offline run of Weights & Biases, which has no reader."""

import json
import struct

_BLOCK, _HEADER = 2**15, 7
_FULL, _FIRST, _LAST = 1, 2, 4


def read_records(path):
    """Yields the records, which are framed as in LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, parts = path.read_bytes(), _HEADER, []
    assert content[:4] == b":W&B"
    while position < len(content):
        if _BLOCK - position % _BLOCK < _HEADER:  # Padding.
            position += _BLOCK - position % _BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        position += _HEADER
        parts.append(content[position : position + length])
        position += length
        if kind in (_FULL, _LAST):
            yield Record.FromString(b"".join(parts))
            parts = []


def read_history(path):
    """The logged rows: step, and value by name."""
    rows = []
    for record in read_records(path):
        items = {
            "/".join(item.nested_key) or item.key: json.loads(item.value_json)
            for item in record.history.item
        }
        if items:
            step = items.pop("_step", record.history.step.num)
            named = {k: v for k, v in items.items() if not k.startswith("_")}
            rows.append((step, named))
    return rows


def read_exit_code(path):
    codes = [
        record.exit.exit_code
        for record in read_records(path)
        if record.WhichOneof("record_type") == "exit"
    ]
    return codes[-1] if codes else None


def read_config(path):
    """The settings that the run began with, by their first name."""
    return {
        item.key: json.loads(item.value_json)
        for record in read_records(path)
        for item in record.run.config.update
    }
