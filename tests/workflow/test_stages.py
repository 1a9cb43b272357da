"""The graph of a run: its commands, and what each setting changes."""

import dataclasses
import itertools
import random

import pytest

from stage.flags import MAX_SEED
from tests.commands import find_command
from workflow.chain import receipts
from workflow.chain.receipts import State
from workflow.commands import stage_commands
from workflow.commands.demonstration import SETTINGS
from workflow.run_file.config import DataSection, RunConfig
from workflow.run_file.reading import read_run
from workflow.stages import CHOICE, Chain, Chosen, choice_stages

#: What the former chain of make rules ran for `make demo`, in the order of stages.
DEMO = """
workflow.digits --output=runs/demo/data --labels_per_class=5 --calibration_images=0 --seed=1
teacher.train --preset=tiny --labeled=tfds:digits/labels5_seed1:labeled --evaluation=tfds:digits/labels5_seed1:test --data_dir=runs/demo/data --workdir=runs/demo/round-1/teacher/member-1 --unlabeled=tfrecord:runs/demo/data/unlabeled/*.tfrecord --consistency=auto --exclude=tfds:digits/labels5_seed1:labeled+test --seed=11
teacher.evaluate --teacher=runs/demo/round-1/teacher/member-1 --output=runs/demo/round-1/teacher/evaluation --evaluation=tfds:digits/labels5_seed1:test --data_dir=runs/demo/data
beam_jobs.label_images --images=tfrecord:runs/demo/data/unlabeled/*.tfrecord --data_dir=runs/demo/data --teacher=runs/demo/round-1/teacher/member-1 --output=runs/demo/round-1/teacher_predictions --embeddings --engine=tensorflow --dtype=float32 -- --runner=FnApiRunner
beam_jobs.label_images --images=tfds:digits/labels5_seed1:labeled --data_dir=runs/demo/data --teacher=runs/demo/round-1/teacher/member-1 --output=runs/demo/round-1/labeled_predictions --embeddings --engine=tensorflow --dtype=float32
beam_jobs.propagate_labels --predictions=runs/demo/round-1/teacher_predictions --labeled=runs/demo/round-1/labeled_predictions --neighbors=10 --output=runs/demo/round-1/predictions -- --runner=FnApiRunner
beam_jobs.label_images --data_dir=runs/demo/data --images=tfds:digits/labels5_seed1:labeled+test --teacher=runs/demo/round-1/teacher/member-1 --output=runs/demo/round-1/excluded/set-1 --engine=tensorflow --dtype=float32
beam_jobs.select_labels --predictions=runs/demo/round-1/predictions --exclude=runs/demo/round-1/excluded/set-1 --duplicate_bits=-1 --confidence_threshold=0.51 --images_per_class=0 --max_copies=3 --output=runs/demo/round-1/selection -- --runner=FnApiRunner
beam_jobs.write_records --images=tfrecord:runs/demo/data/unlabeled/*.tfrecord --data_dir=runs/demo/data --predictions=runs/demo/round-1/predictions --selection=runs/demo/round-1/selection --round=1 --output=runs/demo/round-1/dataset -- --runner=FnApiRunner
student.train --preset=tiny --labeled=tfds:digits/labels5_seed1:labeled --evaluation=tfds:digits/labels5_seed1:test --data_dir=runs/demo/data --pseudo_labeled=runs/demo/round-1/dataset --control --workdir=runs/demo/control --seed=1 --rounds=1 --compute_of=runs/demo/round-1/teacher/member-1 --compute_of=runs/demo/round-1/teacher_predictions --compute_of=runs/demo/round-1/labeled_predictions --compute_of=runs/demo/round-1/excluded/set-1
student.evaluate --student=runs/demo/control --output=runs/demo/control/evaluation --evaluation=tfds:digits/labels5_seed1:test --data_dir=runs/demo/data
workflow.sample_images --images=tfrecord:runs/demo/data/unlabeled/*.tfrecord --data_dir=runs/demo/data --predictions=runs/demo/round-1/predictions --selection=runs/demo/round-1/selection --exclude=runs/demo/round-1/excluded/set-1 --exclude_images=tfds:digits/labels5_seed1:labeled+test --output=runs/demo/round-1/samples -- --runner=FnApiRunner
student.train --preset=tiny --labeled=tfds:digits/labels5_seed1:labeled --evaluation=tfds:digits/labels5_seed1:test --data_dir=runs/demo/data --pseudo_labeled=runs/demo/round-1/dataset --workdir=runs/demo/round-1/student --seed=1210
student.evaluate --student=runs/demo/round-1/student --teacher=runs/demo/round-1/teacher/member-1 --pseudo_labeled=runs/demo/round-1/dataset --output=runs/demo/round-1/evaluation --evaluation=tfds:digits/labels5_seed1:test --data_dir=runs/demo/data
"""  # noqa: E501, each line is a command.


def commands(config, *, chosen=None, count=None):
    """Returns the module and the words of each stage by its name."""
    chain = Chain(config, chosen or Chosen(), count or config.rounds.count)
    found = {
        name: stage.command(config.output, config.output)
        for name, stage in chain.stages().items()
    }
    return {name: (words[1], words[2:]) for name, words in found.items()}


def folders(*assignments, **sources):
    """Returns the settings of a run with images of one's own."""
    given = {
        "labeled": "csv:l.csv",
        "evaluation": "csv:e.csv",
        "unlabeled": "csv:u.csv",
    }
    images = [f"data.{name}={spec}" for name, spec in {**given, **sources}.items()]
    common = ["teacher.preset=tiny"]
    return read_run(None, [*images, *common, *assignments], output="runs/x")


def test_the_demo_runs_the_commands_of_the_former_make_chain():
    former = [line.split() for line in DEMO.split("\n") if line]
    expected = sorted((module, *sorted(words)) for module, *words in former)
    found = commands(read_run(None, SETTINGS, output="runs/demo")).values()
    assert sorted((module, *sorted(words)) for module, words in found) == expected


def test_stages_are_listed_after_those_that_they_read():
    for assignments in (
        ["rounds.count=3"],
        ["teacher.folds=3"],
        ["labeling.neighbors=0"],
    ):
        stages = Chain(folders(*assignments), Chosen(), 3).stages()
        names = list(stages)
        for name, stage in stages.items():
            for parent in stage.parents:
                assert names.index(parent) < names.index(name)


#: Runs that together have each kind of stage and flag.
RUNS = (
    folders("rounds.count=2"),
    folders("teacher.folds=3", "rounds.count=2", "runner.tpu=pod"),
    folders("labeling.neighbors=0", "teacher.members=2", "teacher.consistency=on"),
    folders("teacher.features=onnx:clip.onnx", calibration="csv:c.csv"),
    folders("teacher.features=keras:EfficientNetV2B0"),
    folders("teacher.preset=auto"),
    folders("data.image_feature=x", "data.label_feature=y", "data.class_names=n.txt"),
    folders("data.unlabeled_image_feature=z", "selection.duplicate_similarity=0.9"),
    folders("runner.tpu=vm", "student.preset=resnet_rs_50_160"),
    read_run(None, SETTINGS, output="runs/demo"),
)


@pytest.mark.parametrize("config", RUNS)
def test_every_command_accepts_its_flags(config):
    chosen = Chosen(
        features="keras:EfficientNetV2B0", preset="tiny", flags=("--set=a=1",)
    )
    for module, words in commands(config, chosen=chosen).values():
        flags = list(itertools.takewhile(lambda word: word != "--", words))
        find_command(module).FLAGS.check(flags)
    for stage in choice_stages(config).values():
        find_command(stage.module).FLAGS.check(stage.command("r", "r")[2:])


def test_each_output_is_that_of_one_stage():
    for config in RUNS:
        made = [
            word.partition("=")[2]
            for _, words in commands(config).values()
            for word in words
            if word.startswith(("--output=", "--workdir="))
        ]
        assert sorted(made) == sorted(f"{config.output}/{n}" for n in commands(config))


# --- settings ------------------------------------------------------------------
#: Another value of each setting that changes what is made, in a run with digits, with
#: images of one's own, with folds, and so on; and what must be set beside it.
CHANGES = {
    "data.labeled": ("csv:other.csv",),
    "data.evaluation": ("csv:other.csv",),
    "data.unlabeled": ("csv:other.csv",),
    "data.calibration": ("csv:other.csv",),
    "data.exclude": ('["csv:other.csv"]',),
    "data.class_names": ("names.txt",),
    "data.data_dir": ("tfds",),
    "data.image_feature": ("x",),
    "data.label_feature": ("x",),
    "data.unlabeled_image_feature": ("x",),
    "teacher.preset": ("fine_tune",),
    "teacher.settings.num_steps": ("7",),
    "teacher.features": ("keras:EfficientNetV2B0",),
    "teacher.members": ("2",),
    "teacher.folds": ("2",),
    "teacher.consistency": ("off",),
    "teacher.flags": ('["--profile"]',),
    "labeling.engine": ("tensorflow",),
    "labeling.dtype": ("float32",),
    "labeling.neighbors": ("3",),
    "labeling.flags": ('["--top_k=3"]',),
    "selection.target_precision": ("0.9", "teacher.folds=2"),
    "selection.confidence_threshold": ("0.9",),
    "selection.images_per_class": ("7",),
    "selection.max_copies": ("7",),
    "selection.duplicate_bits": ("2",),
    "selection.duplicate_similarity": ("0.9",),
    "selection.flags": ('["--what_if"]',),
    "student.preset": ("resnet_rs_50_160",),
    "student.settings.num_steps": ("7",),
    "student.flags": ('["--profile"]',),
    "rounds.count": ("2",),
    "rounds.seed": ("2",),
    "rounds.minutes": ("7", "teacher.preset=auto"),
    "runner.tpu": ("vm",),
    "runner.beam_options": ('["--runner=PrismRunner"]',),
    "runner.name": ("flink",),
}
#: Settings that decide how a run is made, or that `RUNS` and the demo are about; those
#: of Dataflow have their own tests.
OTHERS = {
    *("output", "rounds.patience", "runner.jobs", "runner.threads", "runner.prism"),
    *("data.digits.labels_per_class", "data.digits.calibration_images"),
}


def all_settings(config, prefix=""):
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from all_settings(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def all_commands(config):
    chosen = {
        name: (stage.module, stage.command(config.output, config.output)[2:])
        for name, stage in choice_stages(config).items()
    }
    return {**chosen, **commands(config)}


def test_every_setting_is_looked_at():
    known = {name for name in all_settings(RunConfig()) if "dataflow." not in name}
    changed = {name.removesuffix(".num_steps") for name in CHANGES}
    assert changed | OTHERS == known


@pytest.mark.parametrize("name", CHANGES)
def test_every_setting_reaches_a_command(name):
    value, *beside = CHANGES[name]
    before = all_commands(folders(*beside))
    assert all_commands(folders(*beside, f"{name}={value}")) != before


def test_settings_of_the_digits_reach_a_command():
    for name in ("labels_per_class", "calibration_images"):
        demo = read_run(None, SETTINGS, output="r")
        other = read_run(None, [*SETTINGS, f"data.digits.{name}=7"], output="r")
        assert commands(demo)["data"] != commands(other)["data"]


def test_the_threads_of_a_network_decide_nothing():
    for assignment in ("runner.threads=2", "runner.jobs=3", "rounds.patience=2"):
        assert all_commands(folders(assignment)) == all_commands(folders())


# --- what is stale -----------------------------------------------------------------
#: Flags that decide nothing.
PLACES = (
    *("--data_dir=", "--images_per_second=", "--log_to=", "--license=", "--profile"),
)


def words_that_decide(config):
    """Returns the words of each command, but for Beam's options and places."""
    return {
        name: [
            module,
            *sorted(
                word
                for word in itertools.takewhile(lambda word: word != "--", words)
                if not word.startswith(PLACES)
            ),
        ]
        for name, (module, words) in commands(config).items()
    }


class Finished:
    """A run all of whose stages are done, with settings or others."""

    def __init__(self, path, config):
        self.path, self.config = path, dataclasses.replace(config, output=str(path))
        for name, stage in self.stages(self.config).items():
            (path / name).mkdir(parents=True, exist_ok=True)
            for file in ("config.json", "COMPLETED"):
                (path / name / file).write_text("{}")
            receipt = receipts.make(stage, str(path), self.files)
            receipts.write(receipt, stage, str(path))

    def stages(self, config):
        return Chain(config, Chosen(), config.rounds.count).stages()

    def files(self, spec):
        return None

    def stale(self, config):
        config = dataclasses.replace(config, output=str(self.path))
        return {
            name
            for name, stage in self.stages(config).items()
            for status in [receipts.find_status(stage, str(self.path), self.files)]
            if status.state is State.STALE
        }

    def with_other_words(self, config):
        """Brute force: the stages that both have, whose words differ."""
        config = dataclasses.replace(config, output=str(self.path))
        before, now = words_that_decide(self.config), words_that_decide(config)
        return {name for name in before.keys() & now if before[name] != now[name]}


def changed_runs():
    for name, (value, *beside) in CHANGES.items():
        if "teacher.preset=auto" not in beside:
            yield name, folders(*beside, f"{name}={value}")


@pytest.mark.parametrize("seed", range(4))
def test_for_two_settings_exactly_the_stages_with_other_flags_are_stale(tmp_path, seed):
    rng = random.Random(seed)
    runs = dict(changed_runs())
    for index, name in enumerate(rng.sample(sorted(runs), 5)):
        finished = Finished(tmp_path / str(index), runs[name])
        assert finished.stale(runs[name]) == set()
        for other, config in runs.items():
            expected = finished.with_other_words(config)
            assert finished.stale(config) == expected, (name, other)


# --- seeds -----------------------------------------------------------------------
def seeds_of(seed):
    config = folders("rounds.count=20", f"rounds.seed={seed}", "teacher.members=20")
    return {
        name: int(word.removeprefix("--seed="))
        for name, (_, words) in commands(config).items()
        for word in words
        if word.startswith("--seed=")
    }


def test_no_two_classifiers_of_any_seeds_share_a_seed():
    given = (1, 11, 2, 12, 121, 999_999)
    found = [
        seed
        for number in given
        for name, seed in seeds_of(number).items()
        if name != "control"
    ]
    assert len(found) == len(set(found)) == len(given) * (20 + 20)
    assert max(found) <= MAX_SEED
    assert seeds_of(1)["round-1/teacher/member-1"] == 11
    assert seeds_of(1)["round-1/student"] == 1210
    assert seeds_of(7)["control"] == 7


# --- goals -------------------------------------------------------------------------
@pytest.mark.parametrize("goal", stage_commands.GOALS)
@pytest.mark.parametrize("number", [1, 2, 20])
@pytest.mark.parametrize("config", RUNS)
def test_every_goal_is_made_by_stages(goal, number, config):
    chain = Chain(config, Chosen(), max(number, config.rounds.count))
    wanted = chain.goal(goal, number)
    assert wanted
    assert set(wanted) <= set(chain.stages())


@pytest.mark.parametrize(
    "config",
    [
        folders(calibration="csv:c.csv"),
        read_run(None, [*SETTINGS, "data.digits.calibration_images=9"], output="r"),
    ],
)
def test_the_last_student_is_calibrated_to_compare_the_rounds(config):
    for count in (1, 2, 20):
        chain = Chain(config, Chosen(), count)
        (wanted,) = chain.goal("calibration", count + 1)
        assert chain.stages()[wanted].parents[-1] == f"round-{count}/student"


def test_without_unlabeled_images_only_teachers_are_trained():
    chain = Chain(folders("teacher.folds=2", unlabeled=""), Chosen(), 1)
    assert list(chain.stages()) == [
        *("round-1/teacher/member-1", "round-1/teacher/member-2"),
        *("round-1/teacher/evaluation", "round-1/calibration"),
    ]


# --- what is chosen ------------------------------------------------------------------
def test_chosen_features_make_a_probe_the_teacher():
    chosen = Chosen(
        features="onnx:/my models/lite.onnx", flags=("--set=image.size=64",)
    )
    found = commands(folders("teacher.preset=auto"), chosen=chosen)
    module, words = found["round-1/teacher/member-1"]
    assert module == "teacher.probe"
    assert "--features=onnx:/my models/lite.onnx" in words
    assert {"--preset=tiny", "--set=image.size=64"} <= set(found["round-1/student"][1])
    assert "round-1/teacher_predictions" not in found


@pytest.mark.parametrize("is_calibrated", [True, False])
def test_a_probe_may_have_calibrated_itself(tmp_path, is_calibrated):
    config = dataclasses.replace(
        folders("teacher.features=keras:x", "rounds.count=2"), output=str(tmp_path)
    )
    probe = tmp_path / "round-1" / "teacher" / "member-1"
    for path in (probe, *([probe / "calibration"] if is_calibrated else [])):
        path.mkdir(parents=True)
        (path / "COMPLETED").touch()
    found = commands(config)
    flag = f"--calibration={probe}/calibration"
    for name in ("predictions", "selection"):
        assert (flag in found[f"round-1/{name}"][1]) == is_calibrated
    words = found["round-1/selection"][1]
    assert ("--target_precision=0.97" in words) == is_calibrated
    assert ("--confidence_threshold=0.51" in words) != is_calibrated
    assert "--confidence_threshold=0.51" in found["round-2/selection"][1]


@pytest.mark.parametrize(
    ("assignments", "needs_network"),
    [
        ([], False),
        (["teacher.folds=3"], True),
        (["teacher.members=2"], True),
        (["teacher.consistency=on"], True),
        (["labeling.neighbors=10"], True),
        (["labeling.neighbors=0"], False),
        (["teacher.settings.num_steps=9"], True),
        (["teacher.flags=['--init_from=x']"], True),
        (["teacher.features=keras:x", "teacher.settings.image.size=96"], False),
    ],
)
def test_settings_of_a_network_choose_no_probe(assignments, needs_network):
    config = folders("teacher.preset=auto", *assignments)
    words = choice_stages(config)[CHOICE].command("r", "r")
    assert ("--network" in words) == needs_network
    is_probe = "teacher.features=keras:x" in assignments
    assert ("--features=keras:x" in words) == is_probe
    assert ("--set=image.size=96" in words) == is_probe


# --- images --------------------------------------------------------------------------
def test_each_source_is_read_by_its_own_features():
    found = commands(
        folders(
            *("data.image_feature=x", "data.label_feature=y"),
            *("data.unlabeled_image_feature=z", "labeling.neighbors=3"),
        )
    )
    for name, (_, words) in found.items():
        features = {word for word in words if "_feature=" in word}
        labeled = {"--image_feature=x", "--label_feature=y"}
        if name == "round-1/teacher/member-1":
            expected = {*labeled, "--unlabeled_image_feature=z"}
        elif name == "round-1/samples":
            expected = {"--image_feature=z", "--excluded_image_feature=x"}
        elif "--images=csv:u.csv" in words:
            expected = {"--image_feature=z"}
        elif "excluded" in name:
            expected = {"--image_feature=x"}
        else:
            is_read = {"--labeled=csv:l.csv", "--evaluation=csv:e.csv"} & set(words)
            expected = labeled if is_read or "labeled_predictions" in name else set()
        assert features == expected, name


def test_excluded_images_are_those_with_labels_unless_others_are_given():
    def excluded(*assignments, **more):
        found = commands(folders(*assignments, **more))
        return [
            word.removeprefix("--images=")
            for name, (_, words) in found.items()
            for word in words
            if "excluded" in name and word.startswith("--images=")
        ]

    assert excluded() == ["csv:e.csv", "csv:l.csv"]
    assert excluded(calibration="csv:c.csv")[2:] == ["csv:c.csv"]
    assert excluded("data.exclude=['csv:a b.csv']") == ["csv:a b.csv"]
    assert excluded("data.exclude=[]") == []


def test_images_of_a_folder_are_held_out_without_others(tmp_path):
    data = DataSection(labeled=str(tmp_path), unlabeled="csv:u.csv")
    config = dataclasses.replace(RunConfig(output=str(tmp_path / "run")), data=data)
    for stage in Chain(config, Chosen(), 1).stages().values():
        reads_split = any("/split/" in source for source in stage.sources)
        assert reads_split <= ("split" in stage.parents)
    (tmp_path / "run" / "split").mkdir(parents=True)
    gone = dataclasses.replace(data, labeled=f"folder:{tmp_path}/gone")
    assert dataclasses.replace(config, data=gone).is_split
