import importlib.util

import pytest

from benchmarks.selection import task as selection_task


@pytest.mark.parametrize("way", sorted(selection_task.PEERS))
def test_every_peer_has_its_module(way):
    module, package = selection_task.PEERS[way]
    assert importlib.util.find_spec(f"benchmarks.selection.{module}")
    assert package


def test_a_peer_returns_its_cut_offs_in_order(monkeypatch):
    class Peer:
        @staticmethod
        def run(task):
            assert task == ("top", "predictions", 5)
            return [(1, 2, 0.5, 3), (0, 2, 0.5, 3)]

    monkeypatch.setattr(selection_task.importlib, "import_module", lambda name: Peer)
    fields = {"way": "top", "predictions": "predictions", "images_per_class": 5}
    assert selection_task.run(fields) == [(0, 2, 0.5, 3), (1, 2, 0.5, 3)]
