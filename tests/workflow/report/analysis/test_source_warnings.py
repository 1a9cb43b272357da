import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifier.data.sources import open_source
from tests.images import random_images, write_parquet
from tests.workflow.report import runs
from workflow.report import write_report
from workflow.report.analysis import source_warnings


@pytest.fixture
def folder(tmp_path):
    """A folder of more files than a shard holds, and some of them in classes."""
    root = tmp_path / "photos"
    for number in range(1003):
        path = root / f"class-{number % 3}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def described(spec):
    """What a stage writes of a source into its config."""
    return open_source(spec).describe()


def test_the_files_that_a_stage_has_read_are_no_change(folder):
    for spec in (f"folder:{folder}", f"{folder}", f"tfrecord:{folder}/class-*/*"):
        assert source_warnings.describe_change(spec, described(spec)) is None


def write_table(path, names):
    path.write_text("\n".join(["path", *names]))


@pytest.mark.parametrize("form", ["csv:", ""])
def test_images_added_to_a_table_are_counted(folder, form):
    names = [f"class-{number % 3}/{number}.jpg" for number in range(1003)]
    table = folder / "list.csv"
    write_table(table, names[:-1])
    spec = f"{form}{table}"
    before = described(spec)
    assert source_warnings.describe_change(spec, before) is None
    write_table(table, names)
    change = source_warnings.describe_change(spec, before)
    assert change == f"{spec} has 1 file more"


@pytest.mark.parametrize("form", ["parquet:", ""])
def test_tables_of_images_that_were_added_are_counted(tmp_path, form):
    spec = f"{form}{tmp_path}/*.parquet"
    write_parquet(tmp_path / "1.parquet", random_images(3))
    before = described(spec)
    assert source_warnings.describe_change(spec, before) is None
    write_parquet(tmp_path / "2.parquet", random_images(2))
    change = source_warnings.describe_change(spec, before)
    assert change == f"{spec} has 1 file more"


def write_csv_of(path, number):
    rows = [f"class-0/{row}.jpg,{row % 2}" for row in range(number)]
    path.write_text("\n".join(["picture,kind", *rows]))


def write_parquet_of(path, number):
    """Two columns of images, so that which one to read must be said."""
    table = {
        "picture": random_images(number),
        "preview": random_images(number),
        "kind": [f"kind {row % 2}" for row in range(number)],
    }
    pq.write_table(pa.table(table), path)


@pytest.mark.parametrize("words", ["column", "feature"])
@pytest.mark.parametrize(
    ("name", "write"),
    [("list.csv", write_csv_of), ("images.parquet", write_parquet_of)],
)
def test_columns_may_have_other_names(run, tmp_path, words, name, write):
    spec = str(tmp_path / name)
    write(tmp_path / name, 3)
    source = open_source(spec, image_feature="picture", label_feature="kind")
    add(run / "control" / "config.json", labeled=source.describe())
    flags = [f"--labeled={spec}", f"--image_{words}=picture", f"--label_{words}=kind"]
    add(run / "control" / "COMPLETED", command=["-m", "x", *flags])
    assert not any("warning" in line for line in write_report.report_on(run))
    write(tmp_path / name, 5)
    (warning,) = [line for line in write_report.report_on(run) if "warning" in line]
    assert spec in warning


@pytest.mark.parametrize("form", ["folder:", ""])
@pytest.mark.parametrize(
    ("added", "deleted", "expected"),
    [(1, 0, "1 file more"), (0, 2, "2 files fewer"), (1, 1, "other files")],
)
def test_added_and_deleted_files_are_counted(folder, form, added, deleted, expected):
    spec = f"{form}{folder}"
    before = described(spec)
    for number in range(added):
        (folder / "class-1" / f"new-{number}.jpg").write_bytes(b"")
    for number in range(deleted):
        (folder / f"class-{number}" / f"{number}.jpg").unlink()
    change = source_warnings.describe_change(spec, before)
    assert change == f"{spec} has {expected}"


def test_shards_that_were_added_are_compared_by_number(folder):
    spec, other = f"folder:{folder}", {"num_files": 1003, "fingerprint": "another"}
    assert source_warnings.describe_change(spec, other, by_number=True) is None
    assert source_warnings.describe_change(spec, other) is not None


@pytest.mark.parametrize(
    "spec", ["folder:{}/none", "tfds:digits:test", "folder:gs://bucket/a", "{}"]
)
def test_what_cannot_be_listed_here_is_passed_over(tmp_path, spec):
    found = source_warnings.describe_change(
        spec.format(tmp_path), {"num_files": 3, "fingerprint": ""}
    )
    assert found is None


def test_all_folds_of_a_teacher_are_compared():
    config = {"labeled": {"num_files": 1}, "left_out": {"labeled": {"num_files": 2}}}
    assert source_warnings.described_source(config, "labeled") == {"num_files": 2}
    assert source_warnings.described_source(
        {**config, "left_out": None}, "labeled"
    ) == {"num_files": 1}


def add(path, **more):
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


@pytest.fixture
def run(tmp_path):
    return runs.make(tmp_path / "run", runs.Plan(images=200, tested=200))


def test_a_report_says_once_that_a_source_has_changed(run, folder):
    spec = f"folder:{folder}"
    for stage in ("round-1/teacher/member-1", "round-1/student", "control"):
        add(run / stage / "config.json", labeled=described(spec))
        add(run / stage / "COMPLETED", command=["-m", "x", f"--labeled={spec}"])
    assert not any("warning" in line for line in write_report.report_on(run))
    (folder / "class-1" / "new.jpg").write_bytes(b"")
    warnings = [line for line in write_report.report_on(run) if "warning" in line]
    assert len(warnings) == 1
    assert f"{spec} has 1 file more than round-1/teacher/member-1" in warnings[0]
    assert "has 1 file more" in (run / "report.html").read_text()
    assert len(json.loads((run / "report.json").read_text())["warnings"]) == 1


def test_a_report_says_once_that_test_images_were_trained_on(run):
    same, other = {"content": "a"}, {"content": "b"}
    for stage in ("round-1/student", "control"):
        add(run / stage / "config.json", labeled=same, evaluation=other)
    assert not any("warning" in line for line in write_report.report_on(run))
    for stage in ("round-1/student", "control"):
        add(run / stage / "config.json", evaluation=same)
    warnings = [line for line in write_report.report_on(run) if "warning" in line]
    assert len(warnings) == 1
    assert "round-1/student was evaluated on the images" in warnings[0]


def test_images_added_to_those_that_a_run_has_split_are_counted(run, folder):
    split = run / "split"
    split.mkdir()
    (split / "config.json").write_text(json.dumps({"labeled": described(str(folder))}))
    shutil.copy(run / "control" / "COMPLETED", split)
    add(split / "COMPLETED", command=["-m", "workflow.split", f"--labeled={folder}"])
    (folder / "class-1" / "new.jpg").write_bytes(b"")
    (warning,) = [line for line in write_report.report_on(run) if "warning" in line]
    assert f"{folder} has 1 file more than split" in warning
