import json

from stage import artifact
from tests.commands import call
from tests.held_tracker import hold_tracker
from tests.images import random_images, write_folder


def fix(student, root, *flags):
    if not (root / "labeled").exists():
        write_folder(root / "labeled", random_images(6), [0, 1, 2] * 2)
    return call(
        "student.fix_resolution",
        f"--student={student}",
        *(f"--labeled=folder:{root}/labeled", f"--evaluation=folder:{root}/labeled"),
        f"--workdir={root}/large",
        *flags,
    )


def test_the_student_is_trained_on_at_a_higher_resolution(
    exported, config, trained, tmp_path
):
    process = fix(exported[0], tmp_path, "--set=num_steps=9")
    assert process.returncode == 0, process.stderr
    ((run, _, context),) = trained
    assert run.config.image.size == config.image.size * 5 // 4
    assert run.config.num_steps == 9
    assert run.config.model.name == config.model.name
    written = json.loads((tmp_path / "large" / artifact.CONFIG).read_text())
    facts = json.loads((exported[0] / "classifier.json").read_text())
    assert written["initial_weights"]["fingerprint"] == facts["fingerprint"]
    assert context.workdir == f"{tmp_path}/large"
    process = fix(exported[0], tmp_path, "--set=num_steps=9")
    assert "already complete" in process.stdout


def test_trackers_are_opened(exported, trained, tmp_path, monkeypatch):
    held = hold_tracker(monkeypatch)
    held.is_down = True
    process = fix(exported[0], tmp_path, "--log_to=wandb:birds")
    assert process.returncode == 1
    assert "--log_to=wandb:birds: cannot be reached: no route" in process.stderr
    assert not trained
    held.is_down = False
    process = fix(exported[0], tmp_path, "--log_to=wandb:birds")
    assert process.returncode == 0, process.stderr
    assert len(trained[0][2].trackers) == 1
    assert held.ends == ["finished"]


def test_the_size_may_be_given(exported, trained, tmp_path):
    process = fix(exported[0], tmp_path, "--image_size=64")
    assert process.returncode == 0, process.stderr
    assert trained[0][0].config.image.size == 64


def test_the_student_must_be_complete(tmp_path, trained):
    (tmp_path / "student").mkdir()
    process = fix(tmp_path / "student", tmp_path)
    assert process.returncode == 1
    assert f"{tmp_path}/student" in process.stderr
    assert not trained
