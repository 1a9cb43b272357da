import dataclasses

import pytest

from classifier.training.config import read_run
from stage import artifact
from stage.overrides import override_all
from student.training import presets
from student.training.config import MixtureConfig, StudentConfig, check_assignments


def test_the_labeled_share_is_at_least_one_image_and_never_all():
    config = StudentConfig(global_batch_size=8)
    for fraction, labeled in ((0.01, 1), (0.25, 2), (0.5, 4), (0.99, 7)):
        mixture = dataclasses.replace(config.mixture, labeled_fraction=fraction)
        mixed = dataclasses.replace(config, mixture=mixture)
        assert mixed.labeled_batch_size == labeled
        assert mixed.pseudo_labeled_batch_size == 8 - labeled


@pytest.mark.parametrize(
    ("fraction", "of_part"), [(0.01, 1), (0.2, 2), (0.25, 2), (0.3, 2), (0.99, 7)]
)
def test_every_part_of_a_batch_has_the_same_share(fraction, of_part):
    config = StudentConfig(global_batch_size=64, input_shards=4)
    model = dataclasses.replace(config.model, batch_norm_groups=8)
    mixture = dataclasses.replace(config.mixture, labeled_fraction=fraction)
    mixed = dataclasses.replace(config, model=model, mixture=mixture)
    assert mixed.labeled_batch_size == 8 * of_part
    assert mixed.pseudo_labeled_batch_size == 64 - 8 * of_part


@pytest.mark.parametrize(
    "changes",
    [{"labeled_fraction": 0.0}, {"labeled_fraction": 1.0}, {"temperature": 0}],
)
def test_nonsense_is_refused(changes):
    with pytest.raises(ValueError, match=f"mixture.{next(iter(changes))}"):
        MixtureConfig(**changes)


def test_a_target_kind_is_one_of_three():
    for kind in ("hard", "soft", "sharpened"):
        config = override_all(StudentConfig(), [f"mixture.target_kind={kind}"])
        assert config.mixture.target_kind == kind
    with pytest.raises(ValueError, match=r"mixture\.target_kind\b.*'sof'"):
        override_all(StudentConfig(), ["mixture.target_kind=sof"])


@pytest.mark.parametrize("kind", ["hard", "soft"])
@pytest.mark.parametrize("name", ["tiny", "resnet_rs_50_160"])
def test_a_temperature_without_an_effect_is_refused(name, kind):
    settings = [f"mixture.target_kind={kind}"]
    check_assignments(override_all(presets.find(name), settings), settings)
    settings.append("mixture.temperature=0.5")
    recipe = override_all(presets.find(name), settings)
    with pytest.raises(ValueError, match=rf"temperature\b.*=sharpened\b.*\b{kind}"):
        check_assignments(recipe, settings)
    settings[0] = "mixture.target_kind=sharpened"
    check_assignments(override_all(presets.find(name), settings), settings)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_recipe_is_read_back_without_its_mixture(name, tmp_path):
    student = presets.PRESETS[name]
    content = {"config": dataclasses.asdict(student), "class_names": ["a", "b"]}
    artifact.write_json(tmp_path / artifact.CONFIG, content)
    read = read_run(tmp_path).recipe
    for field in dataclasses.fields(read):
        assert getattr(read, field.name) == getattr(student, field.name)
