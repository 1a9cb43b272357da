import shutil
import sys

import pytest

from classifier.export import model_card
from stage import licenses
from tests import chain
from tests.commands import call
from tests.workflow.hub import hub_server

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    found = chain.make(tmp_path_factory.mktemp("chain"))
    found.write()
    return found


@pytest.fixture
def words(exported, made, tmp_path):
    directory = shutil.copytree(exported[0], tmp_path / "student")
    licenses.write(directory, ())
    model_card.write(directory)
    return (
        "workflow.push",
        f"--classifier={directory}",
        f"--dataset={made.dataset}",
        "--repository=me/birds",
    )


@pytest.fixture(autouse=True)
def login(monkeypatch, tmp_path):
    """A login, and no other hub than that of a test."""
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(f"{constants}.ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture
def hub(monkeypatch):
    with hub_server.serving() as found:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", found.endpoint)
        yield found


def test_classifier_and_dataset_arrive_whole(hub, words, made, tmp_path):
    ended = call(*words, "--private")
    assert ended.returncode == 0, ended.stderr
    assert set(hub.repositories) == {("model", "me/birds"), ("dataset", "me/birds")}
    for body in hub.repositories.values():
        assert body.get("private") or body.get("visibility") == "private"
    for kind, path, expected in (
        ("model", "model.keras", tmp_path / "student" / "model.keras"),
        ("dataset", "README.md", made.dataset / "README.md"),
    ):
        assert hub.files[kind, "me/birds", path] == expected.read_bytes()
    card = hub.files["model", "me/birds", "README.md"].decode()
    assert huggingface_hub.ModelCard(card).data.datasets == ["me/birds"]
    assert f"{hub.endpoint}/me/birds/commit/aaa" in ended.stdout


def test_what_was_pushed_can_be_used(hub, words, tmp_path):
    assert call(*words).returncode == 0
    for (kind, _, name), content in hub.files.items():
        path = tmp_path / "downloaded" / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    ended = call(
        "classifier.export_model",
        f"--classifier={tmp_path}/downloaded/model",
        f"--output={tmp_path}/exported",
    )
    assert ended.returncode == 0, ended.stderr


def test_a_dry_run_needs_neither_login_nor_network(words, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    ended = call(*words, "--dry_run")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("model repository me/birds: ")
    assert any(line.startswith("dataset repository me/birds: ") for line in lines)
    assert any(line.endswith("  export/saved_model.pb") for line in lines)
    assert lines.count("its card:") == 2
    named = "sources that its card and licenses.json name: "
    assert [line.startswith(named) for line in lines].count(True) == 2
    assert 'library_name: "noisy-student-rs"' in lines


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--repository=birds",), "expected OWNER/NAME"),
        (("--classifier=/no/such",), "'/no/such'"),
        (("now",), "'now'"),
        ((), "me/birds: "),  # Nobody listens.
    ],
)
def test_what_cannot_be_pushed_is_one_line(words, more, message):
    ended = call(*words, *more)
    assert ended.returncode == 1
    assert message in ended.stderr and ended.stderr.count("\n") == 1


def test_a_hub_that_refuses_is_one_line(hub, words):
    hub.refuse = 403
    ended = call(*words)
    assert ended.returncode == 1
    assert "model repository me/birds: " in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert hub.files == {}


def test_a_missing_login_or_package_is_one_line(words, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    ended = call(*words)
    assert ended.stderr.startswith("error: not logged in to the hub; run `hf auth")
    assert (ended.returncode, ended.stdout) == (1, "")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    ended = call(*words)
    assert "pip install -c constraints.txt -e '.[hub]'" in ended.stderr
    assert ended.returncode == 1
