import json
import shutil

import pyarrow.parquet as pq

from classifier.data.inspection import inspect
from classifier.data.sources import open_source
from stage import artifact
from tests.commands import call
from tests.images import random_images, write_folder
from tests.json_files import read_json


def test_an_ensemble_is_evaluated_once(exported, exported_second, tmp_path):
    write_folder(tmp_path / "labeled", random_images(6), [0, 1, 2] * 2)
    command = (
        "teacher.evaluate",
        *(f"--teacher={exported[0]}", f"--teacher={exported_second[0]}"),
        f"--evaluation=folder:{tmp_path}/labeled",
        f"--output={tmp_path}/evaluation",
    )
    process = call(*command)
    assert process.returncode == 0, process.stderr
    figures = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert f"{figures['num_correct']} of 6 images" in process.stdout
    rows = pq.read_table(tmp_path / "evaluation" / "evaluation.parquet")
    assert rows.num_rows == figures["num_examples"] == 6
    config = read_json(tmp_path / "evaluation" / artifact.CONFIG)
    assert len(config["teachers"]) == 2
    assert artifact.is_complete(tmp_path / "evaluation")
    assert "already complete" in call(*command).stdout


def test_images_that_a_teacher_was_trained_on_are_named(exported, tmp_path):
    write_folder(tmp_path / "labeled", random_images(6), [0, 1, 2] * 2)
    source = inspect(open_source(f"folder:{tmp_path}/labeled"))
    shutil.copytree(exported[0], tmp_path / "teacher")
    config = {"labeled": source.describe()}
    (tmp_path / "teacher" / artifact.CONFIG).write_text(json.dumps(config))
    for teacher, is_named in ((exported[0], False), (tmp_path / "teacher", True)):
        process = call(
            "teacher.evaluate",
            f"--teacher={teacher}",
            f"--evaluation=folder:{tmp_path}/labeled",
            f"--output={tmp_path}/evaluation-{is_named}",
        )
        assert process.returncode == 0, process.stderr
        assert (f"warning: {teacher} was trained" in process.stdout) == is_named


def test_images_of_other_classes_are_refused(exported, tmp_path):
    write_folder(tmp_path / "labeled", random_images(2), [0, 1])
    process = call(
        "teacher.evaluate",
        f"--teacher={exported[0]}",
        f"--evaluation=folder:{tmp_path}/labeled",
        f"--output={tmp_path}/evaluation",
    )
    assert process.returncode == 1
    assert f"folder:{tmp_path}/labeled" in process.stderr
    assert not (tmp_path / "evaluation").exists()
