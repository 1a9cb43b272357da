"""The command; the files it writes are tested in test_conversion."""

import keras

from tests.commands import call


def test_it_prints_how_close_the_logits_of_the_file_are(exported, tmp_path):
    process = call(
        "classifier.export_model",
        f"--classifier={exported[0]}",
        f"--output={tmp_path}/student.keras",
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f"{tmp_path}/student.keras: ")
    assert "16 of 16 images" in process.stdout
    assert process.stdout.splitlines()[1] == (
        "in: `pixels` uint8 [B,32,32,3], 0 to 255, not divided or normalized; "
        "out: `logits` float32 [B,3] of a, b, c"
    )
    assert keras.saving.load_model(tmp_path / "student.keras").output_shape == (None, 3)


def test_bad_arguments_are_one_line(exported, tmp_path):
    (tmp_path / "there").mkdir()
    for flags, message in (
        ([f"--output={tmp_path}/there"], f"{tmp_path}/there"),
        ([f"--output={tmp_path}/a.h5"], ".h5"),
        ([f"--output={tmp_path}/a.onnx", "now"], "'now'"),
        (
            [f"--output={tmp_path}/a.onnx", f"--classifier={tmp_path}"],
            "COMPLETED",
        ),
    ):
        process = call("classifier.export_model", f"--classifier={exported[0]}", *flags)
        assert process.returncode == 1
        assert not process.stdout
        (line,) = process.stderr.splitlines()
        assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
