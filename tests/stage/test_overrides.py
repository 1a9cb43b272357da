import dataclasses
import itertools
from typing import Literal

import pytest

from classifier.training.config import TrainConfig
from stage.overrides import RENAMED, override_all, paths_of, unknown
from student.training.config import StudentConfig
from tests.commands import call


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    names: tuple[str, ...] = ("a",)
    kind: Literal["hard", "soft"] = "hard"
    mean: tuple[float, ...] = (0.5,)


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    low: int = 1
    high: int = 5
    title: str = "none"
    flip: bool = True

    def __post_init__(self):
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low}")


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("low=3", Outer(low=3)),
        ("flip=False", Outer(flip=False)),
        ("title=5", Outer(title="5")),
        ("inner.rate=1", Outer(inner=Inner(rate=1.0))),
        ("inner.names=b,c", Outer(inner=Inner(names=("b", "c")))),
        ("inner.kind=soft", Outer(inner=Inner(kind="soft"))),
        ("inner.mean=0.25,1", Outer(inner=Inner(mean=(0.25, 1.0)))),
    ],
)
def test_one_field_is_replaced_by_a_value_of_its_type(assignment, expected):
    replaced = override_all(Outer(), [assignment])
    assert replaced == expected
    assert repr(replaced) == repr(expected)  # 1 equals 1.0 and True.


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("low", "--set=.*--set=low; .*--settings"),
        ("help", "classifier.summary --preset=tiny --settings"),
        ("foo.bar=1", "'foo'; there are inner.rate, inner.names, .*flip$"),
        ("loww=5", "'low'"),
        ("inner.rat=5", "'inner.rate'"),
        ("low=many", "low"),
        ("low=1.5", "low"),
        (f"low={2**63}", "low"),
        ("flip=1", "flip"),
        ("inner=fast", "inner.rate, inner.names, inner.kind, inner.mean"),
        ("low.x=1", "low"),
        ("inner.kind=sof", "'soft'"),
        ("inner.rate=1e400", "inner.rate"),
        ("inner.rate=-1e999", "inner.rate"),
        ("inner.mean=0.5,red", "inner.mean of type float, got 'red'"),
        ("inner.mean=0.5,1e999", "inner.mean"),
        ("low=7", "got 7"),
        ("other.rate=1", "unknown setting"),
    ],
)
def test_an_assignment_that_does_not_fit_is_refused(assignment, named):
    with pytest.raises(ValueError, match=named):
        override_all(Outer(), [assignment])


def test_fields_are_checked_together_in_any_order():
    assignments = ["low=10", "high=12", "inner.rate=0.25", "inner.kind=soft"]
    expected = Outer(inner=Inner(rate=0.25, kind="soft"), low=10, high=12)
    for permutation in itertools.permutations(assignments):
        assert override_all(Outer(), permutation) == expected


def test_the_last_of_two_assignments_counts():
    assert override_all(Outer(), ["low=2", "low=3"]) == Outer(low=3)
    with pytest.raises(ValueError, match=r"inner\.rate"):
        override_all(Outer(), ["inner=x", "inner.rate=1"])


def test_nothing_is_changed_without_assignments():
    assert override_all(Outer(), []) == Outer()


def test_paths_of_assignments():
    assert paths_of(["low=1", "inner.names=a=b"]) == {"low", "inner.names"}


def test_an_unknown_name_is_answered_with_all_only_if_they_are_few():
    assert "'B', of A, B, C" in unknown("thing", "b", "ABC")
    many = [f"name_{i}" for i in range(99)]
    assert unknown("thing", "name_7x", many).endswith("'name_7'")


@pytest.mark.parametrize("config", [TrainConfig(), StudentConfig()])
def test_a_renamed_setting_names_the_new_one(config):
    for former, present in RENAMED.items():
        with pytest.raises(ValueError, match=f"{former} .*--set={present}="):
            override_all(config, [f"{former}=bfloat16"])


@pytest.mark.parametrize("command", ["teacher.train", "student.train"])
def test_training_names_the_new_setting_before_any_work(command, tmp_path):
    process = call(
        command,
        *("--labeled=folder:none", "--evaluation=folder:none"),
        *(f"--workdir={tmp_path}/new", "--set=precision=bfloat16"),
    )
    assert process.returncode == 1
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    assert "--set=dtype=" in line
    assert not any(tmp_path.iterdir())
