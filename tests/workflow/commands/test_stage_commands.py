from tests.commands import ROOT, find_command
from workflow.commands import stage_commands
from workflow.run_file.config import RunConfig
from workflow.stages import Chain, Chosen


def test_goals_are_those_of_the_graph():
    chain = Chain(RunConfig(), Chosen(), 1)
    for goal in stage_commands.GOALS:
        assert chain.goal(goal, 1), goal


def test_unknown_commands_are_none():
    assert stage_commands.find("nothing") is None


def test_flags_are_completed_from_those_of_the_module():
    for name, (module, _) in stage_commands.STAGES.items():
        command = stage_commands.find(name)
        found = command.shell_complete(None, "--")
        names = {f"--{flag}=" for flag in find_command(module).FLAGS.values}
        assert {item.value for item in found} == names
        assert command.shell_complete(None, "x") == []
        assert (ROOT / f"{module.replace('.', '/')}.py").exists()
