"""The commands: teachers that leave out a fold, their calibration, its use."""

import json

import pyarrow.parquet as pq
import pytest

from stage import artifact
from tests.commands import call
from tests.images import random_images, write_folder, write_records

QUICK = (
    "--set=model.width_multiplier=0.0625",
    "--set=optimizer.warmup_steps=2",
    "--set=global_batch_size=4",
    "--set=num_steps=6",
)


def succeed(*command):
    process = call(*command)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.slow
def test_teachers_leave_out_folds_are_calibrated_and_label(tmp_path):
    write_folder(tmp_path / "labeled", random_images(9), [0, 1, 2] * 3)
    write_records(tmp_path / "unlabeled", random_images(4, seed=1))
    labeled = f"folder:{tmp_path}/labeled"
    places = [f"{tmp_path}/teacher-{fold}" for fold in range(2)]
    for fold, place in enumerate(places):
        succeed(
            "teacher.train",
            *(f"--labeled={labeled}", f"--evaluation={labeled}"),
            *(f"--workdir={place}", f"--seed={fold}", "--folds=2", f"--fold={fold}"),
            *QUICK,
        )
    teachers = [f"--teacher={place}" for place in places]
    output = succeed(
        "teacher.calibrate",
        *teachers,
        f"--out_of_fold={labeled}",
        f"--output={tmp_path}/calibration",
    )
    assert " 9 images" in output
    assert artifact.is_complete(tmp_path / "calibration")
    rows = pq.read_table(tmp_path / "calibration" / "calibration.parquet")
    assert sorted(rows["fold"].to_pylist()) == [0] * 5 + [1] * 4

    label = (
        "beam_jobs.label_images",
        f"--images=tfrecord:{tmp_path}/unlabeled",
        f"--output={tmp_path}/predictions",
        "--engine=tensorflow",
        "--dtype=float32",
        f"--calibration={tmp_path}/calibration",
    )
    one_process = ("--", "--direct_num_workers=1")
    process = call(*label, *teachers[::-1], *one_process)
    assert process.returncode == 1
    assert f"{tmp_path}/calibration" in process.stderr
    succeed(*label, *teachers, *one_process)
    config = json.loads((tmp_path / "predictions" / "config.json").read_text())
    assert config["temperature"] == 1.0
