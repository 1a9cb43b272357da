import json

from benchmarks.measuring.process_watch import WatchedProcess
from benchmarks.selection import runs
from benchmarks.selection.task import OURS, SelectionTask
from stage.system import num_cores


def test_the_cut_offs_of_ours_are_read_from_the_selection(monkeypatch):
    def watch(command):
        (flag,) = (word for word in command if word.startswith("--output="))
        output = runs.pathlib.Path(flag.partition("=")[2])
        output.mkdir()
        rules = [
            {"unique": 5, "cut_off": {"confidence": 0.5, "key_hash": 1, "key": "a"}},
            {"unique": 0, "cut_off": None},
            {"unique": 2, "cut_off": {"confidence": 0.9, "key_hash": 2, "key": "b"}},
        ]
        (output / "selection.json").write_text(json.dumps({"classes": rules}))
        return WatchedProcess("", 0.0, 0.0, 5.0, 4.0, 2_000_000_000, {})

    monkeypatch.setattr(runs, "watch", watch)
    assert runs.measure(SelectionTask(OURS, "predictions", 5)) == (
        {"seconds": 5.0, "cpu_seconds": 4.0, "peak_gb": 2.0},
        [(0, 5, 0.5, 1), (2, 2, 0.9, 2)],
    )


def test_a_peer_in_a_process_of_its_own_says_what_it_found(directory):
    figures, cut_offs = runs.measure(SelectionTask("scan", str(directory), 100))
    assert cut_offs == []
    assert 0 < figures["cpu_seconds"] < 2 * num_cores() * figures["seconds"]
    assert 0.01 < figures["peak_gb"] < 1


def test_ours_does_not_look_for_near_duplicates(tmp_path):
    command = runs.select_command(SelectionTask(OURS, "predictions", 7), tmp_path)
    assert command[1:3] == ["-m", "beam_jobs.select_labels"]
    assert {"--duplicate_bits=-1", "--images_per_class=7"} <= set(command)
