"""The command; what it writes is tested in test_portable."""

import keras
import pytest

from tests.commands import run, start


def test_it_says_how_near_the_file_is(exported, tmp_path):
    output = run(
        "classifier.export_model",
        f"--classifier={exported[0]}",
        f"--output={tmp_path}/student.keras",
    )
    assert output.startswith(
        f"{tmp_path}/student.keras: on 16 of 16 images the same top class, logits up to"
    )
    assert keras.saving.load_model(tmp_path / "student.keras").output_shape == (None, 3)


@pytest.mark.slow
def test_it_refuses_in_one_line(exported, tmp_path):
    (tmp_path / "there").mkdir()
    for flags, message in (
        ([f"--output={tmp_path}/there"], "is already there"),
        ([f"--output={tmp_path}/a.tflite"], "expected a name that ends in"),
        ([f"--output={tmp_path}/a.onnx", "now"], "expected flags only, got 'now'"),
        (
            [f"--output={tmp_path}/a.onnx", f"--classifier={tmp_path}"],
            "is not complete",
        ),
    ):
        process = start(
            "classifier.export_model", f"--classifier={exported[0]}", *flags
        )
        output, _ = process.communicate()
        assert process.returncode == 1
        assert message in output
        assert len(output.splitlines()) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["there"]
