"""How the flags reach the run; training is tested in classifier/training."""

import importlib.util
import json

import pytest
import tensorflow as tf

from classifier.data import counting, excerpt
from classifier.export.facts import read_facts
from classifier.training import budget, trainer
from stage import artifact
from tests import tensorflow_bucket
from tests.commands import call
from tests.held_tracker import hold_tracker
from tests.images import random_images, write_folder, write_records

SMALL = ("--set=model.width_multiplier=0.0625", "--set=global_batch_size=4")


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    directory = tmp_path_factory.mktemp("labeled")
    write_folder(directory, random_images(9), [0, 1, 2] * 3)
    return f"folder:{directory}"


def train(labeled, workdir, *flags):
    return call(
        "teacher.train",
        *(f"--labeled={labeled}", f"--evaluation={labeled}", f"--workdir={workdir}"),
        *SMALL,
        *flags,
    )


def test_the_flags_decide_the_run(labeled, trained, tmp_path):
    process = train(labeled, tmp_path / "teacher", "--seed=7", "--set=num_steps=70")
    assert process.returncode == 0, process.stderr
    ((run, make_batches, context),) = trained
    assert run.config.seed == 7
    assert run.config.num_steps == 70
    assert run.config.model.width_multiplier == 0.0625
    assert make_batches == run.labeled_batches
    assert context.workdir == str(tmp_path / "teacher")
    assert not context.profile
    config = json.loads((tmp_path / "teacher" / artifact.CONFIG).read_text())
    assert config["config"]["seed"] == 7


def test_fine_tuning_needs_weights_to_start_from(labeled, trained, tmp_path):
    process = train(labeled, tmp_path / "teacher", "--preset=fine_tune")
    assert process.returncode == 1
    assert "--preset=fine_tune needs --init_from=" in process.stderr
    assert not trained


def test_a_short_training_has_a_short_warm_up(labeled, trained, tmp_path):
    process = train(labeled, tmp_path / "teacher", "--set=num_steps=32")
    assert process.returncode == 0, process.stderr
    assert trained[0][0].config.optimizer.warmup_steps == 2


def test_trackers_are_named_by_a_flag_and_decide_nothing(
    labeled, trained, tmp_path, monkeypatch
):
    held = hold_tracker(monkeypatch)
    for name, flags in (("one", ["--log_to=wandb:birds"]), ("two", [])):
        process = train(labeled, tmp_path / name, *flags)
        assert process.returncode == 0, process.stderr
    one, two = (tmp_path / name / artifact.CONFIG for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert [len(context.trackers) for _, _, context in trained] == [1, 0]
    assert held.ends == ["finished"]


@pytest.mark.parametrize("extra", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_refused_first(tmp_path, monkeypatch, extra):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    log_to = f"--log_to={extra}:http://x" if extra == "mlflow" else "--log_to=wandb:x"
    process = train("folder:none", tmp_path / "teacher", log_to)
    assert process.returncode == 1
    assert f"pip install -c constraints.txt -e '.[{extra}]'" in process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert not (tmp_path / "teacher").exists()


def test_a_fold_is_left_out(labeled, trained, tmp_path):
    process = train(labeled, tmp_path / "teacher", "--folds=3", "--fold=1", "--profile")
    assert process.returncode == 0, process.stderr
    ((run, _, context),) = trained
    assert run.labeled.num_examples == 6
    assert run.left_out["fold"] == 1
    assert context.profile


def test_a_complete_classifier_is_not_trained_again(labeled, trained, tmp_path):
    workdir = tmp_path / "teacher"
    assert train(labeled, workdir).returncode == 0
    process = train(labeled, workdir)
    assert process.returncode == 0
    assert "already complete" in process.stdout
    assert len(trained) == 1
    process = train(labeled, workdir, "--seed=1")
    assert process.returncode == 1
    assert "seed" in process.stderr


@pytest.mark.parametrize(
    ("flags", "is_used"),
    [
        ((), True),
        (("--consistency=auto",), True),
        (("--consistency=off",), False),
    ],
)
def test_unlabeled_images_are_learned_from_by_the_rule(
    labeled, trained, tmp_path, flags, is_used
):
    unlabeled = f"--unlabeled={labeled}"
    process = train(labeled, tmp_path / "teacher", unlabeled, *flags)
    assert process.returncode == 0, process.stderr
    ((run, make_batches, _),) = trained
    assert (run.unlabeled is not None) == is_used
    assert (make_batches == run.labeled_batches) != is_used
    assert "9 unlabeled images" in process.stdout
    assert run.config.label_smoothing == (0.0 if is_used else 0.1)
    # As many passes: 4 images pass three times, and the views of 3 once.
    assert run.config.num_steps == (640 if is_used else 800)


@pytest.mark.parametrize(
    "flag",
    ["--consistency=off", "--exclude=folder:x", "--unlabeled_image_feature=pixels"],
)
def test_what_is_for_unlabeled_images_needs_them(labeled, tmp_path, flag):
    process = train(labeled, tmp_path / "teacher", flag)
    assert process.returncode == 1
    assert f"{flag.partition('=')[0]} needs --unlabeled" in process.stderr


@pytest.mark.parametrize("flags", [("--set=num_steps=70",), ("--init_from",)])
def test_images_that_set_nothing_are_not_counted(
    labeled, trained, tmp_path, monkeypatch, exported, flags
):
    monkeypatch.setattr(counting, "count", lambda *_: pytest.fail("counted"))
    if flags == ("--init_from",):  # The recipe with a fixed number of steps.
        network = ("--set=model.name=resnet_rs_14", "--set=image.size=32")
        flags = ("--preset=fine_tune", f"--init_from={exported[0]}", *network)
    unlabeled = (f"--unlabeled={labeled}", "--consistency=off")
    process = train(labeled, tmp_path / "teacher", *unlabeled, *flags)
    assert process.returncode == 0, process.stderr
    assert "number of steps" not in process.stdout
    assert "only labeled images are learned from: --consistency=off" in process.stdout


@pytest.mark.parametrize("flag", ["unlabeled", "exclude"])
def test_names_of_images_that_are_not_needed_are_checked(labeled, tmp_path, flag):
    given = {"unlabeled": labeled, "exclude": labeled, flag: f"folder:{tmp_path}/none"}
    flags = [f"--{name}={spec}" for name, spec in given.items()]
    process = train(
        *(labeled, tmp_path / "teacher", *flags),
        *("--consistency=off", "--set=num_steps=70"),
    )
    assert process.returncode == 1
    assert f"{tmp_path}/none" in process.stderr


def test_images_to_evaluate_on_should_be_excluded(labeled, trained, tmp_path):
    unlabeled = f"--unlabeled={labeled}"
    process = train(labeled, tmp_path / "teacher", unlabeled)
    assert "warning: images to evaluate on may be among" in process.stdout
    write_folder(tmp_path / "some", random_images(99)[98:])
    exclude = f"--exclude=folder:{tmp_path}/some"
    process = train(labeled, tmp_path / "other", unlabeled, exclude)
    assert process.returncode == 0, process.stderr
    assert "warning" not in process.stdout


@pytest.mark.parametrize("consistency", ["on", "off"])
def test_only_so_many_unlabeled_images_set_the_length(
    labeled, trained, tmp_path, monkeypatch, consistency
):
    monkeypatch.setattr(budget, "MAX_COUNTED", 5)
    process = train(
        labeled,
        tmp_path / "teacher",
        f"--unlabeled={labeled}",
        f"--consistency={consistency}",
        *(["--set=consistency.max_images=5"] if consistency == "on" else []),
    )
    assert process.returncode == 0, process.stderr
    assert "5 unlabeled images" in process.stdout


def test_about_how_many_images_in_a_bucket_set_the_length_is_said(
    labeled, trained, tmp_path, monkeypatch
):
    tensorflow_bucket.use(tmp_path, monkeypatch)
    monkeypatch.setattr(excerpt, "_MAX_BYTES", 2**16)
    write_records(tmp_path / "records", [bytes(1000)] * 130)
    unlabeled = "--unlabeled=tfrecord:gs://bucket/records"
    process = train(labeled, tmp_path / "teacher", unlabeled, "--consistency=off")
    assert process.returncode == 0, process.stderr
    assert "about 130 unlabeled images set the number of steps" in process.stdout
    again = train(labeled, tmp_path / "teacher", unlabeled, "--consistency=off")
    assert "already complete" in again.stdout  # By the same number.


def test_that_no_images_in_a_bucket_were_found_is_said(
    labeled, trained, tmp_path, monkeypatch
):
    tensorflow_bucket.use(tmp_path, monkeypatch)
    for index in range(65):
        (tmp_path / f"records-{index:02}").touch()
    unlabeled = "--unlabeled=tfrecord:gs://bucket/records-*"
    process = train(labeled, tmp_path / "teacher", unlabeled, "--consistency=off")
    assert process.returncode == 0, process.stderr
    assert "about 0 unlabeled images set the number of steps" in process.stdout


@pytest.mark.parametrize("setting", ["weight=9", "max_images=5"])
@pytest.mark.parametrize("consistency", ["off", "auto"])
def test_settings_of_what_is_not_done_are_refused(
    labeled, trained, tmp_path, monkeypatch, setting, consistency
):
    monkeypatch.setattr(budget, "MAX_CONSISTENCY_LABELS", 2)
    process = train(
        labeled,
        tmp_path / "teacher",
        f"--unlabeled={labeled}",
        f"--consistency={consistency}",
        f"--set=consistency.{setting}",
    )
    assert process.returncode == 1
    assert f"consistency.{setting.partition('=')[0]}= has no effect" in process.stderr
    reason = {"off": "--consistency=off", "auto": "9 labels of 3 classes"}
    assert reason[consistency] in process.stderr


def test_excluded_images_are_not_learned_from(labeled, trained, tmp_path):
    write_folder(tmp_path / "test", random_images(4), [0, 1, 2, 0])
    process = train(
        labeled,
        tmp_path / "teacher",
        f"--unlabeled={labeled}",
        f"--exclude=folder:{tmp_path}/test",
        f"--exclude=folder:{tmp_path}/test",
    )
    assert process.returncode == 0, process.stderr
    assert "5 unlabeled" in process.stdout
    assert "4 are excluded" in process.stdout
    ((run, _, _),) = trained
    assert run.unlabeled.num_examples == 5
    excluded = run.describe()["excluded"]
    assert excluded[0]["content"]
    assert len(excluded) == 2


def test_unlabeled_images_that_change_are_named(labeled, tmp_path, monkeypatch):
    write_folder(tmp_path / "all", random_images(5))

    def train_while_one_changes(*_, check_others):
        check_others()
        (tmp_path / "all" / "00002.png").write_bytes(b"text")
        check_others()

    monkeypatch.setattr(trainer, "train", train_while_one_changes)
    process = train(labeled, tmp_path / "run", f"--unlabeled=folder:{tmp_path}/all")
    assert process.returncode == 1
    assert f"folder:{tmp_path}/all" in process.stderr


def test_a_teacher_learns_from_labeled_and_unlabeled_images(
    labeled, tmp_path, monkeypatch
):
    # Would hold for the rest of the test process.
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    process = train(
        labeled,
        tmp_path / "teacher",
        f"--unlabeled={labeled}",
        "--set=num_steps=3",
        "--set=optimizer.warmup_steps=1",
        "--set=log_every=1",
        "--set=augment.num_ops=0",
        "--set=consistency.threshold=0.3",
    )
    assert process.returncode == 0, process.stderr
    assert artifact.is_complete(tmp_path / "teacher")
    lines = (tmp_path / "teacher" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    # And the evaluation.
    assert [row["step"] for row in rows] == [1, 2, 3, 3]
    for row in rows[:3]:
        assert row["train/consistency_loss"] > 0
        assert row["train/confident"] > 0
    facts = read_facts(tmp_path / "teacher")
    # One labeled image and three others pass three times, and the views once.
    assert facts.multiply_adds == 3 * (3 * 4 + 3) * facts.image_multiply_adds
