import pytest

from classifier.data.source_forms import find_form


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("in", "folder"),
        ("in/", "folder"),
        ("list.csv", "csv"),
        ("LIST.CSV", "csv"),
        ("x-*.parquet", "parquet"),
        ("x.tfrecord", "tfrecord"),
        ("x.tar", "webdataset"),
    ],
)
def test_a_path_has_the_form_of_what_it_names(tmp_path, path, form):
    (tmp_path / "in").mkdir()
    assert find_form(f"{tmp_path}/{path}") == f"{form}:{tmp_path}/{path}"


def test_an_address_has_the_form_of_its_ending():
    assert find_form("gs://bucket/x.csv") == "csv:gs://bucket/x.csv"


@pytest.mark.parametrize("path", ["csv", "folder", "hf"])
def test_a_folder_may_be_called_like_a_form(tmp_path, monkeypatch, path):
    (tmp_path / path).mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_form(path) == f"folder:{path}"


@pytest.mark.parametrize("spec", ["", "csv:", "folder:", "notes.txt", "none"])
def test_what_is_no_source_is_refused(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="folder:PATH"):
        find_form(spec)


def test_a_tfds_dataset_needs_a_split(tmp_path):
    (tmp_path / "features.json").write_text("{}")
    with pytest.raises(ValueError, match=f"tfds:{tmp_path}:train"):
        find_form(str(tmp_path))
