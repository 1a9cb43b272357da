import pytest

from tests.workflow.chain import fakes
from workflow.commands import demonstration, running
from workflow.commands.running import Options
from workflow.run_file.reading import read_run

pytestmark = pytest.mark.usefixtures("fake_stages")


def test_the_demo_goes_on_with_its_settings(tmp_path):
    lines = []
    output = str(tmp_path / "demo")
    given = ["data.digits.labels_per_class=10", "runner.jobs=4"]
    demonstration.run(output, given, Options(), log=lines.append)
    assert len(fakes.started(lines)) == 14
    config = read_run(output)
    assert config.data.digits.labels_per_class == 10
    assert config.selection.duplicate_bits == -1
    again = []
    demonstration.run(output, [], Options(), log=again.append)
    assert again == ["reported"]


def test_several_seeds_are_compared(tmp_path, monkeypatch):
    compared = []
    monkeypatch.setattr(
        running, "run", lambda config, options, log: compared.append(config)
    )
    monkeypatch.setattr(
        running, "summarize_seeds", lambda *arguments: compared.append(arguments[:2])
    )
    output = str(tmp_path)
    demonstration.run(output, [], Options(), num_seeds=2, log=print)
    *configs, summary = compared
    assert [config.rounds.seed for config in configs] == [1, 2]
    runs = [f"{output}/seed-1", f"{output}/seed-2"]
    assert [config.output for config in configs] == runs
    assert summary == (runs, f"{output}/summary.json")
