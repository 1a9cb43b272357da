import hashlib
import struct
import zipfile

import pytest

from infra.flink import closing

TEXT = struct.pack(">BH", 1, 3) + b"abc"
LONG = struct.pack(">Bq", 5, 7)
BODY = b"before" + closing._CALL + b"after"


def class_file():
    """A text, a long, which counts as two constants, and a call."""
    return bytes(8) + struct.pack(">H", 4) + TEXT + LONG + BODY


def write_jar(directory, content):
    with zipfile.ZipFile(directory / "beam-sdks-java-core-1.jar", "w") as jar:
        jar.writestr(closing._CLASS, content)
        jar.writestr("other", b"other")
    return directory / "beam-sdks-java-core-1.jar"


def test_another_class_is_refused_and_stays(tmp_path):
    before = write_jar(tmp_path, class_file()).read_bytes()
    with pytest.raises(OSError, match=closing._SHA256):
        closing.close_servers(tmp_path)
    assert write_jar(tmp_path, class_file()).read_bytes() == before


def test_the_call_is_replaced_by_one_of_a_new_constant(tmp_path, monkeypatch):
    digest = hashlib.sha256(class_file()).hexdigest()
    monkeypatch.setattr(closing, "_SHA256", digest)
    path = write_jar(tmp_path, class_file())
    closing.close_servers(tmp_path)
    with zipfile.ZipFile(path) as jar:
        assert jar.read("other") == b"other"
        changed = jar.read(closing._CLASS)
    assert changed[8:10] == struct.pack(">H", 8)
    assert changed[10:].startswith(TEXT + LONG + struct.pack(">BH", 1, 10))
    call = bytes(3) + struct.pack(">BH", 0xB8, 7)
    assert changed.endswith(b"before" + call + b"after")
    assert b"forAddress" in changed
