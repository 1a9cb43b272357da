"""The labeling job on a real Flink cluster, parts of which are killed."""

import ipaddress

import psutil
import pytest

from tests.infra import jobs, local_flink

pytestmark = local_flink.NEEDED


def kill_in_mid_job(find):
    """Returns a function that kills a process when some shards are labeled."""

    def disturb(process, output):
        jobs.wait_for_shards(process, output, 5)
        find().kill()
        assert jobs.count_shards(output) < jobs.NUM_SHARDS

    return disturb


def test_flink_labels_as_the_local_runner_does(cluster, labeling):
    labeling.label("flink", cluster.beam_flags)
    assert cluster.count_restarts() == 0


def test_flink_listens_on_loopback_only_while_it_labels(cluster, labeling):
    def look(process, output):
        jobs.wait_for_shards(process, output, 2)
        addresses = cluster.addresses()
        assert addresses
        assert all(ipaddress.ip_address(each).is_loopback for each in addresses)

    labeling.label("watched", cluster.beam_flags, look)


def test_flink_selects_and_writes_as_the_local_runner_does(cluster, labeling):
    labeling.select_and_write("flink", cluster.beam_flags)


@pytest.mark.parametrize("exact_images", [100_000, 10_000])
def test_flink_propagates_as_the_local_runner_does(
    cluster, compare_propagation, exact_images
):
    compare_propagation("flink", cluster.beam_flags, exact_images=exact_images)


def test_a_killed_worker_changes_nothing(cluster, labeling):
    before = cluster.count_restarts()
    victim = kill_in_mid_job(lambda: cluster.process("worker-pool").children()[0])
    labeling.label("worker-killed", cluster.beam_flags, victim)
    assert cluster.count_restarts() == before + 1


def test_a_killed_task_manager_changes_nothing_and_comes_back(cluster, labeling):
    before = cluster.count_restarts()
    victim = kill_in_mid_job(lambda: cluster.process("task-manager-1"))
    labeling.label("task-manager-killed", cluster.beam_flags, victim)
    assert cluster.count_restarts() == before + 1
    assert "flink: up, see" in cluster.do("up")
    assert "flink: up already, see" in cluster.do("up")
    assert cluster.process("task-manager-1").is_running()


def test_down_ends_all_that_is_left(tmp_path):
    cluster = local_flink.Cluster(tmp_path)
    cluster.do("up")
    names = sorted(path.stem for path in tmp_path.glob("*.pid"))
    processes = [cluster.process(name) for name in names]
    assert len(processes) == 5
    processes[0].kill()
    assert "flink: down\n" in cluster.do("down")
    _, alive = psutil.wait_procs(processes, timeout=1)
    # Ended; whoever adopts them has not looked yet.
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)
    assert "flink: down already" in cluster.do("down")
    assert not (tmp_path / "tmp").exists()
