import pytest

from tests.workflow.dataflow import recorded
from workflow.dataflow import machines
from workflow.dataflow.findings import setting


def found(check, changes, *options):
    """Returns all findings by what was looked at."""
    job = recorded.job(*options)
    return {each.subject: each for each in check(job, recorded.answers(changes))}


def zones(machine, *names, vcpus=4):
    return [{"guestCpus": vcpus, "name": machine, "zone": zone} for zone in names]


@pytest.mark.parametrize(
    ("options", "metrics"),
    [
        ((), {"N2_CPUS": 40, "DISKS_TOTAL_GB": 500, "CPUS_ALL_REGIONS": 40}),
        (
            ("--flexrs_goal=COST_OPTIMIZED", "--max_num_workers=7"),
            {"N2_CPUS": 28, "PREEMPTIBLE_CPUS": 28, "DISKS_TOTAL_GB": 350},
        ),
        (
            ("--disk_type=compute.googleapis.com/projects//zones//diskTypes/pd-ssd",),
            {"SSD_TOTAL_GB": 500},
        ),
        (
            ("--accelerator=nvidia-tesla-t4", "--disk_size_gb=60"),
            {"CPUS": 40, "NVIDIA_T4_GPUS": 10, "GPUS_ALL_REGIONS": 10}
            | {"DISKS_TOTAL_GB": 600},
        ),
    ],
)
def test_a_quota_must_do_for_the_largest_number_of_workers(options, metrics):
    every = {**metrics, "INSTANCES": 10}
    for spare, state in ((0, "ok"), (-1, "FAIL")):
        limits = recorded.quotas(**{name: n + spare for name, n in every.items()})
        # Both places have all: which of them has a quota is another test's affair.
        changes = {"region": limits, "all_regions": limits}
        quotas = found(machines.quotas, changes, *options)
        for metric in metrics:
            assert quotas[f"quota {metric}"].state == state, metric


def test_the_quotas_of_all_regions_are_the_projects_own():
    """The regions do not have them."""
    none = {"all_regions": recorded.quotas(CPUS_ALL_REGIONS=12, GPUS_ALL_REGIONS=0)}
    quotas = found(machines.quotas, none, "--accelerator=nvidia-tesla-t4")
    wrong = {name for name, each in quotas.items() if each.state == "FAIL"}
    assert wrong == {"quota CPUS_ALL_REGIONS", "quota GPUS_ALL_REGIONS"}
    assert quotas["quota CPUS_ALL_REGIONS"].remedy.startswith(
        f"{setting('max_workers', 3)}, or "
    )
    assert quotas["quota GPUS_ALL_REGIONS"].remedy.startswith("ask for more on https")


def test_what_is_used_already_is_not_free():
    region = recorded.quotas(N2_CPUS=72, INSTANCES=720, DISKS_TOTAL_GB=4096)
    region["quotas"][0]["usage"] = 40.0
    quotas = found(machines.quotas, {"region": region})
    wrong = quotas["quota N2_CPUS"]
    assert (wrong.state, wrong.detail) == ("FAIL", "40 needed, 32 of 72 free")
    assert wrong.remedy.startswith(f"{setting('max_workers', 8)}, ")


def test_a_family_with_a_quota_of_its_own_may_count_in_the_general_one():
    region = recorded.quotas(CPUS=24, N2_CPUS=72)
    quotas = found(machines.quotas, {"region": region})
    assert (quotas["quota CPUS"].state, quotas["quota N2_CPUS"].state) == ("?", "ok")
    first = found(machines.quotas, {"region": region}, "--machine_type=n1-standard-4")
    assert first["quota CPUS"].state == "FAIL"
    assert "quota N1_CPUS" not in first


def test_flexible_workers_may_count_in_the_regular_quota():
    region = recorded.quotas(N2_CPUS=72, PREEMPTIBLE_CPUS=0)
    options = ("--flexrs_goal=COST_OPTIMIZED",)
    quotas = found(machines.quotas, {"region": region}, *options)
    assert quotas["quota PREEMPTIBLE_CPUS"].state == "?"


def test_a_quota_that_is_not_listed_is_not_known():
    quotas = found(machines.quotas, {}, "--machine_type=c4-standard-8")
    assert quotas["quota C4_CPUS"].state == "?"


def test_vcpus_are_those_that_google_tells_of_the_machine():
    listed = {"machine_types": zones("x4-odd-12", "us-central1-a", vcpus=12)}
    quotas = found(machines.quotas, listed, "--machine_type=x4-odd-12")
    assert quotas["quota CPUS_ALL_REGIONS"].detail.startswith("120 needed, ")
    unknown = found(machines.quotas, {"machine_types": []}, "--machine_type=x4-odd-12")
    assert unknown["quota of vCPUs"].state == "?"
    assert "quota CPUS_ALL_REGIONS" not in unknown
    assert unknown["quota DISKS_TOTAL_GB"].state == "ok"


def test_machine_and_accelerator_must_be_in_the_same_zone():
    options = ("--accelerator=nvidia-l4",)
    (both,) = found(machines.offered, {}, *options).values()
    assert (both.state, both.detail) == ("ok", "in us-central1-b")
    apart = {"machine_types": zones("g2-standard-8", "us-central1-a", "us-east4-c")}
    (wrong,) = found(machines.offered, apart, *options).values()
    assert wrong.state == "FAIL"
    assert wrong.remedy == (
        "gcloud compute machine-types list --project=my-project "
        "--filter=zone:us-central1, and name one: runner.dataflow.machine="
    )


def test_regions_that_have_the_machine_are_named():
    elsewhere = {
        "machine_types": zones("n2-standard-4", "europe-west4-a", "us-central10-a")
    }
    (wrong,) = found(machines.offered, elsewhere).values()
    assert wrong.detail == "not in us-central1; in europe-west4, us-central10"
    # One in the same part of the world comes first.
    assert wrong.remedy == (
        "runner.dataflow.region=us-central10 (make: REGION=), with a bucket there"
    )


@pytest.mark.parametrize("machine", ["custom-6-8192", "n2-custom-6-131072-ext"])
def test_machines_that_gcloud_does_not_list_are_not_missing(machine):
    option = f"--machine_type={machine}"
    none = {"machine_types": []}
    (line,) = found(machines.offered, none, option).values()
    assert line.state == "?"
    quotas = found(machines.quotas, none, option)
    assert quotas["quota CPUS_ALL_REGIONS"].detail.startswith("60 needed, ")
