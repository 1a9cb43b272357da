"""The job file of SLURM, run as SLURM runs the tasks of an array."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from stage import artifact
from tests import documents
from tests.commands import ENVIRONMENT, ROOT, call
from tests.images import random_images, write_records

SCRIPT = ROOT / "infra" / "slurm" / "label_images.sbatch"
PYTHON = pathlib.Path(sys.executable).parent
SHARDS = 5


@documents.needs_shellcheck
def test_shellcheck_finds_nothing():
    assert documents.shellcheck(SCRIPT.read_text()) == ""


def test_there_is_a_part_for_each_task_of_the_array():
    text = SCRIPT.read_text()
    (last,) = re.findall(r"#SBATCH --array=0-(\d+)$", text, re.MULTILINE)
    (parts,) = re.findall(r"parts=\$\{PARTS:-(\d+)\}", text)
    assert int(parts) == int(last) + 1


def start(task, **variables):
    """Starts a task of an array as SLURM does, with its variables."""
    return subprocess.Popen(
        ["bash", SCRIPT],
        cwd=ROOT,
        env={
            **ENVIRONMENT,
            "PATH": f"{PYTHON}:{os.environ['PATH']}",
            "SLURM_ARRAY_TASK_ID": str(task),
            "SLURM_CPUS_PER_TASK": "1",
            **variables,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("missing", ["IMAGES", "TEACHER", "OUTPUT"])
def test_what_is_not_exported_is_named(missing):
    names = {"IMAGES": "folder:a", "TEACHER": "b", "OUTPUT": "c"}
    del names[missing]
    process = start(0, **names)
    output, _ = process.communicate()
    assert process.returncode == 1
    assert missing in output


@pytest.mark.slow
def test_two_tasks_at_once_make_the_bytes_of_one_run(exported, tmp_path):
    for shard in range(SHARDS):
        write_records(tmp_path / "in" / f"part-{shard}", random_images(3, seed=shard))
    images, teacher = f"tfrecord:{tmp_path}/in/part-*", str(exported[0])
    variables = {"IMAGES": images, "TEACHER": teacher, "PARTS": "2"}
    output = tmp_path / "out"
    tasks = [start(task, OUTPUT=str(output), **variables) for task in range(2)]
    printed = [task.communicate()[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], printed
    assert sum("shards are labeled; " in text for text in printed) <= 1
    ended = call(
        "beam_jobs.label_images",
        *(f"--images={images}", f"--teacher={teacher}", f"--output={tmp_path}/one"),
        *("--engine=tensorflow", "--dtype=float32", "--", "--direct_num_workers=1"),
    )
    assert ended.returncode == 0, ended.stderr
    assert content(output) == content(tmp_path / "one")
    assert artifact.is_complete(output)


def content(directory):
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.name != artifact.COMPLETED
    }
