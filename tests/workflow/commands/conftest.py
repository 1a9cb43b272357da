import pytest

from tests.workflow import fake_program


@pytest.fixture
def fake_stages(monkeypatch):
    """All stages take no time, and nothing is reported."""
    fake_program.replace_stages(monkeypatch.setattr)


@pytest.fixture
def images(tmp_path):
    """A directory of images for a run: none is opened."""
    for name in ("labeled", "test", "all", "more"):
        for number in range(2):
            path = tmp_path / "images" / name / "a" / f"{name}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    return tmp_path / "images"
