"""Runs of the real graph, whose stages are fakes that take no time."""

import dataclasses

import pytest

from tests.workflow.chain import fakes
from workflow.chain import receipts
from workflow.chain.errors import StageError, StaleError
from workflow.commands import running
from workflow.commands.running import Options
from workflow.run_file.reading import read_run

pytestmark = pytest.mark.usefixtures("fake_stages")


class Run:
    """A run of small images in a directory."""

    def __init__(self, root, images):
        self.root, self.images, self.output = root, images, root / "run"

    def read(self, *assignments):
        names = {"labeled": "labeled", "evaluation": "test", "unlabeled": "all"}
        sources = [f"data.{n}={self.images}/{path}" for n, path in names.items()]
        common = ["teacher.preset=tiny", "runner.jobs=4"]
        return read_run(
            None, [*sources, *common, *assignments], output=str(self.output)
        )

    def __call__(self, *assignments, **options):
        lines = []
        running.run(self.read(*assignments), Options(**options), lines.append)
        return fakes.started(lines), lines

    def commands(self, *assignments, **options):
        return list(running.list_commands(self.read(*assignments), Options(**options)))


@pytest.fixture
def run(tmp_path, images):
    return Run(tmp_path, images)


def test_a_run_is_made_once(run):
    started, lines = run()
    assert len(started) == 14
    assert lines[-1] == "reported"
    assert run() == ([], ["reported"])


@pytest.mark.parametrize(
    ("until", "last"),
    [
        ("teacher", "round-1/teacher/member-1"),
        ("labels", "round-1/predictions"),
        ("selection", "round-1/selection"),
        ("records", "round-1/dataset"),
        ("student", "round-1/student"),
    ],
)
def test_until_makes_only_what_is_needed(run, until, last):
    started, lines = run(until=until)
    assert started[-1] == last
    assert "reported" not in lines
    wanted, _ = run()
    assert not set(started) & set(wanted)


def test_a_dry_run_prints_the_commands_and_writes_nothing(run):
    commands = run.commands()
    assert not run.output.exists()
    started, _ = run()
    logs = {}
    for name in started:
        path = run.output / "stages" / f"{name.replace('/', '.')}.log"
        logs[name] = path.read_text().splitlines()[0].removeprefix("$ ")
    assert sorted(commands) == sorted(logs.values())
    assert run.commands() == []
    before = fakes.contents(run.output)
    stale = run.commands("selection.max_copies=7")
    assert stale[0] == "# round-1/selection is stale: --max_copies was 3, is 7"
    assert stale[1] == f"rm -r {run.output}/round-1/selection"
    assert stale[2].endswith("/round-1/selection")
    assert "beam_jobs.select_labels" not in stale[2]  # A fake.
    assert fakes.contents(run.output) == before


def test_a_dry_run_refuses_images_that_are_not_there_as_the_run_does(run):
    (run.root / "notes.txt").touch()
    source = f"data.unlabeled={run.root}/notes.txt"
    messages = set()
    for ask in (run, run.commands):
        with pytest.raises(ValueError, match=r"data\.unlabeled = .*notes\.txt") as told:
            ask(source)
        messages.add(str(told.value))
    assert len(messages) == 1
    assert not run.output.exists()


#: Settings, and the stages that depend on each alone.
CHANGES = {
    "selection.max_copies=7": {"round-1/selection"},
    "student.settings.image.size=64": {"round-1/student", "control"},
    "teacher.settings.image.size=64": {"round-1/teacher/member-1"},
    "teacher.consistency=off": {"round-1/teacher/member-1"},
    "labeling.neighbors=3": {"round-1/predictions"},
    "labeling.dtype=float32": {
        *("round-1/teacher_predictions", "round-1/labeled_predictions"),
        *("round-1/excluded/set-1", "round-1/excluded/set-2"),
    },
    "rounds.seed=2": {"round-1/teacher/member-1", "round-1/student", "control"},
}
#: What else is stale because it reads one of these.
BELOW = {
    "round-1/teacher/member-1": {
        *("round-1/teacher/evaluation", "round-1/teacher_predictions"),
        *("round-1/labeled_predictions", "round-1/excluded/set-1"),
        *("round-1/excluded/set-2", "control", "round-1/evaluation"),
    },
    "round-1/teacher_predictions": {"round-1/predictions", "control"},
    "round-1/labeled_predictions": {"round-1/predictions", "control"},
    "round-1/predictions": {
        *("round-1/selection", "round-1/dataset", "round-1/samples"),
    },
    "round-1/excluded/set-1": {"round-1/selection", "round-1/samples", "control"},
    "round-1/excluded/set-2": {"round-1/selection", "round-1/samples", "control"},
    "round-1/selection": {"round-1/dataset", "round-1/samples"},
    "round-1/dataset": {"round-1/student", "control", "round-1/evaluation"},
    "round-1/student": {"round-1/evaluation"},
    "control": {"control/evaluation"},
}


def with_below(names):
    found = set()
    pending = set(names)
    while pending:
        name = pending.pop()
        found.add(name)
        pending |= BELOW.get(name, set()) - found
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_setting_is_named_and_nothing_runs(run, change):
    run()
    before = fakes.contents(run.output)
    with pytest.raises(StaleError) as error:
        run(change)
    lines = str(error.value).splitlines()
    named = {line.split(": ")[0].strip() for line in lines if line.startswith("  ")}
    assert named == CHANGES[change]
    name, _, value = change.partition("=")
    assert any(line.startswith(f"{run.output}/run.toml") for line in lines)
    assert name in str(error.value)
    assert value in str(error.value)
    assert fakes.contents(run.output) == before
    assert run() == ([], ["reported"])


@pytest.mark.parametrize(
    "changes",
    [
        *(("selection.max_copies=7",), ("labeling.dtype=float32",)),
        ("student.settings.image.size=64", "labeling.neighbors=3"),
    ],
)
def test_what_depends_on_changed_settings_is_made_anew(tmp_path, images, changes):
    """Exactly that, by `--remake` and by `--from`, with the same result."""
    first, second = Run(tmp_path, images), Run(tmp_path, images)
    second.output = tmp_path / "second"
    first()
    expected = with_below(set().union(*(CHANGES[change] for change in changes)))
    started, lines = second(*changes, reused=str(first.output))
    assert set(started) == expected
    assert sum(line.endswith(f": taken from {first.output}") for line in lines) == (
        14 - len(expected)
    )
    started, _ = first(*changes, remake=True)
    assert set(started) == expected
    assert fakes.contents(first.output).keys() == fakes.contents(second.output).keys()
    for path, content in fakes.contents(first.output).items():
        if path != "run.toml":
            assert fakes.contents(second.output)[path] == content


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("all", {"round-1/teacher/member-1", "round-1/teacher_predictions"}),
        ("test", {"round-1/teacher/evaluation", "round-1/excluded/set-1"}),
        ("labeled", {"round-1/student", "control", "round-1/excluded/set-2"}),
    ],
)
def test_images_that_were_added_are_named(run, name, stages):
    run()
    (run.images / name / "a" / "new.png").touch()
    with pytest.raises(StaleError) as error:
        run()
    for stage in stages:
        assert f"  {stage}: files of --" in str(error.value)
    assert f"{run.images}/{name}" in str(error.value)
    assert "run.toml has other settings" not in str(error.value)
    started, _ = run(remake=True)
    assert stages < set(started)


def test_a_run_and_its_images_may_be_moved(run):
    run()
    run.output = run.output.rename(run.root / "moved run")
    run.images = run.images.rename(run.root / "moved images")
    assert run() == ([], ["reported"])


def test_images_of_a_finished_run_may_be_gone(run):
    run()
    run.images.rename(run.root / "elsewhere")
    assert run() == ([], ["reported"])
    (run.output / "round-1" / "selection" / "COMPLETED").unlink()
    started, _ = run(until="selection")
    assert started == ["round-1/selection"]
    (run.output / "control" / "COMPLETED").unlink()
    with pytest.raises(ValueError, match=r"data\.labeled = .*no such files"):
        run()


@pytest.mark.parametrize(
    ("assignment", "mentions"),
    [
        ("labeling.flags=['--shards=0/2']", "no --shards among"),
        ("labeling.flags=['--estimate=5']", "no --estimate among"),
        ("labeling.flags=['--output', 'x']", "no --output among"),
        ("labeling.flags=['--', 'x']", "expected flags, got '--'"),
        ("selection.flags=['--what_if', 'x']", "what_if"),
        ("selection.flags=['-max_copies=7']", "no --max_copies among"),
        ("student.flags=['--workdir=x']", "no --workdir among"),
        ("teacher.flags=['x']", "expected flags, got 'x'"),
    ],
)
def test_flags_that_the_chain_gives_are_refused(run, assignment, mentions):
    with pytest.raises(ValueError, match=mentions):
        run(assignment)
    with pytest.raises(ValueError, match=mentions):
        run.commands(assignment)
    assert not run.output.exists()


def test_each_source_is_listed_once(run, monkeypatch):
    listed = []
    original = receipts.source_files.fingerprint

    def note(spec, **more):
        listed.append(spec)
        return original(spec, **more)

    monkeypatch.setattr(receipts.source_files, "fingerprint", note)
    run()
    assert len(listed) == len(set(listed)) == 3


def test_images_that_are_not_there_are_named_before_any_work(run):
    with pytest.raises(ValueError, match=r"data\.unlabeled = .*: no such files"):
        run(f"data.unlabeled={run.images}/imgaes")
    assert not run.output.exists()


def test_a_run_of_make_is_taken_over(run):
    """Its stages say that they are complete already."""
    run()
    for path in (*(run.output / "stages").iterdir(), run.output / "run.toml"):
        path.unlink()
    (run.output / "settings").touch()
    started, lines = run()
    assert len(started) == lines.count("already complete") == 14
    assert run() == ([], ["reported"])


def test_a_failed_stage_is_gone_on_with(run, monkeypatch):
    monkeypatch.setenv("FAKE_FAILING", "/selection")
    with pytest.raises(StageError, match="round-1/selection ended with status 3"):
        run()
    # Nothing was made with it yet, so settings may be corrected with --remake.
    monkeypatch.delenv("FAKE_FAILING")
    with pytest.raises(StaleError):
        run("selection.max_copies=7")
    started, _ = run("selection.max_copies=7", remake=True)
    assert "round-1/selection" in started


def test_another_run_is_needed_to_take_over(run):
    run()
    before = fakes.contents(run.output)
    with pytest.raises(ValueError, match="expected another run"):
        run(reused=str(run.output))
    other = run.output
    run.output = run.root / "b"
    with pytest.raises(ValueError, match="expected the directory of a run"):
        run(reused=str(run.root))
    assert not run.output.exists()
    run(reused=str(other))
    assert fakes.contents(other) == before


def test_a_dry_run_says_what_is_taken_from_another_run(run):
    run()
    other = run.output
    run.output = run.root / "b"
    change = ("selection.max_copies=7",)
    lines = run.commands(*change, reused=str(other))
    assert not run.output.exists()
    # What reads the selection cannot be told from the other run's before it is made.
    started, made = run(*change, reused=str(other))
    taken = [line.replace(": taken", " is taken") for line in made if ": taken" in line]
    assert sorted(f"# {line}" for line in taken) == sorted(
        line for line in lines if line.startswith("#")
    )
    assert len(lines) - len(taken) == len(started)


def test_a_dry_run_takes_the_choice_of_another_run(run, chooser):
    run("teacher.preset=auto")
    other = run.output
    run.output = run.root / "b"
    chooser.clear()
    lines = run.commands("teacher.preset=auto", reused=str(other))
    assert chooser == [str(other)]
    assert all(line.startswith("# ") for line in lines)
    assert len(lines) == 15


def test_until_ends_in_the_first_round(run):
    started, _ = run("rounds.count=2", until="student")
    assert started[-1] == "round-1/student"
    started, _ = run("rounds.count=2", until="student", number=2)
    assert started[-1] == "round-2/student"


def test_a_file_for_the_figures_of_one_run_is_refused(run):
    run()
    with pytest.raises(ValueError, match=r"--output=x\.json with several runs"):
        running.report_on([str(run.output)], "x.json", print)


# --- what is chosen ----------------------------------------------------------------
@pytest.fixture
def chooser(monkeypatch):
    """Makes the stage that chooses a fake, whose choice is always the same."""
    real = running.choice_stages
    choice = {"features": "", "student": {"preset": "tiny", "flags": ["--set=a=1"]}}
    asked = []

    def stages(config):
        found = real(config)
        return {
            name: dataclasses.replace(stage, module=fakes.MODULE)
            for name, stage in found.items()
        }

    def read(config):
        asked.append(config.output)
        assert (running.pathlib.Path(config.output) / "choice" / "COMPLETED").exists()
        return running.Chosen(
            preset=choice["student"]["preset"], flags=tuple(choice["student"]["flags"])
        )

    monkeypatch.setattr(running, "choice_stages", stages)
    monkeypatch.setattr(running, "read_choice", read)
    return asked


def test_what_is_chosen_is_kept(run, chooser):
    started, lines = run("teacher.preset=auto")
    assert started[0] == "choice"
    assert lines[-1] == "reported"
    assert run("teacher.preset=auto") == ([], ["reported"])
    command = (run.output / "stages" / "round-1.student.log").read_text()
    assert "--preset=tiny --set=a=1" in command
    with pytest.raises(StaleError, match="choice: --minutes was 30, is 7"):
        run("teacher.preset=auto", "rounds.minutes=7")


def test_stages_without_a_choice_are_stale_before_one_is_made(run, chooser):
    run("teacher.preset=tiny")
    with pytest.raises(StaleError, match="--set was not given, is a=1"):
        run("teacher.preset=auto")
    assert not (run.output / "choice").exists()


@pytest.mark.parametrize(
    "wrong", [{"until": "nope"}, {"number": 0}, {"number": 21}, {"jobs": -1}]
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        running.Options(**wrong)


def test_a_dry_run_chooses_aside(run, chooser):
    commands = run.commands("teacher.preset=auto")
    assert not run.output.exists()
    assert any("--set=a=1" in command for command in commands)
    assert f"--output={run.output}/choice" in commands[0]
    assert chooser != [str(run.output)]


def test_a_choice_aside_that_fails_names_no_log(run, chooser, monkeypatch):
    monkeypatch.setenv("FAKE_FAILING", "choice")
    with pytest.raises(StageError) as caught:
        run.commands("teacher.preset=auto")
    first, *_, last = str(caught.value).splitlines()
    assert first == "choice ended with status 3; its last lines:"
    assert last.strip() == "line 19"
    assert not run.output.exists()


# --- rounds ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "patience", "rounds"),
    [
        ((0.5, 0.4), 1, 1),
        ((0.5, 0.6, 0.6), 1, 2),
        ((0.5, 0.6, 0.7, 0.8), 1, 3),
        ((0.5, 0.4, 0.6, 0.7), 2, 3),
    ],
)
def test_rounds_are_run_while_students_are_better(
    run, monkeypatch, values, patience, rounds
):
    def read_accuracies(path, count):
        made = [path / f"round-{n}" / "calibration" for n in range(1, count + 2)]
        assert all((directory / "COMPLETED").exists() for directory in made)
        return list(values[: count + 1]), 10

    monkeypatch.setattr(running.rounds, "read_accuracies", read_accuracies)
    config = run.read(
        *("rounds.count=3", f"rounds.patience={patience}"),
        f"data.calibration={run.images}/more",
    )
    lines = []
    running.run_rounds(config, Options(), lines.append)
    decisions = [line.split(":")[0] for line in lines if line.startswith("round ")]
    assert decisions == [f"round {number}" for number in range(1, rounds + 1)]
    assert lines[-1] == "reported"
    assert len(list(run.output.glob("round-*/student"))) == rounds
    again = []
    running.run_rounds(config, Options(), again.append)
    assert fakes.started(again) == []
    assert f"count = {rounds}" in (run.output / "run.toml").read_text() or rounds == 1


def test_rounds_need_images_to_compare_by(run):
    with pytest.raises(ValueError, match=r"data\.calibration"):
        running.run_rounds(run.read(), Options(), print)
