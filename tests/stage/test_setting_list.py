import dataclasses
from typing import Literal

import pytest

from classifier.training.presets import PRESETS
from stage.setting_list import describe_fields, list_settings, render
from student.training import presets as students


@dataclasses.dataclass(frozen=True)
class Group:
    """A group.

    Attributes:
        kind: First
            or second.
        sizes: Sides: in pixels.
    """

    kind: Literal["first", "second"] = "first"
    sizes: tuple[int, ...] = (3, 4)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A recipe.

    Attributes:
        group: The group.
        rate: Share of all.

    Another section is none of them.
    """

    group: Group = Group()
    rate: float = 0.5


@dataclasses.dataclass(frozen=True)
class LongerRecipe(Recipe):
    """A recipe with more.

    Attributes:
        more: Whether there is more.
    """

    more: bool = True


def test_a_setting_has_path_value_type_and_description():
    lines = render(list_settings(LongerRecipe())).splitlines()
    assert lines == [
        "group.kind=first  (first or second)",
        "    First or second.",
        "group.sizes=3,4  (int, separated by commas)",
        "    Sides: in pixels.",
        "rate=0.5  (float)",
        "    Share of all.",
        "more=True  (bool)",
        "    Whether there is more.",
    ]


@pytest.mark.parametrize(
    "recipe", [PRESETS["tiny"], students.PRESETS["tiny"]], ids=["teacher", "student"]
)
def test_every_setting_of_a_recipe_has_a_description(recipe):
    for setting in list_settings(recipe):
        assert setting.description.endswith("."), setting.path
        assert "optional" not in setting.type.lower(), setting


def test_a_class_without_attributes_describes_none():
    assert describe_fields(int) == {}
