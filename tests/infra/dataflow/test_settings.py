import pytest

from infra.dataflow import settings
from tests.workflow.dataflow import recorded

SETTINGS = [text for text in recorded.SETTINGS if not text.startswith("output=")]


def test_without_a_file_the_settings_are_enough():
    config = settings.read(["program"], [*SETTINGS, "runner.name=local"])
    assert config.runner.name == "dataflow"
    assert config.output == "runs/dataflow"
    assert settings.read(["program"], [*SETTINGS, "output=x"]).output == "x"


def test_of_a_run_file_the_settings_win(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('output = "birds"\n[teacher]\nmembers = 2\nfolds = 3\n')
    config = settings.read(["program", str(path)], [*SETTINGS, "teacher.folds=0"])
    assert config.runner.name == "dataflow"
    assert config.output == str(tmp_path / "birds")
    assert (config.teacher.members, config.teacher.folds) == (2, 0)


def test_two_files_are_refused():
    with pytest.raises(ValueError, match=r"expected one run file, got a\.toml b\.toml"):
        settings.read(["program", "a.toml", "b.toml"], SETTINGS)
