"""The command; its measurements are tested in test_comparison."""

import json
import shutil

import pyarrow.parquet as pq

from classifier.data.inspection import inspect
from classifier.data.sources import open_source
from stage import artifact
from tests.commands import call
from tests.images import random_images, write_folder
from tests.student.evaluation.test_comparison import SHARDS, write_dataset


def test_a_student_is_evaluated_beside_pseudo_labels_and_teacher(
    exported, exported_second, tmp_path
):
    write_folder(tmp_path / "labeled", random_images(6), [0, 1, 2] * 2)
    write_dataset(tmp_path / "dataset", SHARDS)
    process = call(
        "student.evaluate",
        f"--student={exported[0]}",
        f"--evaluation=folder:{tmp_path}/labeled",
        f"--pseudo_labeled={tmp_path}/dataset",
        f"--teacher={exported_second[0]}",
        f"--output={tmp_path}/evaluation",
    )
    figures = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert process.returncode == 0, process.stderr
    assert "warning" not in process.stdout
    lines = process.stdout.splitlines()
    assert f"{figures['num_correct']} of 6 images" in lines[0]
    assert f"{figures['fit']['agreement']:.2%}" in lines[1]
    assert f"{figures['teacher']['only_student_right']} images" in lines[2]
    rows = pq.read_table(tmp_path / "evaluation" / "evaluation.parquet")
    assert rows.num_rows == figures["num_examples"] == 6
    assert (tmp_path / "evaluation" / "COMPLETED").exists()


def test_images_that_a_student_was_trained_on_are_named(exported, tmp_path):
    write_folder(tmp_path / "labeled", random_images(6), [0, 1, 2] * 2)
    source = inspect(open_source(f"folder:{tmp_path}/labeled"))
    student = shutil.copytree(exported[0], tmp_path / "student")
    config = {"labeled": source.describe()}
    (student / artifact.CONFIG).write_text(json.dumps(config))
    process = call(
        "student.evaluate",
        f"--student={student}",
        f"--evaluation=folder:{tmp_path}/labeled",
        f"--output={tmp_path}/evaluation",
    )
    assert process.returncode == 0, process.stderr
    assert f"warning: {student} was trained" in process.stdout
