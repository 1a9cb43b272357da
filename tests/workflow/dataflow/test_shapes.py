"""Whatever gcloud answers, each check ends with findings."""

import pytest

from tests.workflow.dataflow import recorded
from workflow.dataflow import checks, queries
from workflow.dataflow.findings import NOT_UNDERSTOOD, Answer
from workflow.dataflow.shapes import SHAPES, understood

JOB = recorded.job("--accelerator=nvidia-tesla-t4", images=recorded.IMAGES)
#: What no query is answered with.
ODD = (None, [None], [[]], [{}], "", "<html></html>", 7, -1.5, True, {"error": {}})
#: Put in the place of each part of a right answer.
WRONG_PARTS = (*ODD, [], {}, float("inf"), ["x"], {"a": 1})
READ = sorted(SHAPES.keys() - {"application_login"})


def places(value, place=()):
    """Yields the keys and numbers that lead to each part of an answer."""
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value[:2])
    for key, part in items:
        yield (*place, key)
        yield from places(part, (*place, key))


def changed(value, place, *new):
    """Returns an answer with another part at a place, or with none there."""
    key, *inner = place
    items = dict(value.items() if isinstance(value, dict) else enumerate(value))
    if inner:
        items[key] = changed(items[key], inner, *new)
    elif new:
        (items[key],) = new
    else:
        del items[key]
    return items if isinstance(value, dict) else list(items.values())


def partial(value):
    """Yields answers that lack a part, or have null or something else there."""
    for place in places(value):
        yield changed(value, place)
        for part in WRONG_PARTS:
            yield changed(value, place, part)


def findings(name, value):
    """Returns what is found of all, and before training, with one other answer."""
    ask = recorded.ask({name: value})
    return [list(check(JOB, ask)) for check in (checks.all_of, checks.before_training)]


def reason(name, value):
    return understood({name: Answer(value)})[name].reason


def test_each_query_has_a_shape():
    jobs = (JOB, recorded.job(builds_in_cloud=False), recorded.job("--use_public_ips"))
    asked = [
        {**queries.for_access(job), **queries.for_job(job), **queries.for_training(job)}
        for job in jobs
    ]
    assert set().union(*asked) == SHAPES.keys()


def test_what_gcloud_says_and_what_fits_is_left_alone():
    answers = {**recorded.answers(), "bucket": Answer(reason="not found: 404")}
    assert understood(answers) == answers
    beside = {**recorded.ready()["bucket"], "new": [None]}
    assert reason("bucket", beside) == ""


@pytest.mark.parametrize("name", READ)
def test_what_is_no_answer_is_unknown_for_its_reason(name):
    """As an answer that gcloud refuses."""
    # An owner of the project needs no role on the account.
    expected = {"ok"} if name == "account_roles" else {"ok", "?"}
    for value in ODD:
        why = reason(name, value)
        assert why.startswith(f"{NOT_UNDERSTOOD}: "), value
        found = findings(name, value)
        assert found == findings(name, Answer(reason=why)), value
        assert {each.state for each in found[0]} == expected, value


def test_the_token_is_not_read():
    for value in ODD:
        assert findings("application_login", value) == findings("application_login", "")


@pytest.mark.parametrize("name", READ)
def test_a_partial_answer_is_read_or_unknown(name):
    for value in partial(recorded.ready()[name]):
        found = findings(name, value)
        if why := reason(name, value):
            assert found == findings(name, Answer(reason=why)), value
            assert "FAIL" not in {each.state for each in found[0]}, value


@pytest.mark.parametrize(
    ("name", "place", "where"),
    [
        ("bucket", ["location"], "location"),
        ("region", ["quotas"], "quotas"),
        ("region", ["quotas", 0, "limit"], "quotas[0].limit"),
        ("project_roles", ["bindings", 1, "role"], "bindings[1].role"),
        ("services", [2, "config"], "[2].config"),
        ("builder", ["serviceAccountEmail"], "serviceAccountEmail"),
    ],
)
def test_what_is_lacking_is_named(name, place, where):
    right = recorded.ready()[name]
    for value in (changed(right, place), changed(right, place, None)):
        assert f": {where}: expected " in reason(name, value)
