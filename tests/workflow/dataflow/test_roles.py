import pytest

from tests.workflow.dataflow import recorded
from workflow.dataflow.findings import Answer
from workflow.dataflow.roles import roles

WORKER = f"serviceAccount:{recorded.WORKER}"
BUILDER = f"serviceAccount:{recorded.BUILDER}"
ME = "user:me@example.com"


def found(changes, **kinds):
    """Returns the findings that are not ok."""
    findings = roles(recorded.job(**kinds), recorded.answers(changes))
    return [finding for finding in findings if finding.state != "ok"]


def project_roles(**changes):
    """Returns the project's policy with others of its roles."""
    ready = {
        "owner": [ME],
        "dataflow_worker": [WORKER],
        "cloudbuild_builds_builder": [BUILDER],
    }
    return {"project_roles": recorded.policy(**(ready | changes))}


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        (
            project_roles(dataflow_worker=[]),
            "gcloud projects add-iam-policy-binding my-project --condition=None "
            f"--member={WORKER} --role=roles/dataflow.worker",
        ),
        (
            {"bucket_roles": recorded.policy()},
            "gcloud storage buckets add-iam-policy-binding gs://my-bucket "
            f"--member={WORKER} --role=roles/storage.objectAdmin",
        ),
        (
            {"repository_roles": recorded.policy(artifactregistry_reader=[ME])},
            "gcloud artifacts repositories add-iam-policy-binding noisy-student-rs "
            "--location=us-central1 --project=my-project "
            f"--member={WORKER} --role=roles/artifactregistry.reader",
        ),
        (
            project_roles(cloudbuild_builds_builder=[]),
            "gcloud projects add-iam-policy-binding my-project --condition=None "
            f"--member={BUILDER} --role=roles/cloudbuild.builds.builder",
        ),
    ],
)
def test_a_role_that_is_missing_is_granted_by_the_command(changes, command):
    (wrong,) = found(changes)
    assert (wrong.state, wrong.remedy) == ("FAIL", command)


def test_an_account_that_is_not_there_is_made_and_its_roles_are_not_looked_for():
    missing = Answer(reason="NOT_FOUND: Unknown service account")
    (wrong,) = found({"account_there": missing, "bucket_roles": recorded.policy()})
    assert wrong.remedy == (
        "gcloud iam service-accounts create noisy-student-rs --project=my-project"
    )


def test_an_account_that_is_disabled_is_named():
    (wrong,) = found({"account_there": {"disabled": True}})
    assert wrong.remedy == (
        f"gcloud iam service-accounts enable {recorded.WORKER} --project=my-project"
    )


def test_a_role_on_the_project_counts_for_what_is_in_it():
    everywhere = project_roles(
        storage_objectAdmin=[WORKER], artifactregistry_reader=[WORKER]
    )
    empty = {"bucket_roles": recorded.policy(), "repository_roles": recorded.policy()}
    assert not found({**everywhere, **empty})


@pytest.mark.parametrize(
    "members",
    [
        {"dataflow_worker": ["group:workers@example.com"]},
        {"dataflow_worker": [], "editor": [WORKER]},
    ],
)
def test_what_a_group_or_a_wide_role_may_give_is_not_known(members):
    (wrong,) = found(project_roles(**members))
    assert (wrong.state, wrong.remedy) == ("?", "")


def test_cloud_build_needs_no_role_if_docker_builds_or_others_have_built():
    for kinds in ({"builds_in_cloud": False}, {"owns_image": False}):
        assert not found(project_roles(cloudbuild_builds_builder=[]), **kinds)


class TestImagesBucket:
    """The bucket of the images, if it is another one."""

    def test_workers_must_be_able_to_read_it(self):
        none = {"images_roles": recorded.policy(storage_objectViewer=[ME])}
        (wrong,) = found(none, images=recorded.IMAGES)
        assert (wrong.state, wrong.remedy) == (
            "FAIL",
            "gcloud storage buckets add-iam-policy-binding gs://their-images "
            f"--member={WORKER} --role=roles/storage.objectViewer",
        )
        assert not found(none)
        assert not found(none, images="tfrecord:gs://my-bucket/images/*")

    @pytest.mark.parametrize("everybody", ["allUsers", "allAuthenticatedUsers"])
    def test_what_everybody_may_read_workers_may(self, everybody):
        public = {"images_roles": recorded.policy(storage_objectViewer=[everybody])}
        assert not found(public, images=recorded.IMAGES)

    def test_roles_on_the_project_count_if_it_is_the_projects(self):
        changes = project_roles(storage_objectViewer=[WORKER])
        changes["images_roles"] = recorded.policy(storage_objectViewer=[ME])
        (wrong,) = found(changes, images=recorded.IMAGES)
        assert wrong.state == "FAIL"
        changes["images_bucket"] = {"projectNumber": 123456789012}
        assert not found(changes, images=recorded.IMAGES)

    def test_one_that_is_not_there_gives_no_roles(self):
        changes = {
            "images_bucket": Answer(reason="gs://their-images not found: 404."),
            "images_roles": Answer(reason="gs://their-images not found: 404."),
        }
        assert not found(changes, images=recorded.IMAGES)
