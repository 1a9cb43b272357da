"""When a stage is done: what decides, and what does not."""

import dataclasses
import json

import pytest

from tests.workflow.chain import fakes
from workflow.chain import receipts
from workflow.chain.receipts import State
from workflow.chain.stage import Stage, places, reads, settings, sources, words


def make_artifact(path, config="{}"):
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(config)
    (path / "COMPLETED").write_text(json.dumps({"seconds": 2}))


class World:
    """A run with a stage that reads an artifact and images."""

    def __init__(self, root):
        self.run, self.images = root / "run", root / "images"
        self.images.mkdir()
        (self.images / "1.png").write_text("1")
        make_artifact(self.run / "parent")

    def stage(self, *more, **changes):
        arguments = (
            *settings(x=1, y="a b"),
            *words(["--set=a=1", "--set=b=2"]),
            *sources(images=str(self.images)),
            *reads(read="parent"),
            *places(data_dir="d"),
            *more,
        )
        stage = Stage(name="child", module="some.module", arguments=arguments)
        return dataclasses.replace(stage, **changes)

    def finish(self, stage):
        make_artifact(self.run / stage.name)
        receipt = receipts.make(stage, str(self.run), fakes.files(self.run))
        receipts.write(receipt, stage, str(self.run))

    def status(self, stage):
        return receipts.find_status(stage, str(self.run), fakes.files(self.run))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_a_stage_is_to_do_then_done(world):
    assert world.status(world.stage()).state is State.TODO
    world.finish(world.stage())
    assert world.status(world.stage()).state is State.DONE
    assert receipts.find_seconds(world.stage(), str(world.run)) == 2
    (world.run / "child" / "COMPLETED").unlink()
    assert world.status(world.stage()).state is State.TODO
    assert receipts.find_seconds(world.stage(), str(world.run)) is None


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (settings(z=3), "--z was not given, is 3"),
        (settings(x=2), "--x was 1, is 1 2"),
        (words(["--set=c=3"]), "--set was a=1 b=2, is a=1 b=2 c=3"),
        (words(["--what_if"]), "--what_if was not given, is given"),
        (sources(other="hf:a/b:train"), "--other was not given, is hf:a/b:train"),
        (reads(read="other"), "other is read now, and was not"),
    ],
)
def test_each_difference_is_a_reason(world, more, reason):
    world.finish(world.stage())
    status = world.status(world.stage(*more))
    assert status == receipts.Status(State.STALE, (reason,))
    world.finish(world.stage(*more))
    assert world.status(world.stage(*more)).state is State.DONE
    assert world.status(world.stage()).state is State.STALE


def test_another_command_is_a_reason(world):
    world.finish(world.stage())
    status = world.status(world.stage(module="other.module"))
    assert status.reasons == ("was made by some.module, now by other.module",)


@pytest.mark.parametrize(
    "changes",
    [
        {"beam_options": ("--runner=PrismRunner",)},
        {"is_shared": True},
        {"output_flag": "workdir"},
    ],
)
def test_where_a_stage_runs_is_no_difference(world, changes):
    world.finish(world.stage())
    assert world.status(world.stage(**changes)).state is State.DONE
    assert world.status(world.stage(*places(a="b"))).state is State.DONE


def test_images_that_changed_are_named(world):
    world.finish(world.stage())
    (world.images / "2.png").touch()
    (reason,) = world.status(world.stage()).reasons
    assert f"--images={world.images}" in reason


def test_images_that_were_moved_or_are_gone_are_the_same(world):
    world.finish(world.stage())
    stage = world.stage()
    moved = world.images.rename(world.images.with_name("moved"))
    assert world.status(stage).state is State.DONE
    world.images = moved
    assert world.status(world.stage()).state is State.DONE


@pytest.mark.parametrize(
    "more", [places(x="1"), words(["--log_to=wandb:x", "--license=images=MIT"])]
)
def test_what_decides_nothing_makes_nothing_stale(world, more):
    world.finish(world.stage())
    assert world.status(world.stage(*more, *words(["--profile"]))).state is State.DONE


def test_settings_of_a_recipe_have_no_order(world):
    world.finish(world.stage(*words(["--set=c=1", "--set=a=3", "--set=c=2"])))
    same = world.stage(*words(["--set=a=3", "--set=c=1", "--set=c=2"]))
    assert world.status(same).state is State.DONE
    # Of one setting the last value counts.
    other = world.stage(*words(["--set=a=3", "--set=c=2", "--set=c=1"]))
    assert world.status(other).state is State.STALE


def test_a_flag_may_be_two_words(world):
    world.finish(world.stage(*words(["--top_k", "5", "-z", "-1"])))
    same = words(["--top_k=5", "--z=-1"])
    assert world.status(world.stage(*same)).state is State.DONE
    other = world.status(world.stage(*words(["--top_k", "6", "--z=-1"])))
    assert other.reasons == ("--top_k was 5, is 6",)


def test_images_that_are_gone_are_the_same_from_anywhere(world, monkeypatch, tmp_path):
    """Their path may be relative to another directory."""
    monkeypatch.chdir(tmp_path)
    spelled = [f"folder:{tmp_path}/images", "folder:images", "folder:../images"]
    stages = [
        Stage(name="child", module="m", arguments=sources(images=spec))
        for spec in spelled
    ]
    world.finish(stages[0])
    world.images.rename(world.images.with_name("moved"))
    assert world.status(stages[1]).state is State.DONE
    monkeypatch.chdir(tmp_path / "run")
    assert world.status(stages[2]).state is State.DONE
    assert world.status(stages[1]).state is State.STALE


def test_images_in_the_run_move_with_it(world):
    stage = world.stage(*sources(inner=f"tfrecord:{world.run}/data/*.tfrecord"))
    world.finish(stage)
    world.run = world.run.rename(world.run.with_name("moved:[1]"))
    pattern = f"tfrecord:{world.run.with_name('moved:[[]1]')}/data/*.tfrecord"
    assert world.status(world.stage(*sources(inner=pattern))).state is State.DONE


def test_another_content_of_a_parent_is_a_reason(world):
    world.finish(world.stage())
    (world.run / "parent" / "COMPLETED").unlink()
    assert world.status(world.stage()).state is State.DONE
    make_artifact(world.run / "parent", '{"a": 1}')
    assert world.status(world.stage()).reasons == ("parent has changed",)
    make_artifact(world.run / "parent")
    assert world.status(world.stage()).state is State.DONE


def test_weights_are_part_of_the_content(world):
    world.finish(world.stage())
    (world.run / "parent" / "classifier.json").write_text("{}")
    assert world.status(world.stage()).reasons == ("parent has changed",)


def test_a_broken_receipt_is_none(world):
    world.finish(world.stage())
    path = receipts.path_of("child", str(world.run), ".json")
    for content in ("", "[]", '{"module": 1}'):
        with open(path, "w") as file:
            file.write(content)
        assert receipts.read(world.stage(), str(world.run)) is None
        assert world.status(world.stage()).state is State.TODO


def test_what_is_forgotten_is_to_do(world):
    world.finish(world.stage())
    receipts.forget(world.stage(), str(world.run))
    assert world.status(world.stage()).state is State.TODO
    assert not (world.run / "child").exists()
    assert list((world.run / "stages").iterdir()) == []
