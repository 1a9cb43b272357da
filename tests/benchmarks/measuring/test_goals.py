import pytest

from benchmarks.measuring.goals import Verdict, as_json, log_tables
from benchmarks.measuring.turns import Rounds


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict("ratio", 1.19, at_least=1.2), "1.190 >= 1.2 no"),
        (Verdict("ratio", 1.2, at_least=1.2), "1.200 >= 1.2 yes"),
        (Verdict("ratio", 1.1, at_most=1.1), "1.100 <= 1.1 yes"),
        (Verdict("ratio", 1.101, at_most=1.1), "1.101 <= 1.1 no"),
        # The figure as it is printed decides.
        (Verdict("ratio", 1.1004, at_most=1.1), "1.100 <= 1.1 yes"),
        (Verdict("ratio", 4.0), "4.000"),
        (
            Verdict("ratio", 4.0, at_least=15.0, exemption="not asked"),
            "4.000 >= 15 not asked",
        ),
        (Verdict("ratio", 7300.0, at_least=7200), "7300.000 >= 7200 yes"),
    ],
)
def test_a_line_tells_on_which_side_of_the_goal_a_figure_is(verdict, expected):
    assert verdict.line().split() == ["ratio", *expected.split()]


def test_the_tables_and_the_json_have_every_figure(capsys):
    verdicts = [Verdict("memory", 0.51234, at_most=1.0), Verdict("start", 4.0)]
    rounds = Rounds({"ours": [{"seconds": 2.0}]})
    log_tables(rounds, verdicts)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == list(rounds.table())
    assert lines[-2:] == [verdict.line() for verdict in verdicts]
    assert as_json(verdicts) == {"memory": 0.512, "start": 4.0}
