"""Each stage reads images of tables as it reads those of a folder."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifier.data.python_reader import read_examples
from classifier.data.sources import open_source
from stage import artifact
from tests.commands import call
from tests.images import open_labeled, random_images
from tests.json_files import read_json

IMAGES = random_images(8)
LABELS = [index % 3 for index in range(8)]


def run(module, *arguments):
    process = call(module, *arguments)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def reference(tmp_path_factory, exported):
    """Label by image, and the accuracy, of the images in a folder."""
    return read(tmp_path_factory.mktemp("folder"), "folder", exported[0])


def read(root, form, teacher):
    """Labels and evaluates; returns label by image, and what evaluation counts."""
    source = open_labeled(form, root / "source", IMAGES, LABELS)
    labeled = (f"--teacher={teacher}", "--engine=tensorflow", "--dtype=float32")
    single = ("--", "--direct_num_workers=1")
    images = f"--images={source.spec}"
    output = f"--output={root}/predictions"
    run("beam_jobs.label_images", images, *labeled, output, *single)
    files = sorted((root / "predictions").glob("predictions-*.parquet"))
    table = pa.concat_tables(map(pq.read_table, files))
    rows = {row["key"]: row for row in table.to_pylist()}
    found = {
        example.image: rows[example.key.decode()]["label"]
        for example in read_examples(source.reader, source.files)
    }
    evaluated = (f"--teacher={teacher}", f"--evaluation={source.spec}")
    run("teacher.evaluate", *evaluated, f"--output={root}/evaluation")
    return found, read_json(root / "evaluation" / "evaluation.json")["top1"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_images_of_a_table_are_labeled_evaluated_and_written(
    form, tmp_path, exported, reference
):
    assert read(tmp_path, form, exported[0]) == reference
    images = plain_path(tmp_path, form)
    predictions = f"--predictions={tmp_path}/predictions"
    selection = f"--selection={tmp_path}/selection"
    run(
        "beam_jobs.select_labels",
        *(predictions, "--confidence_threshold=0", "--duplicate_bits=-1"),
        *("--images_per_class=8", f"--output={tmp_path}/selection"),
        *("--", "--direct_num_workers=1"),
    )
    run(
        "beam_jobs.write_records",
        *(f"--images={images}", predictions, selection),
        *(f"--output={tmp_path}/dataset", "--", "--direct_num_workers=1"),
    )
    assert artifact.is_complete(tmp_path / "dataset")
    run("pseudo_label.verify", tmp_path / "dataset")
    written = open_source(f"tfds:{tmp_path}/dataset:train")
    found = {
        example.image: example.label
        for example in read_examples(written.reader, written.files)
    }
    assert found == reference[0]


def plain_path(root, form):
    """The source by its plain path."""
    return f"{root}/source/" + {"csv": "list.csv", "parquet": "?.parquet"}[form]
