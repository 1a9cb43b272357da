import pytest

from classifier.data.source_forms import check_files, find_form


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


@pytest.mark.parametrize("path", ["notes.txt", "photo.jpg", "x.zip", "*.jpg"])
def test_a_file_of_no_known_form_is_told_from_none(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / path.replace("*", "photo")).touch()
    with pytest.raises(ValueError, match="folder of images") as refusal:
        find_form(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ") and "no such" not in message
    assert all(end in message for end in (".csv", ".parquet", ".tfrecord", ".tar"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("empty", "the folder 'empty' is there and holds no images"),
        ("folder:empty", "the folder 'empty' is there and holds no images"),
        ("nested", "holds no images"),
        ("hidden", "holds no images.*hidden files"),
        ("none", "no such files"),
        ("folder:none", "no folder 'none'$"),
        ("folder:notes.txt", "no folder 'notes.txt' but a file"),
        ("tfrecord:none", "no file matches 'none'$"),
        ("tfrecord:empty", "no file matches 'empty'; it is a folder"),
        ("x-*.parquet", "no file matches"),
        ("none.csv", "no file 'none.csv'"),
        ("csv:empty", "expected a file, got the folder 'empty'"),
        ("notes.txt", "got another file"),
    ],
)
def test_what_is_there_instead_of_images_is_said(tmp_path, monkeypatch, spec, words):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "nested/a", "nested/b", "hidden"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "hidden" / ".DS_Store").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises((ValueError, OSError), match=words) as refusal:
        check_files(spec)
    assert str(refusal.value).startswith(f"{spec}: ")


@pytest.mark.parametrize("spec", ["in", "folder:in", "in/*.tfrecord", "in/x.csv"])
def test_files_that_are_there_pass(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("x.tfrecord", "x.csv"):
        (tmp_path / "in" / name).touch()
    check_files(spec)
