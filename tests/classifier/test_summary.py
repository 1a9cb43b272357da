import dataclasses

import pytest

from classifier import summary
from classifier.training import presets
from classifier.training.config import TrainConfig, override_recipe
from stage.overrides import override_all
from stage.setting_paths import flatten
from tests.commands import call


@pytest.mark.slow
def test_the_summary_of_all_published_networks():
    process = call("classifier.summary")
    assert process.returncode == 0, process.stderr
    rows = [line.split() for line in process.stdout.splitlines()[2:]]
    assert len(rows) == len(summary.PUBLISHED) == 11
    for row in rows:
        assert row[1] == row[2]
        assert row[3] == row[4]
        assert row[5] == "equal"


def test_a_summary_that_differs_ends_with_status_1(monkeypatch):
    published = {(50, 160): summary.PUBLISHED[50, 160], (50, 64): (35_691_912, 4.56)}
    monkeypatch.setattr(summary, "PUBLISHED", published)
    monkeypatch.setitem(
        presets.PRESETS, "resnet_rs_50_64", presets.find("resnet_rs_50_64")
    )
    process = call("classifier.summary")
    assert process.returncode == 1
    verdicts = [line.split()[-1] for line in process.stdout.splitlines()[2:]]
    assert verdicts == ["equal", "DIFFERENT"]


def test_the_summary_of_a_scaled_network():
    process = call(
        "classifier.summary",
        "--preset=tiny",
        "--num_classes=10",
        "--scale=3",
        "--epochs=400",
    )
    assert process.returncode == 0, process.stderr
    before, after, *settings = process.stdout.splitlines()
    assert before.startswith("resnet_rs_14 at 32 px: 688,754 parameters, 2.545 million")
    assert after.startswith("resnet_rs_65 at 32 px")
    assert "  --set=model.name=resnet_rs_65" in settings
    assert override_all(presets.tiny(), [s.strip()[6:] for s in settings])


def test_every_setting_is_listed_with_value_type_and_description():
    process = call(
        "classifier.summary", "--preset=tiny", "--settings", "--set=num_steps=1600"
    )
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    expected = dict(flatten(dataclasses.asdict(presets.tiny())))
    paths = [line.partition("=")[0] for line in lines if not line.startswith(" ")]
    assert paths == list(expected)
    assert "num_steps=1600  (int)" in lines
    assert "optimizer.warmup_steps=100  (int)" in lines
    assert "    Steps of the whole run." in lines
    assignments = [line.split("  (")[0] for line in lines if line[0] != " "]
    changed = override_all(TrainConfig(), assignments)
    assert changed == override_recipe(presets.tiny(), ["num_steps=1600"])


@pytest.mark.parametrize("flag", ["--scale=2", "--set=image.size=64", "--settings"])
def test_settings_need_a_preset(flag):
    process = call("classifier.summary", flag)
    assert process.returncode == 1
    assert "--preset" in process.stderr
