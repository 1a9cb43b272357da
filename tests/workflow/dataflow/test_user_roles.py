import re

import pytest

from tests.commands import ROOT
from tests.workflow.dataflow import recorded
from workflow.dataflow.findings import Answer
from workflow.dataflow.user_roles import user_roles

ME = "user:me@example.com"
DOCUMENT = (ROOT / "docs" / "dataflow.md").read_text()
#: The answers that have the policies of what a role is granted on.
POLICIES = {
    "the project": "project_roles",
    "the workers' account": "account_roles",
    "the bucket": "bucket_roles",
    "the repository": "repository_roles",
    "the images' bucket, if it is another one": "images_roles",
}


def documented():
    """Returns the roles that the documentation lists, and the policy of each."""
    section = DOCUMENT.partition("**Users who start jobs**")[2].partition("## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", section, re.MULTILINE)
    return [
        (role, POLICIES[place])
        for roles, place in rows
        for role in re.findall(r"`([\w.]+)`", roles)
    ]


def granted(roles, *, member=ME):
    """Returns the answers for a user who has these roles alone."""
    members = {name: {} for name in POLICIES.values()}
    for role, policy in roles:
        members[policy][role.replace(".", "_")] = [member]
    return {name: recorded.policy(**each) for name, each in members.items()}


def found(changes, *, images=recorded.IMAGES, **kinds):
    job = recorded.job(images=images, **kinds)
    return list(user_roles(job, recorded.answers(changes)))


def test_an_owner_needs_one_line():
    (line,) = found(granted([("owner", "project_roles")]), images="")
    assert str(line) == f"ok   your roles: {ME} has roles/owner"


def test_an_owner_may_not_read_what_is_another_projects():
    _, images = found(granted([("owner", "project_roles")]))
    assert images.state == "?"
    assert images.remedy.endswith("--role=roles/storage.objectViewer")
    ours = {"images_bucket": {"projectNumber": "123456789012"}}
    assert len(found({**granted([("owner", "project_roles")]), **ours})) == 1


def test_the_roles_of_the_documentation_suffice():
    roles = documented()
    assert len(roles) == 10
    assert {each.state for each in found(granted(roles))} == {"ok"}


@pytest.mark.parametrize("missing", documented(), ids=lambda each: each[0])
def test_each_role_of_the_documentation_is_looked_for(missing):
    """As far as containers are built here or there; a group may have it."""
    others = [role for role in documented() if role != missing]
    if "artifactregistry" in missing[0]:
        others = [role for role in others if "artifactregistry" not in role[0]]
    kinds = {"builds_in_cloud": missing[0] != "artifactregistry.writer"}
    (wrong,) = (each for each in found(granted(others), **kinds) if each.state != "ok")
    assert wrong.state == "?"
    assert wrong.remedy.endswith(f"--member={ME} --role=roles/{missing[0]}")


def test_whose_roles_cannot_be_read_is_one_line():
    (line,) = found({"project_roles": Answer(reason="denied")})
    assert str(line) == "?    your roles: denied"


def test_a_service_account_can_be_who_submits():
    account = "ci@my-project.iam.gserviceaccount.com"
    changes = {"account": [{"account": account, "status": "ACTIVE"}]}
    member = f"serviceAccount:{account}"
    assert {
        each.state
        for each in found({**granted(documented(), member=member), **changes})
    } == {"ok"}
    others = found({**granted(documented()), **changes})
    assert all(f"--member={member} " in each.remedy for each in others)


def test_nobody_has_no_roles():
    assert found({"account": []}) == []
