import dataclasses
import json
import math
from datetime import date

import pytest
from apache_beam.testing.load_tests import dataflow_cost_consts
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.runners.cost import PRICES, CostEstimate, Pool, describe, rate_of_worker
from beam_jobs.runners.dataflow import job_options
from beam_jobs.runners.dataflow.accelerators import ACCELERATORS
from tests.commands import ROOT

POOL = Pool(machine="n2-standard-4", workers=10, disk_gb=50)

images = st.integers(1, 10**10)
rates = st.floats(0.1, 1e5)
pools = st.builds(
    Pool,
    machine=st.sampled_from(sorted(PRICES.machines)),
    workers=st.integers(1, 4000),
    disk_gb=st.integers(10, 1000),
    disk_type=st.sampled_from(["pd-standard", "pd-ssd", "hyperdisk-balanced"]),
    accelerator=st.none() | st.sampled_from(sorted(PRICES.accelerators)),
    is_flexible=st.booleans(),
)


def test_the_table_has_a_date_and_the_prices_of_its_source():
    assert date.fromisoformat(PRICES.date) >= date(2026, 11, 1)
    assert PRICES.vcpu_hour == dataflow_cost_consts.VCPU_PER_HR_BATCH
    assert PRICES.memory_gb_hour == dataflow_cost_consts.MEM_PER_GB_HR_BATCH
    assert PRICES.disk_gb_hour == dataflow_cost_consts.PD_PER_GB_HR
    assert PRICES.ssd_gb_hour == dataflow_cost_consts.PD_SSD_PER_GB_HR
    source = {
        "nvidia-tesla-t4": dataflow_cost_consts.T4_PER_GPU_PER_HOUR,
        "nvidia-l4": dataflow_cost_consts.L4_PER_GPU_PER_HOUR,
    }
    confirmed = {
        name: row.hour for name, row in PRICES.accelerators.items() if row.confirmed
    }
    assert confirmed == source


def test_every_worker_that_can_be_asked_for_has_a_price():
    assert PRICES.machine(job_options.MACHINE_TYPE).vcpus == 4
    for name, accelerator in ACCELERATORS.items():
        assert PRICES.accelerator(name).hour > 0
        assert PRICES.machine(accelerator.machine_type).vcpus > 0


def test_an_hour_of_one_worker_costs_the_sum_of_its_resources():
    pool = dataclasses.replace(POOL, workers=1)
    found = CostEstimate(num_images=3600 * 80, images_per_second=80.0, pool=pool)
    assert found.worker_hours == found.hours == 1.0
    assert found.costs == pytest.approx(
        {"vCPUs": 4 * 0.056, "memory": 16 * 0.003557, "disks": 50 * 0.000054}
    )


@given(num_images=images, rate=rates, pool=pools, times=st.integers(2, 50))
def test_hours_and_costs_are_proportional_to_images(num_images, rate, pool, times):
    one = CostEstimate(num_images=num_images, images_per_second=rate, pool=pool)
    more = CostEstimate(
        num_images=times * num_images, images_per_second=rate, pool=pool
    )
    assert more.worker_hours == pytest.approx(times * one.worker_hours)
    assert more.hours == pytest.approx(times * one.hours)
    assert more.total == pytest.approx(times * one.total)


@given(num_images=images, rate=rates, pool=pools, times=st.integers(2, 50))
def test_more_workers_take_less_time_at_the_same_cost(num_images, rate, pool, times):
    larger = dataclasses.replace(pool, workers=times * pool.workers)
    few = CostEstimate(num_images=num_images, images_per_second=rate, pool=pool)
    many = CostEstimate(num_images=num_images, images_per_second=rate, pool=larger)
    assert many.total == few.total
    assert many.worker_hours == few.worker_hours
    assert many.hours == pytest.approx(few.hours / times)


@given(num_images=images, rate=rates, pool=pools)
def test_the_costs_make_up_the_total(num_images, rate, pool):
    found = CostEstimate(num_images=num_images, images_per_second=rate, pool=pool)
    assert all(cost >= 0 for cost in found.costs.values())
    assert found.total == pytest.approx(sum(found.costs.values()))
    assert found.worker_hours * 3600 * rate == pytest.approx(num_images)


@given(num_images=images, rate=rates, pool=pools)
def test_the_lines_hold_every_figure(num_images, rate, pool):
    found = CostEstimate(num_images=num_images, images_per_second=rate, pool=pool)
    text = "\n".join(describe(found))
    for figure in (f"{num_images:,}", f"{found.total:,.2f}", f"{found.hours:,.1f}"):
        assert figure in text
    assert PRICES.date in text
    assert PRICES.source in text
    (unconfirmed,) = (line for line in describe(found) if "NOT CONFIRMED" in line)
    assert ("FlexRS" in unconfirmed) == pool.is_flexible
    assert ("hyperdisk" in unconfirmed) == (pool.disk_type == "hyperdisk-balanced")
    assert "pd-standard" not in unconfirmed


def costs_of(pool):
    return CostEstimate(num_images=360_000, images_per_second=1.0, pool=pool).costs


def test_a_gpu_is_paid_beside_its_machine():
    l4 = Pool(machine="g2-standard-8", workers=1, disk_gb=50, accelerator="nvidia-l4")
    assert costs_of(l4) == pytest.approx(
        {
            "vCPUs": 100 * 8 * 0.056,
            "memory": 100 * 32 * 0.003557,
            "accelerators": 100 * 0.672,
            "disks": 100 * 50 * 0.000054,
        }
    )


def test_flexible_workers_have_cheaper_processors_and_memory():
    flexible = costs_of(dataclasses.replace(POOL, is_flexible=True))
    full = costs_of(POOL)
    for item, share in {"vCPUs": 0.6, "memory": 0.6, "disks": 1.0}.items():
        assert flexible[item] == pytest.approx(share * full[item])


@pytest.mark.parametrize("disk", ["pd-ssd", "hyperdisk-balanced"])
def test_other_disks_than_standard_ones_cost_as_ssd(disk):
    costs = costs_of(dataclasses.replace(POOL, disk_type=disk))
    assert costs["disks"] == pytest.approx(100 * 50 * 0.000298)


def describe_corpus(**how):
    """The lines about data that leaves the cloud, of 130 million images."""
    found = CostEstimate(num_images=130_000_000, images_per_second=80.0, pool=POOL)
    return "\n".join(describe(found, **how))


def test_data_that_leaves_the_cloud_is_named_with_its_price():
    text = describe_corpus()
    assert "predictions that leave the cloud: 15.6 GB, 1.87 USD\n" in text  # 120 bytes
    assert "110.0 GB, 13.20 USD" in text  # a million images
    assert "14,300.0 GB, 1,716.00 USD" in text  # all images


def test_blended_predictions_leave_the_cloud_twice():
    assert "before and after blending: 31.2 GB, 3.74 USD" in describe_corpus(
        blended=True
    )


@pytest.mark.parametrize("embeddings", [True, False])
def test_features_are_named_if_they_are_stored(embeddings):
    text = describe_corpus(embeddings=embeddings)
    assert ("two bytes for each stored feature" in text) == embeddings


def test_the_rate_of_a_core_counts_for_each_vcpu_that_of_an_accelerator_once():
    assert rate_of_worker(20.0, pool=POOL) == 80.0
    with_gpu = dataclasses.replace(POOL, accelerator="nvidia-l4")
    assert rate_of_worker(900.0, pool=with_gpu) == 900.0


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_is_not_positive_is_refused(rate):
    with pytest.raises(ValueError, match="images a second"):
        CostEstimate(num_images=10, images_per_second=rate, pool=POOL)


@pytest.mark.parametrize(
    "change", [{"machine": "m9-huge"}, {"accelerator": "abacus"}, {"workers": 0}]
)
def test_what_has_no_price_is_refused(change):
    pool = dataclasses.replace(POOL, **change)
    with pytest.raises(ValueError, match=str(next(iter(change.values())))):
        describe(CostEstimate(num_images=10, images_per_second=1.0, pool=pool))


def test_an_unknown_machine_is_answered_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"n2-standard-4.*m9-huge.*prices\.json"):
        PRICES.machine("m9-huge")


def test_the_table_is_valid_json_without_duplicate_keys():
    def refuse(pairs):
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names))
        return dict(pairs)

    with open(ROOT / "beam_jobs" / "runners" / "prices.json") as file:
        assert json.load(file, object_pairs_hook=refuse)["region"] == PRICES.region
