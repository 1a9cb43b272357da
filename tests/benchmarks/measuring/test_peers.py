import json
import sys

import pytest

from benchmarks.measuring import peers
from benchmarks.measuring.process_watch import watch


def test_the_last_line_is_the_result(monkeypatch, capsys):
    module = type(sys)("echo")
    module.run = lambda task: [task["rows"], 2]
    monkeypatch.setitem(sys.modules, "echo", module)
    peers.main(peers.command("echo", {"rows": 1})[2:])
    assert json.loads(capsys.readouterr().out) == [1, 2]


def test_what_is_not_installed_is_left_out(capsys):
    packages = {"first": ("json",), "second": ("json", "no_such_package"), "third": ()}
    assert peers.installed(packages) == ["first", "third"]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("second")
    assert "no_such_package" in line


def test_an_unknown_name_of_a_flag_is_an_error():
    assert peers.split_names("ways", "stock,ours", ["ours", "stock"]) == [
        *("stock", "ours")
    ]
    with pytest.raises(ValueError, match=r"--ways.*'mine'"):
        peers.split_names("ways", "ours,mine", ["ours", "stock"])


def test_starting_a_peer_imports_nothing_heavy():
    program = (
        "import json, sys, benchmarks.measuring.peers, benchmarks.labeling.task, "
        "benchmarks.selection.task; print(json.dumps(sorted(sys.modules)))"
    )
    heavy = {"numpy", "tensorflow", "apache_beam", "pyarrow", "absl", "psutil"}
    assert not heavy & set(watch([sys.executable, "-c", program]).result)
