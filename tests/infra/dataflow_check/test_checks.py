from infra.dataflow_check import checks
from infra.dataflow_check.findings import Answer
from tests.infra.dataflow_check import recorded


def states(findings):
    return {finding.subject: finding.state for finding in findings}


def test_a_project_that_has_all_is_ok():
    for options in (
        (),
        ("--accelerator=nvidia-tesla-t4",),
        ("--flexrs_goal=SPEED_OPTIMIZED",),
    ):
        found = list(checks.all_of(recorded.job(*options), recorded.answers()))
        wrong = [str(each) for each in found if each.state != "ok"]
        assert wrong == [], options
        assert len(found) > 20


def test_nothing_else_is_said_without_a_login():
    for changes in (
        {"account": []},
        {"account": Answer(reason="crashed")},
        {"bucket": Answer(reason=recorded.EXPIRED)},
    ):
        login, beam, rest = checks.all_of(recorded.job(), recorded.answers(changes))
        assert login.state in ("FAIL", "?")
        assert (beam.state, rest.state) == ("ok", "?")
        image = states(checks.image(recorded.job(), recorded.answers(changes)))
        assert list(image) == ["login", "login for Beam"]


def test_what_gcloud_does_not_tell_is_no_failure():
    """Of each query in its turn, that it is forbidden."""
    for name in set(recorded.ready()) - {"account", "application_login"}:
        denied = {name: Answer(reason=recorded.DENIED)}
        job = recorded.job("--accelerator=nvidia-tesla-t4")
        found = list(checks.all_of(job, recorded.answers(denied)))
        wrong = {each.state for each in found if each.state != "ok"}
        # gcloud says the same of a project that is not there and of a hidden one.
        expected = {"FAIL"} if name == "project" else {"?"}
        if name == "account_roles":  # The owner of the project needs no role on it.
            expected = set()
        assert wrong == expected, name
