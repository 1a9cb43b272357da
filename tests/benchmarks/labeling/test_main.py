import dataclasses
import json
import re
import sys

import pytest

from benchmarks.labeling import __main__ as benchmark
from benchmarks.labeling import bare, goals, inputs, peers, processes, runs
from benchmarks.labeling.bench import Bench
from benchmarks.labeling.goals import Machine, Verdict
from benchmarks.labeling.task import Task, Timesheet
from classifier.data import sources
from classifier.inference.ensemble import Classifier
from tests import commands, images

PLAIN = Machine(2, amx=False, avx512_bf16=False)
VECTORS = Machine(2, amx=False, avx512_bf16=True)
TILES = Machine(2, amx=True, avx512_bf16=True)


@pytest.fixture
def task(tmp_path):
    return Task(
        way=goals.OURS,
        classifier="teacher",
        records=str(tmp_path),
        jpegs=str(tmp_path),
        num_images=5,
        processes=2,
    )


@pytest.mark.parametrize("machine", [PLAIN, VECTORS, TILES])
def test_a_machine_is_known_by_its_flags(machine):
    flags = [name for name in ("amx", "avx512_bf16") if getattr(machine, name)]
    text = "processor : 0\nflags : fpu sse2 " + " ".join(flags).replace(
        "amx", "amx_tile amx_bf16"
    )
    assert goals.parse_machine(text + "\n\nprocessor : 1\n", 2) == machine


@pytest.mark.parametrize(
    ("machine", "job", "installed"),
    [(PLAIN, 1.0, 1.5), (VECTORS, 1.5, 1.5), (TILES, 3.0, 3.0)],
)
def test_more_is_asked_of_a_machine_that_can_do_more(machine, job, installed):
    found = goals.goals(inputs.RESNET, machine)
    assert found["ratio_to_float32_job"] == job
    assert found["ratio_to_stock_installed"] == installed
    assert found["ratio_to_ray_installed"] == installed
    # What no precision changes is the same everywhere.
    assert found["ratio_to_bare_loop"] == 0.95
    assert found["ratio_to_timm"] == 1.2
    assert goals.goals(inputs.FREE, machine) == {
        "ratio_to_bare_loop": 0.85,
        "ratio_to_float32_job": 1.0,
        "ratio_to_stock_equal": 1.0,
        "ratio_to_ray_equal": 1.0,
        "ratio_processes_to_threads": 1.0,
    }


def test_the_large_network_is_compared_with_everything(tmp_path):
    assert goals.ways(inputs.RESNET) == {goals.OURS, *benchmark.CASES}
    assert goals.ways(inputs.FREE) < goals.ways(inputs.RESNET)


def test_a_ratio_is_the_median_of_the_rounds_beside_the_better_split():
    speeds = {
        "ours": [90.0, 100.0, 60.0],
        "bare_processes": [100.0, 100.0, 50.0],
        "bare_threads": [95.0, 99.0, 500.0],
        "threads": [100.0, 50.0, 60.0],
    }
    found = goals.ratios(inputs.FREE, speeds, PLAIN)
    # Of the two bare loops the medians are 100 and 99.
    assert found == [
        Verdict("ratio_to_bare_loop", 1.0, 0.85),
        Verdict("ratio_processes_to_threads", 1.0, 1.0),
    ]


def test_a_verdict_says_on_which_side_of_the_goal_it_is():
    missed = Verdict("ratio_to_timm", 1.19, 1.2)
    assert missed.line().split() == ["ratio_to_timm", "1.190", ">=", "1.2", "no"]
    assert dataclasses.replace(missed, figure=1.2).line().endswith("yes")
    met = goals.at_most(goals.MEMORY, 1.04)
    assert met.line().split() == [goals.MEMORY, "1.040", "<=", "1.1", "yes"]
    assert goals.at_most(goals.START, 12.5).line().endswith("no")


def test_a_timesheet_goes_from_the_first_begin_to_the_last_end(tmp_path):
    sheet = Timesheet(str(tmp_path))
    with pytest.raises(ValueError, match="no images were labeled"):
        sheet.total()
    sheet.note_load()
    (tmp_path / "7.loads").write_text("1\n1\n")
    (tmp_path / "7.batches").write_text("[10.0, 12.0, 64]\n[12.0, 13.5, 36]\n")
    (tmp_path / "8.batches").write_text("[9.5, 13.0, 28]\n")
    assert sheet.total() == (128, 9.5, 4.0)
    assert sorted(sheet.loads()) == [1, 2]


def test_a_task_travels_as_json_and_repeats_its_files(task, tmp_path):
    assert Task.from_json(task.to_json()) == task
    for name in ("b.jpg", "a.jpg"):
        (tmp_path / name).touch()
    names = [path.rpartition("/")[2] for path in task.jpeg_files()]
    assert names == ["a.jpg", "b.jpg", "a.jpg", "b.jpg", "a.jpg"]


def test_our_default_is_the_bare_command_line(task, tmp_path):
    found = runs.label_command(task, tmp_path / "out")
    assert found[1:] == [
        *("-m", "beam_jobs.label_images"),
        f"--images=tfrecord:{tmp_path}/*.tfrecord",
        f"--output={tmp_path}/out",
        "--teacher=teacher",
    ]
    in_one = dataclasses.replace(
        task, engine="openvino", dtype="bfloat16", processes=1, threads=2
    )
    assert runs.label_command(in_one, tmp_path / "out")[-5:] == [
        "--engine=openvino",
        "--dtype=bfloat16",
        "--",
        "--direct_num_workers=1",
        "--direct_running_mode=in_memory",
    ]


def test_memory_of_processes_that_a_command_starts_is_seen():
    hold = "import time; held = b'x' * {}; time.sleep(0.6)"
    small, large = hold.format(10_000_000), hold.format(100_000_000)
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {large!r}])"
    watched = runs.watch([sys.executable, "-c", f"print(1); {start}; {small}"])
    assert watched.output == "1\n"
    assert watched.begun == 0
    assert 10 < watched.first < 100 < max(watched.others) < 150


def test_the_moment_when_labeling_begins_is_seen(tmp_path):
    begun = tmp_path / "begun"
    code = f"import time; time.sleep(0.5); open({str(begun)!r}, 'w'); time.sleep(0.5)"
    watched = runs.watch([sys.executable, "-c", code], begun.exists)
    assert watched.begun - watched.started > 0.5


def test_a_command_that_fails_is_told_of():
    with pytest.raises(RuntimeError, match="no such thing"):
        runs.watch([sys.executable, "-c", "import sys; sys.exit('no such thing')"])


def _fail_last(part, barrier, task, sheet):
    if part == task.processes - 1:
        raise SystemExit(3)
    barrier.wait()


@pytest.mark.slow
def test_no_process_waits_for_one_that_failed(task, tmp_path):
    with pytest.raises(RuntimeError, match="a process failed"):
        processes.run_together(_fail_last, task, Timesheet(str(tmp_path)))


def test_every_peer_has_its_module():
    for way in peers.PEERS:
        assert (commands.ROOT / "benchmarks" / f"labeling_{way}.py").exists()


def test_records_hold_the_images_that_are_also_files(tmp_path):
    jpegs = [b"first", b"second", b"third"]
    records = inputs.write_records(tmp_path / "records", jpegs, shards=2, size=4)
    source = sources.open_source(f"tfrecord:{records}/*.tfrecord")
    found = [
        [example.image for example in source.reader.examples(file)]
        for file in source.files
    ]
    assert found == [[*jpegs, jpegs[0]]] * 2


@pytest.mark.parametrize(
    ("num_images", "share", "shards", "size"),
    [(2000, 1, 2, 1000), (2000, 0.5, 2, 500), (300, 0.1, 2, 15), (8000, 1, 8, 1000)],
)
def test_a_share_of_the_images_is_dealt_evenly(
    num_images, share, shards, size, tmp_path, monkeypatch
):
    made = []
    monkeypatch.setattr(inputs, "write_jpegs", lambda path: [b"jpeg"])
    monkeypatch.setattr(inputs, "export_network", lambda *args: made.append(args))
    bench = Bench(tmp_path, cores=2, images=num_images)
    found = bench.task(inputs.RESNET, share)
    assert found.num_images == shards * size
    assert len(found.record_files()) == shards
    assert made == [(inputs.RESNET, tmp_path / inputs.RESNET, [b"jpeg"])]


def test_at_equal_engine_everybody_has_the_engine_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "write_jpegs", lambda path: [b"jpeg"])
    monkeypatch.setattr(inputs, "export_network", lambda *args: None)
    bench = Bench(tmp_path, cores=2, images=2000)
    tasks = bench.tasks(inputs.RESNET, ("openvino", "bfloat16"))
    assert set(tasks) == {goals.OURS, *benchmark.CASES}
    equal = {"threads", "bare_processes", "bare_threads", "stock_equal", "ray_equal"}
    engines = {name: (task.engine, task.dtype) for name, task in tasks.items()}
    assert {engines.pop(name) for name in equal} == {("openvino", "bfloat16")}
    assert engines.pop("float32_job") == ("tensorflow", "float32")
    assert engines.pop(goals.OURS) == ("openvino", "bfloat16")
    assert set(engines.values()) == {(None, None)}
    # All of them have all cores.
    every = [*tasks.values(), *bench.timm_settings(inputs.RESNET)]
    assert {task.processes * task.threads for task in every} == {2}


@pytest.mark.slow
def test_the_command_prints_every_figure():
    lines = commands.run(
        "benchmarks.labeling",
        "--networks=free",
        "--cases=bare_processes",
        "--images=100",
        "--rounds=1",
    ).splitlines()
    figures = json.loads(lines[-1])
    free = figures[inputs.FREE]
    speeds = free["images_per_second"]
    assert set(speeds) == {"ours", "bare_processes"}
    ratio = speeds["ours"] / speeds["bare_processes"]
    assert free["ratio_to_bare_loop"] == pytest.approx(ratio, rel=0.02)
    (row,) = (line for line in lines if line.startswith("ratio_to_bare_loop"))
    assert re.search(r">= 0.85 +(yes|no)$", row)
    assert free["memory_ratio_10x"] > 0.5
    assert free["start_seconds"] > 1
    assert figures["models_loaded_per_process"] == 1


def test_the_bare_loop_decodes_as_the_export_does(exported, tmp_path):
    directory, _ = exported
    classifier = Classifier(directory)
    jpegs = images.random_images(3)
    inputs.write_records(tmp_path / "records", jpegs, shards=1, size=3)
    dataset = bare.pixel_batches(
        [str(path) for path in (tmp_path / "records").iterdir()],
        classifier.image,
        parallel=1,
    )
    (pixels,) = dataset.as_numpy_iterator()
    assert pixels.tolist() == classifier.preprocess(jpegs).tolist()
