"""Answers of gcloud for a project that has all, and a gcloud that plays them back.

The shapes are those of Google's APIs, which gcloud prints with --format=json; the words
of errors are gcloud's.
"""

import json
import os
import pathlib
import sys

from beam_jobs.runners.run import parse_beam_arguments
from workflow.dataflow import queries, target
from workflow.dataflow.findings import Answer

WORKER = "noisy-student-rs@my-project.iam.gserviceaccount.com"
BUILDER = "123456789012-compute@developer.gserviceaccount.com"
IMAGE = "us-central1-docker.pkg.dev/my-project/noisy-student-rs/worker-cpu:py3.11-1"
OPTIONS = (
    *("--runner=DataflowRunner", "--project=my-project", "--region=us-central1"),
    *("--temp_location=gs://my-bucket/tmp", f"--sdk_container_image={IMAGE}"),
    *(f"--service_account_email={WORKER}", "--no_use_public_ips"),
    "--max_num_workers=10",
)
#: Settings of a run file that give these options, but for the container.
SETTINGS = (
    *("output=runs/birds", "runner.name=dataflow"),
    *("runner.dataflow.project=my-project", "runner.dataflow.region=us-central1"),
    "runner.dataflow.bucket=my-bucket",
)
ZONES = "https://www.googleapis.com/compute/v1/projects/my-project/zones"
REGIONS = ("europe-west1", "europe-west4", "us-central1", "us-east4")
#: In a bucket of another project.
IMAGES = "tfrecord:gs://their-images/birds/*.tfrecord"
SERVICES = (
    *("artifactregistry", "cloudbuild", "cloudresourcemanager", "compute", "dataflow"),
    *("iam", "logging", "storage"),
)
DENIED = (
    "ERROR: (gcloud.x) PERMISSION_DENIED: Permission 'x.get' denied on resource "
    "'//x.googleapis.com/x' (or it may not exist). This command is authenticated as "
    "me@example.com."
)
EXPIRED = (
    "ERROR: (gcloud.x) There was a problem refreshing your current auth tokens: "
    "Reauthentication failed. cannot prompt during non-interactive execution.\n"
    "Please run:\n\n  $ gcloud auth login\n"
)
#: What gcloud says of things that are not there.
MISSING = {
    "bucket": "ERROR: (gcloud.storage.buckets.describe) gs://my-bucket not found: 404.",
    "account_there": (
        "ERROR: (gcloud.iam.service-accounts.describe) NOT_FOUND: Unknown service "
        "account. This command is authenticated as me@example.com."
    ),
    "subnet": (
        "ERROR: (gcloud.compute.networks.subnets.describe) Could not fetch resource:\n"
        " - The resource 'projects/my-project/regions/us-central1/subnetworks/default'"
        " was not found\n"
    ),
    "repository": (
        "ERROR: (gcloud.artifacts.repositories.describe) NOT_FOUND: Requested entity "
        "was not found."
    ),
    "image": "ERROR: (gcloud.artifacts.docker.images.describe) Image not found.\n",
}


def policy(**members):
    """Returns an IAM policy; `dataflow_worker` stands for roles/dataflow.worker."""
    bindings = [
        {"members": names, "role": f"roles/{role.replace('_', '.')}"}
        for role, names in members.items()
    ]
    return {"bindings": bindings, "etag": "BwYXJ0IGE=", "version": 1}


def quotas(**limits):
    return {
        "quotas": [
            {"limit": float(limit), "metric": metric, "usage": 0.0}
            for metric, limit in limits.items()
        ]
    }


def job(*options, images="", owns_image=True, builds_in_cloud=True):
    """Returns the target of a job with some further options of Beam."""
    parsed = parse_beam_arguments(["check", *OPTIONS, *options], name="check")
    return target.from_options(
        parsed, images=images, owns_image=owns_image, builds_in_cloud=builds_in_cloud
    )


def ready():
    """Returns the JSON of each query for a project that has all."""
    worker, builder = f"serviceAccount:{WORKER}", f"serviceAccount:{BUILDER}"
    return {
        "account": [{"account": "me@example.com", "status": "ACTIVE"}],
        "application_login": "",
        "regions": [{"name": name} for name in REGIONS],
        "project": {
            "lifecycleState": "ACTIVE",
            "projectId": "my-project",
            "projectNumber": "123456789012",
        },
        "billing": {
            "billingAccountName": "billingAccounts/0X0X0X-0X0X0X-0X0X0X",
            "billingEnabled": True,
            "name": "projects/my-project/billingInfo",
            "projectId": "my-project",
        },
        "services": [
            {"config": {"name": f"{name}.googleapis.com"}} for name in SERVICES
        ],
        "bucket": {
            "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
            "kind": "storage#bucket",
            "location": "US-CENTRAL1",
            "locationType": "region",
            "name": "my-bucket",
            "projectNumber": "123456789012",
            "softDeletePolicy": {"retentionDurationSeconds": "0"},
        },
        "images_bucket": {
            "location": "US-CENTRAL1",
            "locationType": "region",
            "name": "their-images",
            "projectNumber": "210987654321",
        },
        "images_roles": policy(storage_objectViewer=[worker, "user:me@example.com"]),
        "account_there": {"email": WORKER, "projectId": "my-project"},
        "project_roles": policy(
            owner=["user:me@example.com"],
            dataflow_worker=[worker],
            cloudbuild_builds_builder=[builder],
        ),
        "bucket_roles": policy(storage_objectAdmin=[worker]),
        "account_roles": {"etag": "ACAB"},
        "subnet": {"name": "default", "privateIpGoogleAccess": True},
        "region": quotas(
            CPUS=72,
            N2_CPUS=72,
            PREEMPTIBLE_CPUS=72,
            INSTANCES=720,
            DISKS_TOTAL_GB=4096,
            SSD_TOTAL_GB=500,
            NVIDIA_L4_GPUS=10,
            NVIDIA_T4_GPUS=16,
        ),
        "all_regions": quotas(CPUS_ALL_REGIONS=64, GPUS_ALL_REGIONS=10),
        "machine_types": [
            {"guestCpus": 4, "name": "n2-standard-4", "zone": f"us-central1-{zone}"}
            for zone in "ab"
        ],
        "accelerator_types": [
            {"name": "nvidia-l4", "zone": f"{ZONES}/us-central1-{zone}"}
            for zone in "bc"
        ],
        "image": {"image_summary": {"fully_qualified_digest": f"{IMAGE}@sha256:00"}},
        "repository": {"format": "DOCKER", "mode": "STANDARD_REPOSITORY"},
        "repository_roles": policy(artifactregistry_reader=[worker]),
        "builder": {
            "name": "projects/123456789012/locations/global/defaultServiceAccount",
            "serviceAccountEmail": f"projects/123456789012/serviceAccounts/{BUILDER}",
        },
    }


def ask(changes=None):
    """Returns what answers queries as `answers` would."""
    given = answers(changes)
    return lambda asked: {name: given[name] for name in asked}


def answers(changes=None):
    """Returns the answers for a project that has all but for some changes."""
    return {
        name: value if isinstance(value, Answer) else Answer(value)
        for name, value in {**ready(), **(changes or {})}.items()
    }


#: Plays back: a file has what is printed, by the words of the command.
_PLAYER = """#!{python} -IS
import json, pathlib, sys
words = " ".join(sys.argv[1:])
with open({calls!r}, "a") as calls:
    calls.write(words + "\\n")
tape = json.loads(pathlib.Path({tape!r}).read_text())
if words not in tape:
    sys.exit("ERROR: (gcloud) not recorded: " + words)
output, errors, status = tape[words]
sys.stdout.write(output)
sys.stderr.write(errors)
sys.exit(status)
"""


class Gcloud:
    """A gcloud on a PATH of its own, which answers what was recorded."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.program = folder / "gcloud"
        self._calls = folder / "calls"
        self._tape = folder / "tape.json"
        self.program.write_text(
            _PLAYER.format(
                python=sys.executable, calls=str(self._calls), tape=str(self._tape)
            )
        )
        self.program.chmod(0o755)

    @property
    def environment(self):
        return {**os.environ, "PATH": f"{self.folder}:/usr/bin:/bin"}

    @property
    def calls(self):
        return self._calls.read_text().splitlines()

    def record(self, job, *, errors=None, **changes):
        """Records what a project that has all answers, but for some answers.

        `errors` are what gcloud says when a query fails, by the name of the query.
        """
        values = {**ready(), **changes}
        assert values.keys() == ready().keys(), "no such query"
        tape = {}
        asked = {**queries.for_access(job), **queries.for_job(job)}
        for name, words in asked.items():
            error = (errors or {}).get(name, "")
            value = values[name]
            output = "" if error or value == "" else json.dumps(value)
            tape[" ".join(words)] = [output, error, int(bool(error))]
        self._tape.write_text(json.dumps(tape))
