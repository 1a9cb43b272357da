"""Faults of predictions, selections and datasets, after labeling."""

import math
import random
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from etils import epath
from PIL import Image

from beam_jobs.selection import job as selection_job
from beam_jobs.selection import pipeline
from classifier.inference import calibration
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.perceptual_hash import perceptual_hashes
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.selection import precision
from pseudo_label.selection.decision import open_selection
from stage import artifact, cli
from stage.calibration_files import CALIBRATION_ROWS
from student.training import mixture
from tests import chain
from tests.beam_jobs.propagation import sets
from tests.commands import call
from tests.faults import endings, page
from tests.infra import jobs
from tests.json_files import read_json
from tests.pseudo_label.dataset import spoiling
from workflow.report.analysis import prediction_counts

FLIPS = 400


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    found = chain.make(
        tmp_path_factory.mktemp("datasets") / "run", dropped={1: [3], 2: [5]}
    )
    found.write()
    return found


@pytest.fixture
def run(whole, tmp_path):
    """A copy of it, to be spoiled."""
    shutil.copytree(whole.root, tmp_path / "run")
    return chain.Chain(tmp_path / "run")


# --- predictions ---------------------------------------------------------------
def select(run, output="own", **request):
    """Selects from the predictions of a run; returns the lines for the user."""
    settings = {"confidence_threshold": 0.5, "duplicate_bits": 0, **request}
    with cli.exit_on_job_error():
        request = selection_job.SelectionRequest(
            predictions=run.predictions, **settings
        )
        job = selection_job.plan(request, output=str(run.root / output))
        artifact.start_or_resume(job.output, job.config)
        pipeline.run(job, chain.OPTIONS)
        artifact.complete(job.output, seconds=0.0)
    return list(pipeline.format_lines(job.output, job.predictions))


def write(run):
    """Writes all records of a run again."""
    shutil.rmtree(run.dataset)
    with cli.exit_on_job_error():
        run.write()


def verify(run):
    with cli.exit_on_job_error():
        spoiling.verify(run)


def report(run):
    """Reads predictions and dropped rows as the report does."""
    with cli.exit_on_job_error():
        predictions = open_predictions(run.predictions)
        labeled = prediction_counts.LabeledRound(
            predictions=epath.Path(run.predictions),
            num_shards=predictions.num_shards,
            selection_directory=epath.Path(run.selection),
            selection=open_selection(run.selection, predictions),
        )
        prediction_counts.count_predictions(labeled, np.float32([0.5]))
        prediction_counts.compare_rounds(labeled, labeled, round=2)


def fails(fault, command, run):
    """Runs a command, which must fail as the catalog says."""
    with pytest.raises(SystemExit) as failure:
        command(run)
    message = str(failure.value.code)
    assert message.startswith("error: ")
    assert "\n" not in message
    fault.check(message)


ALL = pytest.mark.parametrize("command", [select, write, verify, report])


def read_all(path):
    """Returns all that is read of a predictions file."""
    columns = [
        prediction_schema.read_table(path, [name]).to_pydict()
        for name in prediction_schema.schema().names
    ]
    return prediction_schema.read_facts(path), columns


@page.holds("flipped bit in a predictions file")
def test_any_bit_that_flips(fault, run):
    """Changes nothing that is read, or is found."""
    path = epath.Path(run.predictions) / prediction_schema.shard_name(0)
    content, before = path.read_bytes(), read_all(path)
    found = 0
    for bit in random.Random(0).sample(range(8 * len(content)), FLIPS):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(flipped))
        try:
            assert read_all(path) == before
        except ValueError as error:
            fault.check(str(error))
            found += 1
    assert FLIPS // 2 < found < FLIPS


@ALL
@page.holds("flipped bit in a predictions file")
def test_a_bit_of_a_confidence_that_flips(fault, run, command):
    assert fault.end == endings.FAILED
    path = spoiling.predictions_file(run)
    at = prediction_schema.schema().get_field_index("confidence")
    chunk = pq.read_metadata(path).row_group(0).column(at)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(bytes(content))
    fails(fault, command, run)


@ALL
@page.holds("predictions edited by another program")
def test_predictions_that_were_edited(fault, run, command):
    """The footer's keys and values stay."""
    path = spoiling.predictions_file(run, 1)
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    at = table.column_names.index("label")
    labels = pa.array([None, *[1] * (len(table) - 1)], pa.int32())
    kept = {key: value for key, value in metadata.items() if b"footer" not in key}
    with pq.ParquetWriter(path, table.schema.remove_metadata()) as writer:
        writer.write_table(table.set_column(at, table.schema.field(at), labels))
        writer.add_key_value_metadata(kept)
    fails(fault, command, run)


@ALL
@page.holds("rows of predictions in another order")
def test_predictions_in_another_order(fault, run, command):
    """Of version 1, whose files have no checksums."""
    path = spoiling.predictions_file(run, 1)
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    names = (b"fingerprint", b"status_counts")
    kept = {name: metadata[name] for name in names} | {b"schema_version": b"1"}
    with pq.ParquetWriter(path, table.schema.remove_metadata()) as writer:
        writer.write_table(table.take([0, 2, 1, *range(3, len(table))]))
        writer.add_key_value_metadata(kept)
    spoiling.bind(run)
    fails(fault, command, run)


def test_predictions_of_version_1_are_read(run, whole):
    """They have no checksums."""
    for index in range(3):
        path = spoiling.predictions_file(run, index)
        table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
        names = (b"fingerprint", b"status_counts")
        kept = {name: metadata[name] for name in names} | {b"schema_version": b"1"}
        with pq.ParquetWriter(path, table.schema.remove_metadata()) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(kept)
    spoiling.bind(run)
    verify(run)
    write(run)
    names = [path.name for path in whole.dataset.glob("*.tfrecord*")]
    for name in names:
        content = (run.dataset / name).read_bytes()
        assert content == (whole.dataset / name).read_bytes()


@ALL
@page.holds("label in predictions that is not below the number of classes")
def test_a_label_beyond_the_classes(fault, run, command):
    def change(rows):
        rows[4]["label"], rows[4]["top_labels"] = 9, [9, 0]

    spoiling.change_rows(run, change, 1)
    fails(fault, command, run)


def label_anew(run):
    """Changes what decides nothing."""
    path = spoiling.predictions_file(run)
    rows = pq.read_table(path).to_pylist()
    rows[0]["error"] = "another reason"
    chain.rewrite(path, pa.Table.from_pylist(rows, prediction_schema.schema()))


@page.holds("embedding or top classes of another length, or out of bounds")
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("embedding", None),
        ("embedding", [1.0] * (sets.SIZE + 1)),
        ("embedding", [math.nan] * sets.SIZE),
        ("top_labels", [0, 1]),
        ("top_labels", [0, 1, len(sets.CLASS_NAMES)]),
        ("top_probabilities", [math.nan, 0, 0]),
    ],
)
def test_rows_that_labels_cannot_spread_to(fault, tmp_path, column, value):
    directory = sets.write(tmp_path / "spoiled", spoil=(column, 7, value))
    labeled = sets.write(tmp_path / "labeled", shards=1, labeled=True)
    ended = call(
        "beam_jobs.propagate_labels",
        f"--predictions={directory}",
        f"--labeled={labeled}",
        f"--output={tmp_path / 'new'}",
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert column in line
    fault.check(line)


@page.holds("predictions made anew since the selection")
def test_predictions_that_were_labeled_anew(fault, run):
    assert fault.end == endings.REFUSED
    label_anew(run)
    fails(fault, plan, run)


def plan(run):
    with cli.exit_on_user_error():
        run.plan()


@page.holds("predictions made anew since the dataset was written")
def test_predictions_that_changed_since_the_dataset_was_written(fault, run):
    label_anew(run)
    fails(fault, verify, run)


@page.holds("rows of another calibration")
def test_rows_of_another_calibration(fault, tmp_path):
    config = {"kind": "held_out", "teachers": ["t"], "class_names": ["a", "b"]}
    for name, label in (("own", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        part = calibration.PartPredictions(
            np.float32([[[1, 0], [0, 2]]]), np.int32([0, label]), ["x", "y"], None, 0
        )
        calibration.write(tmp_path / name, config, [part])
        precision.read_calibration(tmp_path / name)
    shutil.copy(tmp_path / "other" / CALIBRATION_ROWS, tmp_path / "own")
    with pytest.raises(ValueError) as refusal:
        precision.read_calibration(tmp_path / "own")
    fault.check(str(refusal.value))


# --- the selection -------------------------------------------------------------
@pytest.mark.parametrize("command", [write, verify, report])
@page.holds("damaged list of dropped images")
def test_dropped_rows_that_are_damaged(fault, run, command):
    path = run.root / "selection" / "dropped" / "predictions-00001.parquet"
    content = bytearray(path.read_bytes())
    content[20] ^= 4
    path.write_bytes(bytes(content))
    fails(fault, command, run)


def exchange(selection):
    first, second = (selection / f"dropped/predictions-0000{i}.parquet" for i in (1, 2))
    kept = first.read_bytes()
    shutil.copy(second, first)
    second.write_bytes(kept)


def put_other(selection):
    path = selection / "dropped/predictions-00001.parquet"
    near_duplicates.write_dropped(selection, 1, pq.read_table(path), selection="0" * 64)


@pytest.mark.parametrize("change", [exchange, put_other])
@pytest.mark.parametrize("command", [write, verify, report])
@page.holds("list of dropped images of another shard or selection")
def test_dropped_rows_in_the_place_of_others(fault, run, command, change):
    change(run.root / "selection")
    fails(fault, command, run)


@pytest.mark.parametrize("command", [plan, report])
@page.holds("selection.json of another selection")
def test_a_selection_in_the_place_of_another(fault, run, command):
    select(run)
    shutil.copy(run.root / "own" / "selection.json", run.selection)
    fails(fault, command, run)


@page.holds("damaged selection.json")
def test_a_selection_that_is_damaged(fault, run):
    path = run.root / "selection" / "selection.json"
    text = path.read_text()
    path.write_text(text.replace('"copies": 1', '"copies": 2', 1))
    assert path.read_text() != text
    fails(fault, verify, run)


ABSURD = {
    "copies": lambda content: content["classes"][0].update(copies=10**8),
    "classes[0].records": lambda content: content["classes"][0].update(records=10**9),
    "all records": lambda content: (
        content["classes"][0].update(unique=10**9, records=10**9, copies=1),
        content["funnel"].update(records=10**9, unique_kept=10**9),
    ),
    "funnel.records": lambda content: content["funnel"].update(records=10**11),
    "funnel.unique_kept": lambda content: content["funnel"].update(unique_kept=10**9),
    "funnel.read": lambda content: content["funnel"].update(read=10**9),
}


@pytest.mark.parametrize("change", ABSURD)
@page.holds("selection.json with more records than its images give")
def test_a_selection_of_more_than_there_is(fault, run, change):
    path = run.root / "selection" / "selection.json"
    content = read_json(path)
    ABSURD[change](content)
    artifact.write_json(path, content)
    fails(fault, write, run)


@page.holds("list of dropped images that is missing")
def test_dropped_rows_that_are_missing(fault, run):
    (run.root / "selection" / "dropped" / "predictions-00001.parquet").unlink()
    fails(fault, write, run)


# --- records -------------------------------------------------------------------
def shard(run, index):
    return run.dataset / f"pseudo_labels-train.tfrecord-{index:05d}-of-00006"


def cut_off(path):
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little") + 16
    assert length < len(content)
    path.write_bytes(content[:length])


SHARDS = {
    "empty output shard, left by a power failure": lambda path: path.write_bytes(b""),
    "output shard truncated between two records": cut_off,
    "output shard with the records of another one": lambda path: shutil.copy(
        path.with_name(path.name.replace("00001-of", "00002-of")), path
    ),
}


@page.holds(*SHARDS)
def test_a_shard_that_does_not_hold_its_records(fault, run, whole):
    assert fault.end == endings.CONTINUES
    (run.dataset / "COMPLETED").unlink()
    (run.dataset / "dataset_info.json").unlink()
    SHARDS[fault.name](shard(run, 1))
    run.write()
    jobs.compare(run.dataset, whole.dataset)


@pytest.mark.parametrize("spoil", [cut_off, lambda path: path.unlink()])
@page.holds("complete dataset that lacks a file, or with one of another size")
def test_a_complete_dataset_that_lacks_a_file(fault, run, whole, spoil):
    assert fault.end == endings.REFUSED
    spoil(shard(run, 1))
    with pytest.raises(ValueError) as refusal:
        run.write()
    fault.check(str(refusal.value))
    (run.dataset / "COMPLETED").unlink()
    run.write()
    jobs.compare(run.dataset, whole.dataset)


@page.holds("file beside the records that was changed")
def test_a_card_that_was_changed(fault, run):
    path = run.dataset / "README.md"
    path.write_text(path.read_text().replace("records", "pictures", 1))
    fails(fault, verify, run)


DATASETS = {
    "dataset with a file shorter than dataset_info.json says": cut_off,
    "dataset with a missing file": lambda path: path.unlink(),
}


@page.holds(*DATASETS)
def test_a_student_of_a_dataset_that_lacks_records(fault, run):
    assert fault.end == endings.REFUSED
    mixture.open_pseudo_labeled(str(run.dataset), chain.CLASS_NAMES)
    DATASETS[fault.name](shard(run, 1))
    with pytest.raises(SystemExit) as refusal, cli.exit_on_user_error():
        mixture.open_pseudo_labeled(str(run.dataset), chain.CLASS_NAMES)
    fault.check(str(refusal.value.code))


# --- what looks the same -------------------------------------------------------
@pytest.fixture
def colored(tmp_path):
    """Predictions of thirty images that differ only in color, ten of each class."""
    run = chain.make(tmp_path / "colored", per_shard=11)
    base = np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    tones = [(1.0, 1.0, 1.0), (1.0, 0.5, 0.5), (0.3, 0.9, 1.0)]
    for index in range(3):
        path = spoiling.predictions_file(run, index)
        rows = pq.read_table(path).to_pylist()
        for position, row in enumerate(rows[1:]):
            row["label"] = label = position % 3
            row["top_labels"] = [label, (label + 1) % 3]
            pixels = np.uint8(base[..., None] * np.float32(tones[label]))
            pixels = np.asarray(Image.fromarray(pixels))
            row["perceptual_hash"] = int(perceptual_hashes(pixels[None])[0])
        chain.rewrite(path, pa.Table.from_pylist(rows, prediction_schema.schema()))
    return run


@page.holds(
    "images that differ only in color",
    "class most of whose images are dropped as duplicates",
)
def test_images_that_differ_only_in_color(fault, colored):
    assert fault.end == endings.WORKS
    hashes = {
        row["perceptual_hash"]
        for index in range(3)
        for row in pq.read_table(spoiling.predictions_file(colored, index)).to_pylist()
    }
    assert len(hashes - {None}) == 1  # So much the hash sees.
    lines = select(colored, confidence_threshold=0.0, images_per_class=60)
    selection = open_selection(
        str(colored.root / "own"), open_predictions(colored.predictions)
    )
    assert selection.funnel.duplicate == 30 - 3
    assert [rule.unique for rule in selection.classes] == [1, 1, 1]
    sparse = selection.sparse_classes
    assert [found.name for found in sparse] == list(chain.CLASS_NAMES)
    assert sum(found.predicted for found in sparse) == 30
    assert sum(found.dropped for found in sparse) == 27
    for found in sparse:
        (line,) = [line for line in lines if repr(found.name) in line]
        assert str(found.predicted) in line
        assert str(found.dropped) in line


@page.holds("unlabeled image that is an evaluation image in another color")
def test_a_leak_of_another_class_is_found(fault, colored, tmp_path):
    assert fault.end == endings.WORKS
    test = chain.make(tmp_path / "test", num_shards=1, per_shard=2)
    path = spoiling.predictions_file(test)
    rows = pq.read_table(path).to_pylist()
    source = pq.read_table(spoiling.predictions_file(colored)).to_pylist()[1]
    rows[1] = {**rows[1], "perceptual_hash": source["perceptual_hash"], "label": 2}
    chain.rewrite(path, pa.Table.from_pylist(rows, prediction_schema.schema()))
    select(colored, exclude=[test.predictions])
    selection = open_selection(
        str(colored.root / "own"), open_predictions(colored.predictions)
    )
    assert selection.funnel.leaked == 30
