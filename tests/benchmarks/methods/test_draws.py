import csv
import pathlib

import pytest

from benchmarks.methods import draws
from examples.image_folders import writing
from tests import images


@pytest.fixture
def folders(tmp_path):
    """Two folders of one name whose pictures have the same names."""
    pictures = iter(images.random_images(12))
    found = []
    for parent in ("a", "b"):
        folder = tmp_path / parent / "photos"
        drawn = {
            name: next(pictures)
            for name in (
                *("labeled/ant/1.png", "labeled/bee/1.png"),
                *("test/ant/1.png", "test/bee/1.png", "all/1.png", "all/2.png"),
            )
        }
        for name, picture in drawn.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(picture)
        with open(folder / "truth.csv", "w", newline="") as file:
            rows = [("name", "class"), ("1.png", "ant"), ("2.png", "")]
            csv.writer(file).writerows(rows)
        found.append((f"folder:{folder}", drawn))
    return found


def test_true_labels_have_all_pictures_of_their_folder(folders, tmp_path):
    for data, drawn in folders * 2:  # Also where they are already.
        data = draws.identify(data)
        draw = draws.prepare(data, tmp_path / "out", labels_per_class=0, seed=1)
        assert (draw.num_images, draw.count(draw.labeled)) == (2, 2)
        truth = tmp_path / "out" / "truth" / draws.folder_name(data)
        assert draw.truth == f"folder:{truth}"
        contents = {
            name: {path.read_bytes() for path in (truth / name).iterdir()}
            for name in draw.class_names
        }
        assert contents == {
            "ant": {drawn["labeled/ant/1.png"], drawn["all/1.png"]},
            "bee": {drawn["labeled/bee/1.png"]},
        }


def test_true_labels_of_what_cannot_be_decoded_are_left_out(folders, tmp_path):
    data, drawn = folders[0]
    write_truth(data, ("1.png", "ant"), ("2.png", "bee"))
    path = pathlib.Path(data.removeprefix("folder:"), "all", "1.png")
    path.write_bytes(drawn["all/1.png"][:-30])
    draw = draws.prepare(
        draws.identify(data), tmp_path / "out", labels_per_class=0, seed=1
    )
    assert draw.count(draw.truth) == 3


def write_truth(data, *rows, header=("name", "class")):
    with open(f"{data.removeprefix('folder:')}/truth.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("all/3.png", b"new"),
        ("all/2.png", b"other"),
        ("truth.csv", b"name,class\n1.png,bee\n2.png,\n"),
    ],
)
def test_a_folder_whose_files_have_changed_is_another(folders, name, content):
    data, _ = folders[0]
    before = draws.identify(data)
    assert draws.identify(data) == before
    path = pathlib.Path(data.removeprefix("folder:"), name)
    path.write_bytes(content)
    assert draws.identify(data) != before
    assert draws.folder_name(draws.identify(data)) != draws.folder_name(before)


def test_true_labels_that_have_changed_are_copied_again(folders, tmp_path):
    data, drawn = folders[0]
    for shown in ("ant", "bee"):
        write_truth(data, ("1.png", shown), ("2.png", ""))
        draw = draws.prepare(
            draws.identify(data), tmp_path / "out", labels_per_class=0, seed=1
        )
        truth = pathlib.Path(draw.truth.removeprefix("folder:"))
        pictures = [path.read_bytes() for path in (truth / shown).iterdir()]
        assert drawn["all/1.png"] in pictures


@pytest.mark.parametrize(
    "row",
    [
        ("1.png", "../ant"),
        ("../labeled/ant/1.png", "ant"),
        ("3.png", "bee"),
        ("2.png", "bee"),
        ("1.png",),
    ],
)
def test_rows_that_are_no_picture_and_class_are_refused(folders, row):
    data, _ = folders[0]
    write_truth(data, ("2.png", ""), row)
    with pytest.raises(ValueError, match="line 3: expected a name"):
        draws.find_labels(data, None)


def test_true_classes_need_columns_and_all_pictures(folders):
    data, _ = folders[0]
    write_truth(data, ("1.png", "ant"), ("2.png", ""), header=("file", "label"))
    expected = "truth.csv: expected the columns name and class, got file, label"
    with pytest.raises(ValueError, match=expected):
        draws.find_labels(data, None)
    write_truth(data, ("2.png", "ant"))
    with pytest.raises(ValueError, match=r"none for 1 of them, such as '1\.png'"):
        draws.find_labels(data, None)
    pathlib.Path(data.removeprefix("folder:"), "truth.csv").write_bytes(
        b"name,class\xff"
    )
    with pytest.raises(ValueError, match=r"truth\.csv: .*utf-8"):
        draws.find_labels(data, None)


def test_true_classes_of_a_spreadsheet_are_read(folders):
    data, _ = folders[0]
    truth = pathlib.Path(data.removeprefix("folder:"), "truth.csv")
    truth.write_bytes(b"\xef\xbb\xbfname,class\r\n1.png,ant\r\n2.png,\r\n")
    assert draws.find_labels(data, None) == 0


def test_a_folder_without_pictures_is_refused(folders):
    data, _ = folders[0]
    for path in pathlib.Path(data.removeprefix("folder:"), "all").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"all: the folder .* holds no images"):
        draws.find_labels(data, None)


def test_folders_are_those_that_the_examples_write():
    """Neither of both packages may import the other."""
    assert draws.SPLITS == writing.SPLITS
    assert draws.TRUTH == writing.TRUTH


def test_a_folder_is_named_by_its_absolute_path(folders, monkeypatch):
    data, _ = folders[0]
    path = pathlib.Path(data.removeprefix("folder:"))
    monkeypatch.chdir(path.parent)
    assert draws.identify("folder:photos") == draws.identify(data)
    assert draws.identify(data).startswith(f"{data}#")
    assert draws.identify("digits") == "digits"
