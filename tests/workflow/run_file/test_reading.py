import dataclasses
import glob
import os
import string
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stage.flags import SOURCE_KINDS
from workflow.run_file.config import RunConfig
from workflow.run_file.reading import (
    PathKind,
    differences,
    read_run,
    resolve,
    to_toml,
    write_run,
)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


# --- errors ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("[teecher]\n", ["'teecher'", "'teacher'"]),
        ("[teacher]\npreset_ = 1\n", ["'teacher.preset_'", "'teacher.preset'"]),
        ("[data.digit]\n", ["'data.digit'", "'data.digits'"]),
        ("teacher = 3\n", ["teacher", "3"]),
        ("[teacher]\npreset = 3\n", ["teacher.preset", "3"]),
        ("[rounds]\ncount = 0\n", ["rounds.count", "0"]),
        ("[rounds]\ncount = 2020-01-01\n", ["rounds.count", "2020-01-01"]),
        ("[rounds]\ncount = true\n", ["rounds.count", "true"]),
        ("[selection]\ntarget_precision = nan\n", ["selection.target_precision"]),
        ("[selection]\ntarget_precision = 7\n", ["selection.target_precision", "7"]),
        ("[selection]\nflags = [1]\n", ["selection.flags[0]", "1"]),
        ("[teacher]\nfolds = 1\n", ["teacher", "folds", "1"]),
        ("output = ''\n", ["output"]),
        ("x = \n", ["expected TOML", "line 1"]),
        ("x = " + "[" * 5000, ["expected TOML"]),
    ],
)
def test_what_is_wrong_in_a_file_is_named_in_a_line(tmp_path, text, mentions):
    path = write(tmp_path / "run.toml", text)
    with pytest.raises(ValueError, match=r"^.+$") as error:
        read_run(path)
    assert all(mention in str(error.value) for mention in mentions), error.value


def test_a_file_of_other_bytes_is_no_run_file(tmp_path):
    (tmp_path / "run.toml").write_bytes(b"\xff\x00")
    with pytest.raises(ValueError, match="expected TOML"):
        read_run(str(tmp_path))


def test_what_is_no_run_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.toml.*noisy-student init"):
        read_run(str(tmp_path / "nothing.toml"))
    with pytest.raises(FileNotFoundError, match=r"no run\.toml in it"):
        read_run(str(tmp_path))
    with pytest.raises(ValueError, match="--output="):
        read_run(None)


@pytest.mark.parametrize(
    ("assignment", "mentions"),
    [
        ("teacher.preset", "--set=SETTING=VALUE"),
        ("teecher.preset=tiny", "nearest is 'teacher'"),
        ("teacher.presets=tiny", "nearest is 'teacher.preset'"),
        ("teacher.num_steps=60", "those of a recipe are teacher.settings.NAME"),
        ("rounds.count=many", "rounds.count"),
        ("teacher.preset.x=1", "teacher.preset"),
        ("=1", "unknown setting"),
    ],
)
def test_what_is_wrong_in_an_assignment(assignment, mentions):
    with pytest.raises(ValueError, match=mentions):
        read_run(None, [assignment], output="x")


# --- values ------------------------------------------------------------------------
def test_assignments_win_over_the_file_and_later_ones_over_earlier(tmp_path):
    path = write(tmp_path / "run.toml", '[teacher]\npreset = "tiny"\nfolds = 3\n')
    config = read_run(path, ["teacher.preset=a", "teacher.preset=b"])
    assert config.teacher.preset == "b"
    assert config.teacher.folds == 3


def test_an_assignment_is_toml_or_else_a_string():
    config = read_run(
        None,
        [
            "teacher.folds=3",
            "data.labeled=folder:a b/c=d",
            'selection.flags=["--what_if"]',
            "teacher.settings.optimizer.momentum=0.5",
            "teacher.settings.num_steps=7",
        ],
        output="x",
    )
    assert config.teacher.folds == 3
    assert config.data.labeled == "folder:a b/c=d"
    assert config.selection.flags == ("--what_if",)
    assert config.teacher.settings == {"optimizer": {"momentum": 0.5}, "num_steps": 7}


def test_a_string_may_look_like_another_value(tmp_path):
    names = ["2024-01-01", "7", "true", '"a b"']
    found = [
        read_run(None, [f"data.unlabeled={name}"], output="x").data.unlabeled
        for name in names
    ]
    assert found == ["2024-01-01", "7", "true", "a b"]


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "run.toml").write_text('output = "a"', encoding="utf-8-sig")
    assert read_run(str(tmp_path)).output == str(tmp_path / "a")


def test_a_file_of_somebody_in_the_directory_of_the_run_stays(tmp_path):
    text = '# Mine.\noutput = "."\n[teacher]\nfolds = 3\n'
    path = write(tmp_path / "run.toml", text)
    write_run(read_run(path))
    assert (tmp_path / "run.toml").read_text() == text
    with pytest.raises(ValueError, match=r"another output.*teacher\.folds was 3, is 4"):
        write_run(read_run(path, ["teacher.folds=4"]))
    assert (tmp_path / "run.toml").read_text() == text


def test_the_settings_of_a_run_are_in_its_directory(tmp_path):
    config = read_run(None, ["teacher.folds=3"], output=str(tmp_path / "run"))
    write_run(config)
    assert read_run(None, output=str(tmp_path / "run")) == config
    assert read_run(str(tmp_path / "run")) == config
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = read_run(str(tmp_path / "moved"))
    assert moved == dataclasses.replace(config, output=str(tmp_path / "moved"))


def test_settings_are_written_once(tmp_path):
    config = read_run(None, output=str(tmp_path))
    write_run(config)
    before = (tmp_path / "run.toml").stat()
    write_run(config)
    assert (tmp_path / "run.toml").stat() == before


def test_differences_are_named():
    before = read_run(None, output="x")
    now = read_run(
        None,
        ["selection.max_copies=7", "teacher.settings.num_steps=3", "data.labeled=a"],
        output="y",
    )
    assert differences(before, before) == []
    assert differences(before, now) == [
        'data.labeled was not given, is "a"',
        "selection.max_copies was 3, is 7",
        "teacher.settings.num_steps was not given, is 3",
    ]


def test_a_path_that_is_spelled_in_another_way_is_no_difference(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["data.labeled=folder:a/../b", "data.exclude=['c']", "runner.prism=p"]
    spelled = [
        *(f"data.labeled=folder:{tmp_path}/b", f"data.exclude=['{tmp_path}/c']"),
        f"runner.prism={tmp_path}/p",
    ]
    both = [read_run(None, words, output="x") for words in (given, spelled)]
    assert differences(*both) == []


# --- paths -------------------------------------------------------------------------
def test_paths_are_relative_to_the_file_and_to_the_working_directory(tmp_path):
    text = """
output = "run"
[data]
labeled = "folder:labeled"
evaluation = "test"
unlabeled = "tfrecord:all/*.tfrecord"
exclude = ["csv:../more.csv", "hf:a/b:train", "gs://bin/x", "tfds:digits:test"]
class_names = "/names.txt"
[runner]
prism = "bin/prism"
[teacher]
features = "onnx:clip.onnx"
"""
    directory = tmp_path / "birds [1]"
    config = read_run(write(directory / "run.toml", text), ["data.calibration=more"])
    assert config.output == f"{directory}/run"
    assert config.data.labeled == f"folder:{directory}/labeled"
    assert config.data.evaluation == f"{directory}/test"
    pattern = f"tfrecord:{glob.escape(str(directory))}/all/*.tfrecord"
    assert config.data.unlabeled == pattern
    assert config.data.calibration == "more"
    assert config.data.exclude == (
        *(f"csv:{tmp_path}/more.csv", "hf:a/b:train", "gs://bin/x"),
        "tfds:digits:test",
    )
    assert config.data.class_names == "/names.txt"
    assert config.runner.prism == f"{directory}/bin/prism"
    assert config.teacher.features == f"onnx:{directory}/clip.onnx"


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("keras:EfficientNetV2B0", "keras:EfficientNetV2B0"),
        ("hf:timm/x", "hf:timm/x"),
        ("saved_model:a", "saved_model:d/a"),
        ("runs/teacher", "d/runs/teacher"),
        ("gs://bin/teacher", "gs://bin/teacher"),
        ("predictions:runs/x", "predictions:d/runs/x"),
        ("keras_h5:ResNet50:w.h5", "keras_h5:ResNet50:d/w.h5"),
        ("keras_h5:ResNet50:/w.h5", "keras_h5:ResNet50:/w.h5"),
        ("keras_h5:w.h5", "keras_h5:w.h5"),  # Refused later: the name is missing.
    ],
)
def test_features_may_be_paths(features, expected):
    assert resolve(features, "d", PathKind.FEATURES) == expected


def test_a_prepared_dataset_may_be_a_directory(tmp_path):
    (tmp_path / "dataset" / "1.0.0").mkdir(parents=True)
    for name in ("dataset", "dataset/1.0.0"):
        spec = resolve(f"tfds:{name}:train[:10%]", str(tmp_path), PathKind.SOURCE)
        assert spec == f"tfds:{tmp_path}/{name}:train[:10%]"
    assert resolve("tfds:mnist:test", str(tmp_path), PathKind.SOURCE) == (
        "tfds:mnist:test"
    )


# --- round trip --------------------------------------------------------------------
NAMES = st.text(
    string.ascii_letters + string.digits + " _.-ü[*", min_size=1, max_size=8
)
PATHS = st.lists(
    NAMES.filter(lambda n: n.strip(".") != ""), min_size=1, max_size=3
).map("/".join)
SOURCES = st.one_of(
    PATHS,
    st.builds(
        "{}:{}".format,
        st.sampled_from([kind for kind in SOURCE_KINDS if kind not in ("tfds", "hf")]),
        PATHS,
    ),
    st.builds("{}:{}:train".format, st.sampled_from(["tfds", "hf"]), NAMES),
)


def values(hint: Any, name: str) -> st.SearchStrategy[Any]:
    """Returns values of a setting; some do not go with those of others."""
    if name in ("labeled", "evaluation", "unlabeled", "calibration"):
        return SOURCES
    if name == "exclude":
        return st.lists(SOURCES, max_size=3).map(tuple)
    if name in ("class_names", "data_dir", "prism"):
        return PATHS
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if name == "settings":
        numbers = st.integers(0, 9) | st.booleans() | NAMES
        keys = st.sampled_from(["a", "b"])
        return st.dictionaries(
            keys, numbers | st.dictionaries(keys, numbers, min_size=1)
        )
    text = str(hint)
    if "tuple" in text:
        return st.lists(NAMES, max_size=3).map(tuple)
    if "int" in text:
        return st.integers(1, 30)
    if "float" in text:
        return st.floats(0, 1)
    return NAMES


def configs(kind: type) -> st.SearchStrategy[Any]:
    """Returns settings of a section of which some are given."""
    hints = get_type_hints(kind)
    given_values = {
        field.name: st.just(getattr(kind(), field.name))
        | (
            configs(hints[field.name])
            if dataclasses.is_dataclass(hints[field.name])
            else values(hints[field.name], field.name)
        )
        for field in dataclasses.fields(kind)
    }

    def build(given: dict[str, Any]) -> Any:
        try:
            return kind(**given)
        except ValueError:
            return kind()

    return st.fixed_dictionaries(given_values).map(build)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A directory whose name is a pattern, too."""
    return tmp_path_factory.mktemp("run [a]*")


@settings(max_examples=60, deadline=None)
@given(configs(RunConfig))
def test_settings_survive_their_file(root, config):
    config = dataclasses.replace(config, output=str(root / "run"))
    text = to_toml(config, start=config.output)
    found = read_run(write(root / "run" / "run.toml", text))
    assert absolute(found) == absolute(config)
    again = to_toml(found, start=found.output)
    assert again == text


def absolute(config):
    """Returns settings whose paths are absolute."""
    return {
        name: value
        for name, value in _absolute(dataclasses.asdict(config)).items()
        if value not in (None, "", (), {})
    }


def _absolute(value, name=""):
    if isinstance(value, dict):
        return {key: _absolute(inner, key) for key, inner in value.items()}
    if isinstance(value, tuple | list) and name == "exclude":
        return [_absolute(inner, "labeled") for inner in value]
    if isinstance(value, tuple):
        return list(value)
    if name in ("labeled", "evaluation", "unlabeled", "calibration") and value:
        form, separator, rest = value.partition(":")
        is_name = form in ("tfds", "hf")
        if separator and form in SOURCE_KINDS:
            return value if is_name else f"{form}:{os.path.abspath(rest)}"
        return os.path.abspath(value)
    if name in ("class_names", "data_dir", "output", "prism") and value:
        return os.path.abspath(value)
    if name == "features" and value and ":" not in value:
        return os.path.abspath(value)
    return value
