import pytest

from tests.workflow.dataflow import recorded
from workflow.dataflow import checks
from workflow.dataflow.findings import Answer

GPU = "--accelerator=nvidia-l4"


def states(findings):
    return {finding.subject: finding.state for finding in findings}


def all_of(job, changes=None):
    return list(checks.all_of(job, recorded.ask(changes)))


def before_training(job, changes=None):
    return list(checks.before_training(job, recorded.ask(changes)))


@pytest.fixture
def asked():
    """The names of the queries so far, and a function that answers them."""
    names = []

    def ask(queries):
        names.extend(queries)
        return recorded.ask()(queries)

    return names, ask


def test_a_project_that_has_all_is_ok():
    for options in (
        (),
        ("--accelerator=nvidia-tesla-t4",),
        ("--flexrs_goal=SPEED_OPTIMIZED",),
    ):
        job = recorded.job(*options, images=recorded.IMAGES)
        found = all_of(job)
        wrong = [str(each) for each in found if each.state != "ok"]
        assert wrong == [], options
        assert len(found) > 20
        assert before_training(job) == []


def test_nothing_else_is_asked_without_a_login():
    for changes in (
        {"account": []},
        {"account": Answer(reason="crashed")},
        {"regions": Answer(reason=recorded.EXPIRED)},
    ):
        login, beam, rest = all_of(recorded.job(), changes)
        assert login.state in ("FAIL", "?")
        assert (beam.state, rest.state) == ("ok", "?")
        assert list(states(before_training(recorded.job(), changes))) == ["login"]


def test_nothing_else_is_asked_without_a_region(asked):
    names, ask = asked
    job = recorded.job("--region=us-central9")
    login, beam, region, rest = checks.all_of(job, ask)
    assert (login.state, beam.state, rest.state) == ("ok", "ok", "?")
    assert str(region) == (
        "FAIL region: no us-central9, did you mean us-central1?: type: gcloud compute "
        "regions list --project=my-project, and name one: "
        "runner.dataflow.region= (make: REGION=)"
    )
    assert list(checks.before_training(job, ask)) == [region]
    assert set(names) == {"account", "application_login", "regions"}


def test_what_gcloud_does_not_tell_is_no_failure():
    """Of each query in its turn, that it is forbidden."""
    for name in set(recorded.ready()) - {"account", "application_login"}:
        denied = {name: Answer(reason=recorded.DENIED)}
        job = recorded.job("--accelerator=nvidia-tesla-t4", images=recorded.IMAGES)
        wrong = {each.state for each in all_of(job, denied) if each.state != "ok"}
        # gcloud says the same of a project that is not there and of a hidden one.
        expected = {"FAIL"} if name == "project" else {"?"}
        if name == "account_roles":  # The owner of the project needs no role on it.
            expected = set()
        assert wrong == expected, name


class TestBeforeTraining:
    """What make looks at before it chooses or trains."""

    @pytest.mark.parametrize(
        ("changes", "line"),
        [
            ({"application_login": Answer(reason="none")}, "FAIL login for Beam: "),
            ({"account": []}, "FAIL login: "),
            ({"machine_types": []}, "FAIL g2-standard-8 with nvidia-l4: "),
            ({"image": Answer(reason="Image not found.")}, "FAIL container: "),
            ({"image": Answer(reason=recorded.DENIED)}, "?    container: "),
        ],
    )
    def test_what_is_missing_stops(self, changes, line):
        (wrong,) = before_training(recorded.job(GPU), changes)
        assert str(wrong).startswith(line)

    @pytest.mark.parametrize("name", ["regions", "machine_types", "accelerator_types"])
    def test_what_only_owners_see_does_not(self, name):
        denied = {name: Answer(reason=recorded.DENIED)}
        assert before_training(recorded.job(GPU), denied) == []

    def test_a_container_of_another_registry_is_not_looked_for(self, asked):
        names, ask = asked
        assert not list(checks.before_training(recorded.job(owns_image=False), ask))
        assert "image" not in names
        assert {"account", "application_login", "machine_types"} <= set(names)
