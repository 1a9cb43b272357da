import pytest

from workflow.report.analysis.missing import Missing, MissingError, attempt, require


def raising(error):
    def compute():
        raise error

    return compute


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (FileNotFoundError("no file"), "no file"),
        (KeyError("top1"), "top1"),
    ],
)
def test_an_error_becomes_a_reason_in_one_line(error, words):
    found = attempt(raising(error))
    assert isinstance(found, Missing)
    assert words in found.reason
    assert not found.command


def test_a_missing_figure_is_passed_on_with_its_command():
    missing = Missing(reason="nothing", command="make it")
    with pytest.raises(MissingError) as caught:
        require(missing)
    assert attempt(raising(caught.value)) == missing


def test_a_known_figure_is_returned():
    assert attempt(lambda: require(5)) == 5


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        attempt(lambda: 1 / 0)
