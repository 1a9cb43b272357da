import pytest

from workflow.chain.stage import (
    Argument,
    IfThere,
    Kind,
    Stage,
    places,
    reads,
    settings,
    sources,
    words,
)


def test_a_flag_without_a_value_is_left_out():
    found = settings(a=None, b="", c=False, d=0, e=True, f=0.5, g="x y")
    assert [a.words(local="l", shared="s") for a in found] == [
        *("--d=0", "--e", "--f=0.5", "--g=x y")
    ]
    assert reads(a="", b=["x", "y"]) == (
        *(Argument("b", name, Kind.STAGE) for name in "xy"),
    )


def test_directories_are_where_the_workers_see_them():
    stage = Stage(
        name="x/y",
        module="some.module",
        arguments=(
            *reads(read="a"),
            Argument("calibration", "b", Kind.LOCAL_STAGE),
            *sources(images="folder:c"),
            *words(["--d=e", "f"]),
        ),
        beam_options=("--runner=R",),
        is_shared=True,
        output_flag="workdir",
    )
    assert stage.command("/run", "gs://run") == [
        *("-m", "some.module", "--read=gs://run/a", "--calibration=/run/b"),
        *("--images=folder:c", "--d=e", "f", "--workdir=gs://run/x/y", "--"),
        "--runner=R",
    ]
    assert stage.parents == ("a", "b")
    assert stage.sources == ("folder:c",)


@pytest.mark.parametrize("is_made", [True, False])
@pytest.mark.parametrize("is_there", [True, False])
def test_an_argument_may_depend_on_what_a_stage_has_made(tmp_path, is_made, is_there):
    argument = IfThere("a/inner", settings(x=1), settings(y=1))
    stage = Stage(name="b", module="m", arguments=(argument, *places(z="1")))
    for path, is_complete in (("a", is_made), ("a/inner", is_there)):
        (tmp_path / path).mkdir()
        if is_complete:
            (tmp_path / path / "COMPLETED").touch()
    (argument, _) = stage.resolve(str(tmp_path))
    assert argument.name == ("y" if is_made and not is_there else "x")
