"""The commands that are run, and those that are printed."""

from tests.gcloud_parser import needs_gcloud, refusals
from tests.workflow.dataflow import recorded
from workflow.dataflow import checks, queries
from workflow.dataflow.findings import Answer

JOBS = (
    recorded.job(),
    recorded.job("--accelerator=nvidia-l4", "--subnetwork=regions/r/subnetworks/s"),
    recorded.job("--use_public_ips", owns_image=False, images=recorded.IMAGES),
)
#: Words that change nothing.
READS = {"list", "describe", "get-iam-policy", "print-access-token"}
READS |= {"get-default-service-account"}


def commands():
    return {" ".join(("gcloud", *each)) for job in JOBS for each in run(job)}


def run(job):
    return {**queries.for_access(job), **queries.for_job(job)}.values()


def remedies():
    """Yields what is printed for a project that lacks all."""
    worse = {
        **{name: Answer(reason="x was not found: 404") for name in recorded.MISSING},
        "application_login": Answer(reason="none"),
        "billing": {"name": "projects/my-project/billingInfo"},
        "services": [],
        "project_roles": recorded.policy(),
        "bucket_roles": recorded.policy(),
        "repository_roles": recorded.policy(),
    }
    settings = {"softDeletePolicy": {"retentionDurationSeconds": "1"}}
    settings |= {"iamConfiguration": {}}
    bad = {
        "account_there": {"disabled": True, "email": recorded.WORKER},
        "bucket": recorded.ready()["bucket"] | settings,
        "subnet": {"name": "default"},
        "project": {"lifecycleState": "DELETE_REQUESTED"},
        "project_roles": recorded.policy(),
        "bucket_roles": recorded.policy(),
        "repository_roles": recorded.policy(),
    }
    hidden = {"project": Answer(reason="(or it may not exist)")}
    none = {"machine_types": [], "project_roles": recorded.policy()}
    none |= {"images_roles": recorded.policy()}
    for job in (JOBS[0], JOBS[2]):
        for changes in (worse, bad, hidden, none, {"account": []}, {"regions": []}):
            for finding in checks.all_of(job, recorded.ask(changes)):
                remedy = finding.remedy.partition(", and")[0]
                if remedy.startswith("gcloud "):
                    yield remedy


def test_the_check_changes_nothing():
    for job in JOBS:
        for words in run(job):
            assert READS & set(words), words


def test_the_token_is_not_printed():
    (token,) = [each for each in commands() if "print-access-token" in each]
    assert token.endswith("--format=none")


def test_each_answer_that_a_check_reads_is_asked_for():
    for job in JOBS:
        assert list(checks.all_of(job, recorded.ask()))


def test_few_commands_run_before_a_teacher_is_trained():
    for job in JOBS:
        assert len(queries.for_access(job)) == 3
        assert len(queries.for_training(job)) <= 3
        assert queries.for_training(job).items() <= queries.for_job(job).items()


@needs_gcloud
def test_gcloud_knows_every_command(tmp_path):
    printed = set(remedies())
    assert len(printed) > 15
    assert refusals(sorted(commands() | printed), tmp_path) == {}


@needs_gcloud
def test_gclouds_parser_refuses_what_is_wrong(tmp_path):
    wrong = [
        "gcloud compute regions describe x --frmat=json",
        "gcloud compute networks subnets explain x",
        "gcloud artifacts repositories create x --location=y",
    ]
    assert set(refusals(wrong, tmp_path)) == set(wrong)
