import sys
import types

import pytest

from benchmarks.methods import commands
from stage import cli, preemption
from stage.flags import CommandFlags


@pytest.fixture
def fake(monkeypatch):
    """Returns a function that adds a command named `fake`, which raises an error."""

    def add(error):
        def main(argv):
            with cli.exit_on_user_error():
                raise error

        module = types.SimpleNamespace(main=main, FLAGS=CommandFlags())
        monkeypatch.setitem(sys.modules, "fake", module)

    return add


def test_a_failure_has_the_last_line_of_the_command(fake, tmp_path):
    fake(ValueError("too small"))
    with pytest.raises(commands.CommandError, match="fake: error: too small"):
        commands.call("fake", log=tmp_path / "log.txt")


@pytest.mark.parametrize("status", [preemption.EXIT_STATUS, preemption.INTERRUPTED])
def test_a_signal_to_a_training_ends_the_comparison(fake, tmp_path, status):
    fake(preemption.PreemptedError("SIGTERM received", status=status))
    with pytest.raises(SystemExit, match="begins this one anew"):
        commands.call("fake", log=tmp_path / "log.txt")
