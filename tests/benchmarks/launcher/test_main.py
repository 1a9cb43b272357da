import json

import pytest

from tests import commands


@pytest.mark.slow
def test_the_command_prints_every_figure():
    ended = commands.call("benchmarks.launcher", "--shards=12", "--latency=0")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    figures = json.loads(lines[-1])
    assert figures["shards"] == 12
    for name, part in (
        *figures["finished"]["parts"].items(),
        *figures["opened"]["parts"].items(),
    ):
        (row,) = (line for line in lines if line.startswith(f"{name} "))
        assert f"{part['seconds']:,.1f}" in row
    assert figures["opened"]["parts"]["opened by the next stage"]["read"] >= 12
