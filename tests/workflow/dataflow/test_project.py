import pytest

from tests.workflow.dataflow import recorded
from workflow.dataflow import project
from workflow.dataflow.findings import Answer, setting

READY = recorded.ready()


def found(check, changes, *options, **kinds):
    """Returns the findings of a check that are not ok."""
    job = recorded.job(*options, **kinds)
    findings = list(check(job, recorded.answers(changes)))
    return [finding for finding in findings if finding.state != "ok"]


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({"account": []}, "gcloud auth login"),
        ({"region": Answer(reason=recorded.EXPIRED)}, "gcloud auth login"),
        (
            {"application_login": Answer(reason="credentials were not found")},
            "gcloud auth application-default login",
        ),
    ],
)
def test_a_login_that_is_missing_or_old_is_named(changes, command):
    (wrong,) = [
        each for each in project.login(recorded.answers(changes)) if each.state != "ok"
    ]
    assert (wrong.state, wrong.remedy) == ("FAIL", command)


def test_a_project_that_is_not_there_or_deleted_is_named():
    words = "does not have permission to access projects instance (or it may not exist)"
    (wrong,) = found(project.project, {"project": Answer(reason=words)})
    assert (wrong.state, wrong.remedy) == ("FAIL", "gcloud projects list")
    deleted = {"project": {"lifecycleState": "DELETE_REQUESTED"}}
    (wrong,) = found(project.project, deleted)
    assert wrong.remedy == "gcloud projects undelete my-project"


def test_a_project_without_billing_is_named():
    off = {"billing": {"name": "projects/my-project/billingInfo"}}
    (wrong,) = found(project.project, off)
    assert wrong.state == "FAIL"
    assert wrong.remedy.startswith("gcloud billing projects link my-project ")


def test_services_that_are_off_are_switched_on_by_one_command():
    some = {"services": READY["services"][:5]}
    (wrong,) = found(project.services, some)
    assert wrong.remedy == (
        "gcloud services enable storage.googleapis.com logging.googleapis.com "
        "iam.googleapis.com --project=my-project"
    )


def test_containers_of_others_need_no_registry_and_no_builder():
    own = {
        "services": [
            service
            for service in READY["services"]
            if service["config"]["name"].partition(".")[0]
            not in ("artifactregistry", "cloudbuild")
        ]
    }
    assert found(project.services, own)
    assert not found(project.services, own, owns_image=False)


@pytest.mark.parametrize(
    ("changes", "state", "remedy"),
    [
        ({"location": "EUROPE-WEST4"}, "FAIL", setting("region", "europe-west4")),
        (
            {"location": "US", "locationType": "multi-region"},
            "FAIL",
            "runner.dataflow.bucket= (make: BUCKET=) one in the region",
        ),
        (
            {"softDeletePolicy": {"retentionDurationSeconds": "604800"}},
            "cost",
            "gcloud storage buckets update gs://my-bucket --clear-soft-delete",
        ),
        (
            {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": False}}},
            "?",
            "gcloud storage buckets update gs://my-bucket "
            "--uniform-bucket-level-access",
        ),
    ],
)
def test_a_bucket_elsewhere_or_with_other_settings_is_named(changes, state, remedy):
    (wrong,) = found(project.bucket, {"bucket": READY["bucket"] | changes})
    assert (wrong.state, wrong.remedy) == (state, remedy)


def test_a_bucket_in_two_regions_of_which_one_is_right_is_ok():
    dual = {
        "location": "US",
        "locationType": "dual-region",
        "customPlacementConfig": {"dataLocations": ["US-CENTRAL1", "US-EAST1"]},
    }
    assert not found(project.bucket, {"bucket": READY["bucket"] | dual})


def test_a_bucket_that_is_not_there_is_made_by_the_documentations_command():
    missing = Answer(reason="gs://my-bucket not found: 404.")
    (wrong,) = found(project.bucket, {"bucket": missing})
    assert wrong.state == "FAIL"
    assert wrong.remedy == (
        "gcloud storage buckets create gs://my-bucket --project=my-project "
        "--location=us-central1 --uniform-bucket-level-access --soft-delete-duration=0"
    )


def test_a_region_that_there_is_not_is_named():
    regions = {"regions": [{"name": "asia-east1"}]}
    wrong = project.region(recorded.job(), recorded.answers(regions))
    assert (wrong.state, wrong.detail) == ("FAIL", "no us-central1")
    assert wrong.remedy.endswith(f"and name one: {setting('region')}")


class TestImagesBucket:
    def test_it_is_looked_at_if_it_is_another_one(self):
        missing = {"images_bucket": Answer(reason="gs://their-images not found: 404.")}
        (wrong,) = found(project.images_bucket, missing, images=recorded.IMAGES)
        assert (wrong.state, wrong.detail) == ("FAIL", "no gs://their-images")
        assert wrong.remedy.startswith("data.unlabeled= (make: IMAGES=) ")
        for images in ("", "folder:here", "folder:gs://my-bucket/birds"):
            assert not list(
                project.images_bucket(recorded.job(images=images), recorded.answers())
            )

    @pytest.mark.parametrize(
        ("location", "kind", "remedy"),
        [
            (
                "EUROPE-WEST4",
                "region",
                f"{setting('region', 'europe-west4')}, with {setting('bucket')} there",
            ),
            ("EU", "multi-region", ""),
        ],
    )
    def test_one_elsewhere_is_read_for_money(self, location, kind, remedy):
        there = {"images_bucket": {"location": location, "locationType": kind}}
        (wrong,) = found(project.images_bucket, there, images=recorded.IMAGES)
        assert (wrong.state, wrong.remedy) == ("cost", remedy)


def test_a_subnet_without_private_access_is_named():
    (wrong,) = found(project.network, {"subnet": {"name": "default"}})
    assert wrong.remedy == (
        "gcloud compute networks subnets update default --region=us-central1 "
        "--project=my-project --enable-private-ip-google-access"
    )


@pytest.mark.parametrize(
    "given",
    [
        "regions/us-central1/subnetworks/mine",
        "https://www.googleapis.com/compute/v1/projects/host/regions/us-central1"
        "/subnetworks/mine",
    ],
)
def test_the_subnet_that_is_looked_at_is_the_jobs(given):
    (wrong,) = found(
        project.network, {"subnet": Answer(reason="not found")}, f"--subnetwork={given}"
    )
    owner = "host" if "host" in given else "my-project"
    assert f"gcloud compute networks subnets list --project={owner}" in wrong.remedy
    assert "mine" in wrong.detail


def test_workers_with_public_addresses_need_no_private_access(monkeypatch):
    (wrong,) = found(project.network, {"subnet": {}}, "--use_public_ips")
    assert wrong.state == "cost"
    # Which they have if nothing is said.
    others = [flag for flag in recorded.OPTIONS if "public_ips" not in flag]
    monkeypatch.setattr(recorded, "OPTIONS", others)
    (wrong,) = found(project.network, {"subnet": {}})
    assert wrong.state == "cost"
