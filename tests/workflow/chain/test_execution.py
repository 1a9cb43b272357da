import dataclasses
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.commands import ENVIRONMENT, ROOT
from tests.workflow.chain import fakes
from workflow.chain import execution, lock, receipts
from workflow.chain.errors import StageError, StaleError
from workflow.chain.receipts import State


# --- order ---------------------------------------------------------------------
class Made:
    """Pretends to make stages; notes when each begins and ends."""

    def __init__(self, failing, rng):
        self.failing, self.rng = failing, rng
        self.events = []
        self.lock = threading.Lock()

    def __call__(self, stage):
        with self.lock:
            self.events.append(("begin", stage.name))
            seconds = self.rng.random() / 1000
        time.sleep(seconds)
        with self.lock:
            is_failing = stage.name in self.failing
            self.events.append(("fail" if is_failing else "end", stage.name))
        if is_failing:
            raise StageError(stage.name)

    def names(self, kind):
        return [name for event, name in self.events if event == kind]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 4), st.data())
def test_stages_run_after_their_parents(seed, count, jobs, data):
    rng = random.Random(seed)
    stages = fakes.graph(fakes.random_parents(rng, count))
    failing = data.draw(st.sets(st.sampled_from(sorted(stages)), max_size=2))
    made = Made(failing, rng)
    if failing:
        with pytest.raises(StageError) as error:
            execution.run_in_order(stages, made, jobs=jobs)
        assert str(error.value) in made.names("fail")
    else:
        execution.run_in_order(stages, made, jobs=jobs)
        assert sorted(made.names("end")) == sorted(stages)
    ended, running = set(), set()
    for kind, name in made.events:
        if kind == "begin":
            assert set(stages[name].parents) <= ended
            running.add(name)
            assert len(running) <= jobs
        else:
            running.remove(name)
            ended |= {name} if kind == "end" else set()
    assert not running  # Those that ran at a failure were waited for.
    if jobs == 1 and failing:
        assert made.events[-1][0] == "fail"


def test_independent_stages_run_side_by_side():
    both = threading.Barrier(2, timeout=60)

    def make(stage):
        if stage.name.startswith("b/"):
            both.wait()

    execution.run_in_order(fakes.graph(fakes.DIAMOND), make, jobs=2)


def test_needed_are_the_wanted_stages_and_what_they_read(tmp_path):
    stages = fakes.graph({**fakes.DIAMOND, "d": ("a",)})
    asked = fakes.request(tmp_path, stages, wanted=("b/left", "d"))
    assert list(asked.needed()) == ["a", "b/left", "d"]


# --- what is done --------------------------------------------------------------
def test_what_is_done_is_not_made_again(tmp_path):
    stages = fakes.graph(fakes.DIAMOND)
    assert sorted(fakes.started(fakes.make(tmp_path, stages))) == [*fakes.DIAMOND]
    before = fakes.contents(tmp_path)
    assert fakes.make(tmp_path, stages) == []
    assert fakes.contents(tmp_path) == before


def test_each_stage_has_a_log_with_its_command(tmp_path):
    fakes.make(tmp_path, fakes.graph(fakes.DIAMOND))
    log = (tmp_path / "stages" / "b.left.log").read_text()
    command, *lines = log.splitlines()
    assert command == (
        f"$ python -m {fakes.MODULE} --value=1 --read={tmp_path}/a "
        f"--output={tmp_path}/b/left"
    )
    assert lines == [f"left: part {number}" for number in range(3)]


def test_a_changed_setting_makes_what_depends_on_it_stale(tmp_path):
    fakes.make(tmp_path, fakes.graph(fakes.DIAMOND))
    stages = fakes.graph(fakes.DIAMOND, **{"b/left": 2})
    before = fakes.contents(tmp_path)
    with pytest.raises(StaleError, match=r"b/left: --value was 1, is 2\n"):
        fakes.make(tmp_path, stages)
    assert fakes.contents(tmp_path) == before
    lines = fakes.make(tmp_path, stages, remake=True)
    assert fakes.started(lines) == ["b/left", "c"]
    assert "c: made anew: b/left has changed" in lines
    assert fakes.make(tmp_path, stages) == []
    other = tmp_path.with_name("other")
    fakes.make(other, stages)
    assert fakes.contents(tmp_path) == fakes.contents(other)


def test_a_stale_run_is_named_as_a_shell_reads_it(tmp_path):
    message = execution.describe_stale("a run", {})
    assert "--from='a run' --output=OTHER" in message


def test_a_stage_that_was_begun_with_other_settings_is_stale(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_FAILING", "/a")
    with pytest.raises(StageError):
        fakes.make(tmp_path, fakes.graph(fakes.DIAMOND))
    monkeypatch.delenv("FAKE_FAILING")
    stages = fakes.graph(fakes.DIAMOND, a=2)
    with pytest.raises(StaleError, match="a: --value was 1, is 2"):
        fakes.make(tmp_path, stages)
    fakes.make(tmp_path, stages, remake=True)


def test_a_deleted_stage_is_made_again_and_what_reads_it_stays(tmp_path):
    stages = fakes.graph(fakes.DIAMOND)
    fakes.make(tmp_path, stages)
    before = fakes.contents(tmp_path)
    (tmp_path / "a" / "COMPLETED").unlink()
    assert fakes.started(fakes.make(tmp_path, stages)) == ["a"]
    assert fakes.contents(tmp_path) == before


def test_stages_of_a_run_without_receipts_are_taken_over(tmp_path):
    stages = fakes.graph(fakes.DIAMOND)
    fakes.make(tmp_path, stages)
    for path in (tmp_path / "stages").iterdir():
        path.unlink()
    lines = fakes.make(tmp_path, stages)
    assert lines.count("already complete") == len(stages)
    assert fakes.make(tmp_path, stages) == []
    for path in (tmp_path / "stages").iterdir():
        path.unlink()
    with pytest.raises(StageError, match="begun with other settings"):
        fakes.make(tmp_path, fakes.graph(fakes.DIAMOND, c=2))


def test_a_run_may_be_moved(tmp_path):
    stages = fakes.graph(fakes.DIAMOND)
    fakes.make(tmp_path / "run", stages)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert fakes.make(tmp_path / "moved", stages) == []


def test_only_wanted_stages_are_made(tmp_path):
    stages = fakes.graph(fakes.DIAMOND)
    lines = fakes.make(tmp_path, stages, wanted=("b/right",))
    assert fakes.started(lines) == ["a", "b/right"]


def test_a_failed_stage_shows_its_last_lines_and_its_log(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_FAILING", "/right")
    stages = fakes.graph(fakes.DIAMOND)
    with pytest.raises(StageError) as error:
        fakes.make(tmp_path, stages)
    first, *lines = str(error.value).splitlines()
    log = tmp_path / "stages" / "b.right.log"
    assert first == f"b/right ended with status 3; its last lines, of {log}:"
    assert lines == [f"  line {number}" for number in range(12, 20)]
    assert log.read_text().count("line ") == 20
    assert not (tmp_path / "c").exists()
    monkeypatch.delenv("FAKE_FAILING")
    assert fakes.started(fakes.make(tmp_path, stages)) in (
        ["b/right", "c"],
        ["b/left", "b/right", "c"],
    )


def test_a_stage_that_ends_without_its_output_has_failed(tmp_path):
    stage = dataclasses.replace(fakes.graph({"a": ()})["a"], module="this")
    with pytest.raises(StageError, match=r"a ended with status 0, but .* not complete"):
        fakes.make(tmp_path, {"a": stage})


def test_what_a_killed_removal_has_left_is_deleted(tmp_path):
    stages = fakes.graph(fakes.DIAMOND)
    fakes.make(tmp_path, stages)
    receipts.forget(stages["a"], str(tmp_path))
    left = tmp_path / "stages" / "a.removed"
    (left / "old").mkdir(parents=True)
    status = receipts.find_status(stages["a"], str(tmp_path), fakes.files(tmp_path))
    assert status.state is State.TODO
    fakes.make(tmp_path, stages)
    assert not left.exists()


# --- processes that are killed ---------------------------------------------------
def start(directory, seed=1, **variables):
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.workflow.chain.fake_chain"),
            *(str(directory), str(seed)),
        ],
        cwd=ROOT,
        env={**ENVIRONMENT, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


def read_until(process, text):
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"no {text}: {process.stderr.read()}")


@pytest.mark.slow
def test_a_chain_that_is_killed_at_random_gives_the_same_result(tmp_path):
    finish(start(tmp_path / "undisturbed"))
    rng, kills = random.Random(1), 0
    for number in range(100):
        run = tmp_path / f"disturbed-{number}"
        while kills < 20:
            process = start(run)
            count = rng.randint(0, 20)
            lines = list(itertools.islice(process.stdout, count))
            if len(lines) < count:
                finish(process)
                break
            process.kill()
            process.communicate()
            kills += 1
        finish(start(run))
        assert fakes.contents(run) == fakes.contents(tmp_path / "undisturbed")
        if kills == 20:
            return


def test_stages_end_with_a_command_that_is_killed(tmp_path):
    process = start(tmp_path, FAKE_WAITING="/stage-0")
    read_until(process, "stage-0: waiting")
    children = psutil.Process(process.pid).children()
    assert children
    process.kill()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    process.communicate()
    assert (tmp_path / "stage-0" / "saved").read_text() == "SIGTERM"
    finish(start(tmp_path))


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_lets_stages_save_and_says_how_to_go_on(tmp_path, number, status):
    process = start(tmp_path, FAKE_WAITING="/stage-0")
    read_until(process, "stage-0: waiting")
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert errors == "interrupted; fake_chain goes on from here\n"
    assert (tmp_path / "stage-0" / "saved").read_text() == signal.Signals(number).name
    finish(start(tmp_path))


def test_a_second_command_on_a_run_is_refused(tmp_path):
    first = start(tmp_path, FAKE_WAITING="/stage-0")
    read_until(first, "stage-0: waiting")
    assert lock.find_owner(str(tmp_path)).pid == first.pid
    second = start(tmp_path)
    output, errors = second.communicate(timeout=60)
    assert (second.returncode, output) == (1, "")
    assert errors.startswith("error: another command runs stages of")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert lock.find_owner(str(tmp_path)) is None
    finish(start(tmp_path))


def test_the_number_of_an_ended_command_may_be_that_of_another_process(tmp_path):
    with lock.held(str(tmp_path), print):
        path = tmp_path / "stages" / "running.json"
        content = path.read_text()
        assert lock.find_owner(str(tmp_path)).pid == os.getpid()
    path.write_text(content.replace('"created": ', '"created": 1'))
    assert lock.find_owner(str(tmp_path)) is None
    path.write_text("broken")
    assert lock.find_owner(str(tmp_path)) is None


def test_a_directory_that_another_stage_makes_is_no_stage(tmp_path):
    stages = fakes.graph({"a": (), "b": ("a", "a/calibration")})
    assert list(fakes.request(tmp_path, stages, wanted=("b",)).needed()) == ["a", "b"]
