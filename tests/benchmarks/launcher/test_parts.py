"""The launcher's requests do not grow with the shards but for one read of each."""

import pytest

from benchmarks.launcher import inputs, parts
from tests import buckets

SHARDS = 30


@pytest.fixture
def server(monkeypatch):
    objects = inputs.make_objects(inputs.make_job(SHARDS))
    with buckets.serve(monkeypatch, objects) as server:
        yield server


def test_each_footer_is_read_once(server):
    found = parts.run({"shards": SHARDS, "parts": "finished"})
    finished = list(found["parts"].values())
    reads = [figures.get("read", 0) for figures in finished]
    assert SHARDS <= reads[0] <= SHARDS + 5
    assert reads[1:] == [0] * (len(finished) - 1)
    for kind in ("look", "list", "upload"):
        assert sum(figures.get(kind, 0) for figures in finished) < SHARDS
    assert f"{inputs.FOLDER}/COMPLETED" in server.objects.list_page("", "", 99)[0]

    found = parts.run({"shards": SHARDS, "parts": "opened"})
    opened, complete = found["parts"].values()
    assert opened["read"] < 10  # They are known in this process.
    assert complete["list"] < 4
