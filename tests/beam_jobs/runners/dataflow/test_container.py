import pytest

from beam_jobs.runners.dataflow import container

NAMED = {"project": "my-project", "region": "europe-west4", "accelerator": ""}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A small clone, whose files decide the name."""
    names = [*container.FILES, *(f"{name}/code.py" for name in container.PACKAGES)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(container, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("file", ["classifier/code.py", "Dockerfile", "stage/new.py"])
def test_other_content_is_another_image(clone, file):
    before = container.image_name(**NAMED)
    (clone / file).write_text("# other code\n")
    assert container.image_name(**NAMED) != before


def test_what_is_compiled_or_not_copied_is_no_content(clone):
    before = container.image_name(**NAMED)
    (clone / "classifier" / "__pycache__").mkdir()
    (clone / "classifier" / "__pycache__" / "code.pyc").write_text("compiled")
    (clone / "README.md").write_text("words")
    assert container.image_name(**NAMED) == before


def test_a_file_that_is_moved_is_other_content(clone):
    (clone / "stage/code.py").write_text("code")
    before = container.image_name(**NAMED)
    (clone / "stage/code.py").rename(clone / "stage/named.py")
    (clone / "stage/code.py").touch()
    assert container.image_name(**NAMED) != before


def test_only_a_clone_has_a_container(clone):
    (clone / "Dockerfile").unlink()
    with pytest.raises(ValueError, match=r"expected runner\.dataflow\.image"):
        container.image_name(**NAMED)
