"""Login, project, services, bucket and network: is everything there and set right?"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from workflow.dataflow.findings import Answers, Finding, setting, unseen
from workflow.dataflow.target import Target

#: Those that every job needs.
SERVICES = ("dataflow", "compute", "storage", "logging", "iam", "cloudresourcemanager")


def login(answers: Answers) -> Iterator[Finding]:
    """Looks for gcloud's login, and for the one that Beam uses."""
    accounts, command = answers["account"], "gcloud auth login"
    if accounts.reason:
        yield unseen("login", accounts)
    elif not accounts.value:
        yield Finding("FAIL", "login", "gcloud has none", command)
    elif any(answer.is_expired for answer in answers.values()):
        detail = f"that of {accounts.value[0]['account']} has expired"
        yield Finding("FAIL", "login", detail, command)
    else:
        yield Finding("ok", "login", accounts.value[0]["account"])
    found = answers["application_login"]
    subject = "login for Beam"
    if found.is_late:
        yield unseen(subject, found)
    elif found.reason:
        command = "gcloud auth application-default login"
        yield Finding("FAIL", subject, found.reason, command)
    else:
        yield Finding("ok", subject, "application-default credentials")


def region(target: Target, answers: Answers) -> Finding:
    """Looks whether there is such a region."""
    found, name = answers["regions"], target.region
    if found.reason:
        return unseen("region", found)
    names = [each["name"] for each in found.value]
    if name in names:
        return Finding("ok", "region", name)
    command = f"gcloud compute regions list --project={target.project}"
    similar = difflib.get_close_matches(name, names, n=1)
    hint = f", did you mean {similar[0]}?" if similar else ""
    remedy = f"{command}, and name one: {setting('region')}"
    return Finding("FAIL", "region", f"no {name}{hint}", remedy)


def project(target: Target, answers: Answers) -> Iterator[Finding]:
    """Looks whether there is a project, and whether it may cost something."""
    found, name = answers["project"], target.project
    if found.is_missing or "may not exist" in found.reason:
        # gcloud does not tell whether it may not be seen or is not there.
        yield Finding("FAIL", "project", found.reason, "gcloud projects list")
    elif found.reason:
        yield unseen("project", found)
    elif (state := found.value["lifecycleState"]) != "ACTIVE":
        command = f"gcloud projects undelete {name}"
        yield Finding("FAIL", "project", f"{name} is {state}", command)
    else:
        yield Finding("ok", "project", name)
    billing = answers["billing"]
    if billing.reason:
        yield unseen("billing", billing)
    elif billing.value.get("billingEnabled"):
        yield Finding("ok", "billing", billing.value.get("billingAccountName", "on"))
    else:
        command = f"gcloud billing projects link {name} --billing-account=ACCOUNT_ID"
        yield Finding("FAIL", "billing", "off", command)


def services(target: Target, answers: Answers) -> Iterator[Finding]:
    """Looks whether the services are switched on."""
    found = answers["services"]
    if found.reason:
        yield unseen("services", found)
        return
    names = [
        *SERVICES,
        *(["artifactregistry"] if target.image else []),
        *(["cloudbuild"] if target.builds_in_cloud else []),
    ]
    enabled = {service["config"]["name"] for service in found.value}
    needed = [f"{name}.googleapis.com" for name in names]
    missing = [name for name in needed if name not in enabled]
    if missing:
        listed = " ".join(missing)
        command = f"gcloud services enable {listed} --project={target.project}"
        yield Finding("FAIL", "services", f"{len(missing)} are off", command)
    else:
        yield Finding("ok", "services", f"all {len(needed)} are on")


def bucket(target: Target, answers: Answers) -> Iterator[Finding]:
    """Looks whether the bucket is there, near the workers, and has no surprises."""
    found, url = answers["bucket"], target.url
    if found.is_missing:
        command = (
            f"gcloud storage buckets create {url} --project={target.project} "
            f"--location={target.region} --uniform-bucket-level-access "
            "--soft-delete-duration=0"
        )
        yield Finding("FAIL", "bucket", f"no {url}", command)
    elif found.reason:
        yield unseen("bucket", found)
    else:
        yield _location(target, found.value)
        yield from _settings(url, found.value)


def images_bucket(target: Target, answers: Answers) -> Iterator[Finding]:
    """Looks whether the images' bucket is there, if it is another one, and near."""
    if target.images_bucket is None:
        return
    found, url, subject = answers["images_bucket"], target.images_url, "images' bucket"
    if found.is_missing:
        remedy = "data.unlabeled= (make: IMAGES=) in one that is there"
        yield Finding("FAIL", subject, f"no {url}", remedy)
    elif found.reason:
        yield unseen(subject, found)
    elif target.region in _locations(found.value):
        yield Finding("ok", subject, f"{url} is in {target.region}")
    else:
        location = found.value["location"].lower()
        detail = f"{url} is in {location}, and to read it elsewhere is billed"
        is_region = found.value.get("locationType") == "region"
        near = f"{setting('region', location)}, with {setting('bucket')} there"
        remedy = near if is_region else ""
        yield Finding("cost", subject, detail, remedy)


def _locations(described: dict[str, Any]) -> set[str]:
    """Returns where a bucket is: a region, several, or a larger area."""
    placement = described.get("customPlacementConfig", {}).get("dataLocations", [])
    return {name.lower() for name in (described["location"], *placement)}


def _location(target: Target, described: dict[str, Any]) -> Finding:
    location = described["location"].lower()
    if target.region in _locations(described):
        return Finding("ok", "bucket", f"{target.url} is in {location}")
    detail = f"{target.url} is in {location}, the workers would be in {target.region}"
    is_region = described.get("locationType") == "region"
    elsewhere = f"{setting('bucket')} one in the region"
    remedy = setting("region", location) if is_region else elsewhere
    return Finding("FAIL", "bucket", detail, remedy)


def _settings(url: str, described: dict[str, Any]) -> Iterator[Finding]:
    update = f"gcloud storage buckets update {url}"
    deleted = described.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0)
    subject = "bucket's soft deletion"
    if int(deleted):
        detail = f"deleted files are billed for {int(deleted) / 86_400:g} days more"
        yield Finding("cost", subject, detail, f"{update} --clear-soft-delete")
    else:
        yield Finding("ok", subject, "off")
    access = described.get("iamConfiguration", {}).get("uniformBucketLevelAccess", {})
    subject = "bucket's access"
    if access.get("enabled"):
        yield Finding("ok", subject, "by roles alone")
    else:
        command = f"{update} --uniform-bucket-level-access"
        detail = "files may have lists of their own, which were not looked at"
        yield Finding("?", subject, detail, command)


def network(target: Target, answers: Answers) -> Iterator[Finding]:
    """Looks whether workers without public addresses can reach Google's services."""
    subnet = target.subnet
    if subnet is None:
        yield Finding("cost", "network", "workers have public addresses")
        return
    found = answers["subnet"]
    if found.is_missing:
        command = f"gcloud compute networks subnets list --project={subnet.project}"
        remedy = f"{command}, and name one: --subnetwork= in runner.dataflow.options"
        detail = f"no subnet {subnet.name} in {subnet.region}"
        yield Finding("FAIL", "network", detail, remedy)
    elif found.reason:
        yield unseen("network", found)
    elif found.value.get("privateIpGoogleAccess"):
        detail = f"subnet {subnet.name} has Private Google Access"
        yield Finding("ok", "network", detail)
    else:
        command = (
            f"gcloud compute networks subnets update {subnet.name} "
            f"--region={subnet.region} --project={subnet.project} "
            "--enable-private-ip-google-access"
        )
        detail = f"subnet {subnet.name} has no Private Google Access"
        yield Finding("FAIL", "network", detail, command)
