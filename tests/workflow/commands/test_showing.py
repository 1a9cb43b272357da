import json

import pytest

from tests.workflow.chain import fakes
from workflow.chain import lock, receipts
from workflow.chain.receipts import State, Status
from workflow.commands import running, showing
from workflow.commands.running import Options
from workflow.run_file.reading import read_run

pytestmark = pytest.mark.usefixtures("fake_stages")


@pytest.fixture
def read(tmp_path, images):
    names = {"labeled": "labeled", "evaluation": "test", "unlabeled": "all"}
    sources = [f"data.{name}={images}/{path}" for name, path in names.items()]

    def read(*assignments):
        given = [*sources, "teacher.preset=tiny", *assignments]
        return read_run(None, given, output=str(tmp_path / "run"))

    return read


def rows_of(config, now=0.0):
    return {row.name: row for row in showing.list_rows(config, now=now)}


def test_a_run_that_is_not_begun_is_to_do(read, tmp_path):
    rows = rows_of(read())
    assert {row.word for row in rows.values()} == {"to do"}
    assert {row.seconds for row in rows.values()} == {None}
    assert not (tmp_path / "run").exists()
    *_, last = showing.format_status(read())
    assert last.split() == ["0", "of", "14", "done", "0"]


def test_what_is_done_and_what_is_stale(read):
    running.run(read(), Options(jobs=4, until="selection"), lambda line: None)
    rows = rows_of(read("labeling.neighbors=3", "rounds.count=2"))
    words = {name: row.word for name, row in rows.items()}
    assert words["round-1/teacher_predictions"] == "done"
    assert rows["round-1/predictions"].reason == "--neighbors was 10, is 3"
    assert words["round-1/selection"] == "stale"
    assert rows["round-1/selection"].reason == "reads round-1/predictions"
    assert words["round-1/student"] == words["round-2/selection"] == "to do"
    taken = rows["round-1/predictions"]
    assert (taken.seconds, taken.expected) == (1.5, 1.5)
    assert rows["round-2/selection"].expected == 1.5  # As in the first round.
    assert rows["round-1/student"].expected is None
    done = rows["round-1/teacher_predictions"]
    assert (done.seconds, done.expected) == (1.5, None)


def test_settings_that_did_not_make_the_run_are_named(read, tmp_path):
    made = read("labeling.neighbors=3")
    running.run(made, Options(jobs=4, until="selection"), lambda line: None)
    *_, last = showing.format_status(made)
    assert "done" in last  # The run is shown with its own settings.
    *_, changed, hint = showing.format_status(read("labeling.neighbors=4"))
    assert changed.endswith("has other settings: labeling.neighbors was 3, is 4")
    assert hint.endswith(
        f"`noisy-student status {tmp_path}/run` has the settings that made the run"
    )


def test_a_running_stage_has_its_seconds_so_far(read, tmp_path):
    config = read()
    run = str(tmp_path / "run")
    stage = running.Chain(config, running.Chosen(), 1).stages()["control"]
    with lock.held(run, print):
        since = lock.find_owner(run).created
        receipt = receipts.make(stage, run, fakes.files(tmp_path / "run"))
        receipts.write(receipt, stage, run)
        assert receipt.started >= since
        row = rows_of(config, now=receipt.started + 7)["control"]
        assert (row.word, round(row.seconds)) == ("running", 7)
        # One that a former command has begun does not run.
        path = receipts.path_of("control", run, ".json")
        with open(path) as file:
            content = json.load(file)
        with open(path, "w") as file:
            json.dump({**content, "started": since - 1}, file)
        assert rows_of(config)["control"].word == "to do"
    assert rows_of(config)["control"].word == "to do"
    (tmp_path / "run" / "control").mkdir()
    (tmp_path / "run" / "control" / "config.json").touch()
    assert rows_of(config)["control"].word == "begun"


def test_what_reads_a_stale_stage_is_stale_however_far():
    stages = fakes.graph({"a": (), "b": ("a",), "c": ("b",), "d": (), "e": ("c", "d")})
    found = dict.fromkeys(stages, Status(State.DONE))
    found["a"] = Status(State.STALE, ("x",))
    states = showing.propagate(stages, found)
    assert {name: status.state.value for name, status in states.items()} == {
        **dict.fromkeys("abce", "stale"),
        "d": "done",
    }
    assert states["e"].reasons == ("reads c",)
    found["b"] = Status(State.TODO)
    states = showing.propagate(stages, found)
    assert [states[name].state.value for name in "bc"] == ["to do", "done"]


def test_lines_are_aligned_and_printable(read):
    running.run(read(), Options(jobs=4, until="teacher"), lambda line: None)
    lines = list(showing.format_status(read('teacher.flags=["--x=\\u001b[31m\\n"]')))
    assert len({line.index("  done") for line in lines if "  done" in line}) <= 1
    assert not any("\x1b" in line or "\n" in line for line in lines)
    colored = "\n".join(showing.format_status(read(), color=True))
    assert "\x1b[32mdone" in colored


@pytest.mark.parametrize(
    ("is_terminal", "variable", "expected"),
    [(True, "", True), (True, "1", False), (False, "", False)],
)
def test_colors_are_for_terminals(monkeypatch, is_terminal, variable, expected):
    monkeypatch.setattr(showing.streams, "is_terminal", lambda: is_terminal)
    monkeypatch.setenv("NO_COLOR", variable)
    assert showing.can_color() is expected


def test_a_report_of_stages_that_do_not_belong_together_is_told(read):
    running.run(read(), Options(jobs=4, until="records"), lambda line: None)
    output = read().output
    assert showing.warn_of_stale(output) == ""
    changed = read("selection.max_copies=2")
    remake = Options(until="selection", remake=True)
    running.run(changed, remake, lambda line: None)
    assert "1 stages are stale, round-1/dataset first" in showing.warn_of_stale(output)
