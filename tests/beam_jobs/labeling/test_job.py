"""The labeling job in one process: what it freezes, refuses and counts."""

import functools
import json
import pathlib
import re
import shutil

import pyarrow.parquet as pq
import pytest

from beam_jobs.labeling import job as labeling_job
from beam_jobs.labeling.job import LabelingConfig
from beam_jobs.labeling.worker import LabelingError, Teachers, label_shard
from beam_jobs.runners.run import parse_beam_arguments
from classifier.data import shard_manifest
from classifier.data.python_reader import read_examples
from classifier.data.sources import open_source
from classifier.export.facts import CLASSIFIER
from classifier.inference import engine_autotune
from classifier.inference.engine import Engine
from classifier.inference.engine_autotune import EngineTiming
from classifier.inference.ensemble import Classifier, Ensemble
from classifier.inference.probabilities import softmax
from pseudo_label.predictions import schema as prediction_schema
from stage import artifact, licenses
from stage.licenses import Origin
from tests import calibrations
from tests.classifier.data.test_orientation import encode
from tests.classifier.features.onnx_models import FEATURES
from tests.commands import ROOT
from tests.images import random_images, write_folder, write_records

REFERENCE = {"engine": "tensorflow", "dtype": "float32"}


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """Lets the jobs of this module share the teachers they load."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Teachers, "load", functools.cache(Teachers.load))
        yield


@pytest.fixture
def records(tmp_path):
    """Three shards of four images; the last also has a text."""
    images = random_images(12)
    for index in range(3):
        shard = images[4 * index : 4 * index + 4]
        if index == 2:
            shard = [*shard, b"text"]
        write_records(tmp_path / "images" / f"{index}.tfrecord", shard)
    return tmp_path / "images"


@pytest.fixture
def job(records, exported, tmp_path):
    """Labels what is in `records`; more settings may be given."""

    def run(output=tmp_path / "predictions", **settings):
        given = {"teachers": (str(exported[0]),), **REFERENCE, **settings}
        settings = LabelingConfig(**given)
        source = shard_manifest.match(
            open_source(f"tfrecord:{records}/*.tfrecord"),
            output,
            allow_new_shards=settings.allow_new_shards,
        )
        lines = []
        plan = labeling_job.plan(source, settings, output=str(output), log=lines.append)
        with labeling_job.beginning(source, plan, settings) as is_complete:
            if not is_complete:
                options = parse_beam_arguments(["program"], name="test")
                labeling_job.run(plan.labeling, options, log=lines.append)
                summary = labeling_job.finish(
                    plan.labeling,
                    source.shards,
                    image_multiply_adds=plan.image_multiply_adds,
                )
                lines.append(summary)
                artifact.complete(output, seconds=0.0)
        return lines

    return run


def numbers(line):
    return [int(number) for number in re.findall(r"\d+", line)]


def files(directory):
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.name != "COMPLETED"
    }


def test_every_image_has_a_row_and_is_counted(job, tmp_path):
    lines = job()
    assert lines[-1].startswith(
        "labeled 12 of 13 images (1 undecodable); no prediction for 2.tfrecord#4;"
    )
    assert "shard 3/3  13 images" in lines[-2]
    summary = json.loads((tmp_path / "predictions" / "summary.json").read_text())
    assert len(set(summary.pop("checksums"))) == 3
    assert summary == {"images": 13, "status": {"ok": 12, "undecodable": 1}}
    rows = pq.read_table(tmp_path / "predictions" / "predictions-00002.parquet")
    assert rows["status"].to_pylist() == ["ok"] * 4 + ["undecodable"]


def test_images_that_are_stored_turned_are_counted(job, records, tmp_path):
    turned = [encode("JPEG", 6)] * 2 + [encode("JPEG", 1)]
    write_records(records / "3.tfrecord", turned)
    lines = job()
    assert "warning: 2 of them" in lines[-1]
    output = tmp_path / "predictions"
    assert json.loads((output / "summary.json").read_text())["turned"] == 2
    before = files(output)
    (output / "COMPLETED").unlink()
    (output / "predictions-00001.parquet").unlink()
    assert "warning: 2 of them" in job()[-1]
    assert files(output) == before


def test_multiply_adds_are_those_of_members_and_decoded_images(job, exported, tmp_path):
    teachers = []
    for number, of_image in enumerate((5.0, 7.0)):
        teachers.append(str(tmp_path / f"teacher-{number}"))
        shutil.copytree(exported[0], teachers[-1])
        path = pathlib.Path(teachers[-1], CLASSIFIER)
        facts = json.loads(path.read_text())
        path.write_text(json.dumps({**facts, "image_multiply_adds": of_image}))
    for given, expected in ((teachers, 12 * 12.0), ([teachers[0], exported[0]], None)):
        output = tmp_path / f"predictions-{expected}"
        job(output, teachers=tuple(map(str, given)))
        summary = json.loads((output / "summary.json").read_text())
        assert summary.get("multiply_adds") == expected


def test_only_missing_shards_are_labeled_again(job, tmp_path):
    output = tmp_path / "predictions"
    job()
    before = files(output)
    (output / "COMPLETED").unlink()
    (output / "predictions-00001.parquet").unlink()
    (output / (".predictions-00001.parquet." + "0" * 32)).write_bytes(b"half")
    kept = (output / "predictions-00000.parquet").stat().st_mtime_ns
    lines = job()
    assert [2, 3] in map(numbers, lines)
    assert files(output) == before
    assert (output / "predictions-00000.parquet").stat().st_mtime_ns == kept


def test_an_output_of_another_command_is_refused_at_once(job, tmp_path, monkeypatch):
    monkeypatch.setattr(
        engine_autotune, "time_engines", lambda *_: pytest.fail("engines were timed")
    )
    artifact.start_or_resume(tmp_path / "classifier", {"model": {"name": "a"}})
    with pytest.raises(ValueError, match="another output"):
        job(tmp_path / "classifier", engine="auto")


@pytest.mark.parametrize("engine", ["auto", "tensorflow"])
def test_a_job_begun_with_the_former_name_of_dtype_is_refused(job, tmp_path, engine):
    job()
    path = tmp_path / "predictions" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "precision": config.pop("dtype")}))
    with pytest.raises(ValueError, match="precision"):
        job(engine=engine)


def test_added_files_are_refused_or_labeled_behind_the_others(
    job, records, tmp_path, exported
):
    output = tmp_path / "predictions"
    job()
    before = files(output)
    write_records(records / "00.tfrecord", random_images(2, seed=9))
    with pytest.raises(ValueError, match="--allow_new_shards"):
        job()
    assert files(output) == before
    lines = job(allow_new_shards=True)
    assert numbers(lines[-1])[:3] == [14, 15, 1]
    after = files(output)
    for name in ("predictions-00000.parquet", "predictions-00002.parquet"):
        assert after[name] == before[name]
    assert pq.read_table(output / "predictions-00003.parquet")["key"].to_pylist() == [
        "00.tfrecord#0",
        "00.tfrecord#1",
    ]


def test_a_source_that_changed_is_refused(job, records):
    job()
    write_records(records / "1.tfrecord", random_images(1))
    with pytest.raises(ValueError, match=r"1\.tfrecord"):
        job(allow_new_shards=True)


def test_the_engine_is_chosen_once(job, tmp_path, monkeypatch):
    chosen = Engine("openvino", "float32")
    trials = []

    def time_engines(classifier, candidates, examples):
        trials.append(len(examples))
        return [EngineTiming(Engine(), 1.0, 1.0), EngineTiming(chosen, 2.0, 1.0)]

    monkeypatch.setattr(engine_autotune, "time_engines", time_engines)
    lines = job(engine="auto", dtype="auto")
    assert any("<- chosen" in line for line in lines)
    assert trials == [4]  # Of the first shard.
    config = json.loads((tmp_path / "predictions" / "config.json").read_text())
    assert (config["engine"], config["dtype"]) == ("openvino", "float32")
    (tmp_path / "predictions" / "COMPLETED").unlink()
    job(engine="auto", dtype="auto")
    assert trials == [4]
    with pytest.raises(ValueError, match=r"engine.*openvino.*tensorflow"):
        job()


def test_no_engine_is_tried_for_an_output_of_something_else(job, tmp_path, monkeypatch):
    def time_engines(*_):
        raise AssertionError

    monkeypatch.setattr(engine_autotune, "time_engines", time_engines)
    artifact.start_or_resume(tmp_path / "student", {"model": {"depth": 14}})
    with pytest.raises(ValueError, match="was not begun by labeling"):
        job(tmp_path / "student", engine="auto", dtype="auto")


def test_the_first_images_without_prediction_are_named(job, records):
    bad = [b"text"] * 3
    write_records(records / "3.tfrecord", [*random_images(1), *bad])
    line = job()[-1]
    assert "labeled 13 of 17 images (4 undecodable)" in line
    assert "; no prediction for 2.tfrecord#4, 3.tfrecord#1, 3.tfrecord#2, ...; " in line


def test_engines_agree_on_every_label(job, tmp_path):
    labels = []
    for name in ("tensorflow", "openvino"):
        job(tmp_path / name, engine=name)
        tables = [pq.read_table(path) for path in sorted((tmp_path / name).glob("p*"))]
        labels.append([table["label"].to_pylist() for table in tables])
    assert labels[0] == labels[1]


def test_too_many_bad_images_fail_the_job(job, tmp_path):
    with pytest.raises(LabelingError, match=r"7\.7%.* 13 .*12 ok, 1 undecodable"):
        job(max_bad_fraction=0.07)
    assert not artifact.is_complete(tmp_path / "predictions")
    assert numbers(job(max_bad_fraction=0.08)[-1])[:3] == [12, 13, 1]


def test_another_teacher_is_refused(job, exported_second, tmp_path):
    job()
    with pytest.raises(ValueError, match="teachers"):
        job(teachers=(str(exported_second[0]),))


def test_a_calibration_gives_all_teachers_its_temperature(
    job, records, exported, exported_second, tmp_path
):
    both = (str(exported[0]), str(exported_second[0]))
    job(teachers=both, calibration=calibrations.write(tmp_path / "c", 2.5, *both))
    table = pq.read_table(tmp_path / "predictions" / "predictions-00000.parquet")
    source = open_source(f"tfrecord:{records}/0.tfrecord")
    examples = list(read_examples(source.reader, source.files))
    ensemble = Ensemble(both, temperature=2.5)
    expected = ensemble.predict(ensemble.decode(examples)).probabilities.max(axis=1)
    assert table["confidence"].to_pylist() == expected.tolist()


def test_the_temperature_is_in_the_config_and_another_is_refused(
    job, exported, tmp_path
):
    def config():
        return json.loads((tmp_path / "predictions" / "config.json").read_text())

    job()
    assert config()["temperature"] == 1.0
    one = calibrations.write(tmp_path / "one", 1.0, exported[0])
    job(calibration=one)  # Of no other content.
    other = calibrations.write(tmp_path / "other", 1.5, exported[0])
    with pytest.raises(ValueError, match=r"temperature.* 1\.0.* 1\.5"):
        job(calibration=other)


def test_a_calibration_of_other_teachers_is_refused(
    job, exported, exported_second, tmp_path
):
    other = calibrations.write(tmp_path / "other", 1.5, exported_second[0])
    with pytest.raises(ValueError, match=other):
        job(calibration=other)
    assert not (tmp_path / "predictions").exists()


def test_teachers_of_several_temperatures_need_a_calibration(
    job, exported, exported_second, tmp_path
):
    warm = tmp_path / "warm"
    shutil.copytree(exported_second[0], warm)
    facts = json.loads((warm / "classifier.json").read_text())
    facts = json.dumps({**facts, "temperature": 1.5})
    (warm / "classifier.json").write_text(facts)
    both = (str(exported[0]), str(warm))
    with pytest.raises(ValueError, match=r"\[1\.0, 1\.5\].*--calibration"):
        job(teachers=both)
    job(teachers=both, calibration=calibrations.write(tmp_path / "c", 1.2, *both))


def test_what_cannot_be_written_is_one_line(job, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prediction_schema, "write_shard", full)
    with pytest.raises(
        RuntimeError, match=r"shard \d \(\d.tfrecord\): .*No space left on device"
    ) as error:
        job()
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "predictions").glob("*predictions-*"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "--teacher.*--model_handler"),
        ({"teachers": ("a",), "model_handler": "b:c"}, "--teacher.*--model_handler"),
        ({"model_handler": "b:c"}, "--model_handler.*--class_names"),
        (
            {"model_handler": "b:c", "class_names_file": "d", "calibration": "e"},
            "--calibration.*--model_handler",
        ),
        ({"teachers": ("a",), "max_bad_fraction": 1.5}, r"max_bad_fraction.* 1\.5"),
        ({"teachers": ("a",), "max_pixels": 0}, "max_pixels.* 0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        LabelingConfig(**settings)


def test_the_job_takes_a_model_handler(records, tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    settings = LabelingConfig(
        model_handler="tests.beam_jobs.labeling.test_model_handler:make_fixed",
        class_names_file=str(tmp_path / "names.txt"),
    )
    source = open_source(f"tfrecord:{records}/*.tfrecord")
    output = str(tmp_path / "predictions")
    plan = labeling_job.plan(source, settings, output=output)
    options = parse_beam_arguments(["program"], name="test")
    with labeling_job.beginning(source, plan, settings):
        speed = labeling_job.run(plan.labeling, options, log=lambda line: None)
        line = labeling_job.finish(plan.labeling, source.shards, **speed)
    assert speed["images_per_second"] > 0
    assert numbers(line)[:3] == [12, 13, 1]
    assert str(speed["images_per_second"]) in line


def without(directory, *columns):
    paths = sorted(directory.glob("predictions-*"))
    return [pq.read_table(path).drop_columns(list(columns)) for path in paths]


def test_embeddings_are_a_further_column(job, tmp_path):
    plain, more = tmp_path / "plain", tmp_path / "more"
    job(plain)
    job(more, embeddings=True)
    assert without(more, "embedding", "embedding_norm") == without(plain)
    configs = [artifact.read_config(directory) for directory in (plain, more)]
    described = {"embedding_size": 128, "has_embedding_norms": True}
    configs[1].pop("features", None)
    assert configs[1] == {**configs[0], **described, "has_true_labels": False}
    found = pq.read_table(more / "predictions-00002.parquet")
    lengths = [len(row) if row else row for row in found["embedding"].to_pylist()]
    assert lengths == [256] * 4 + [None]
    norms = found["embedding_norm"].to_pylist()
    assert norms[4] is None
    assert min(norms[:4]) > 0


def test_a_teacher_can_be_an_onnx_file(job, exported_onnx, exported, tmp_path):
    ours, automatic = tmp_path / "ours", {"engine": "auto", "dtype": "auto"}
    teachers = (str(exported_onnx),)
    job(ours, teachers=teachers, embeddings=True, **automatic)
    config = artifact.read_config(ours)
    assert config["engine"] in ("onnxruntime", "openvino")
    assert config["embedding_size"] == FEATURES
    found = pq.read_table(ours / "predictions-00000.parquet").to_pylist()
    classifier = Classifier(exported_onnx)
    for row, image in zip(found, random_images(12)[:4], strict=True):
        logits = classifier.logits(classifier.preprocess([image]))
        probabilities = softmax(logits)[0]
        assert row["confidence"] == pytest.approx(probabilities.max(), abs=0.02)
    with pytest.raises(ValueError, match="runs on onnxruntime or openvino"):
        job(tmp_path / "other", teachers=teachers, engine="tensorflow")
    mixed = (*teachers, str(exported[0]))
    with pytest.raises(ValueError, match="runs on openvino only"):
        job(tmp_path / "other", teachers=mixed, engine="onnxruntime")
    job(tmp_path / "mixed", teachers=mixed, engine="openvino", dtype="float32")


def test_labels_are_stored_if_they_are_classes_of_the_teacher(exported, tmp_path):
    images = random_images(3)
    write_folder(tmp_path / "ours", images, [2, 0, 1])
    write_folder(tmp_path / "others", images, [0, 1, 0])
    for name, has_labels in (("ours", True), ("others", False)):
        source = open_source(f"folder:{tmp_path / name}")
        settings = LabelingConfig(
            teachers=(str(exported[0]),), embeddings=True, **REFERENCE
        )
        output = tmp_path / f"{name}-labeled"
        lines = []
        labeling = labeling_job.plan(
            source, settings, output=str(output), log=lines.append
        ).labeling
        assert ("true_label" in labeling.more_columns) == has_labels
        told = "no labels are stored, as images and teacher have other classes: "
        assert lines == ([] if has_labels else [f"{told}1 only in the teacher ('c')"])
        if has_labels:
            output.mkdir()
            label_shard(source.shards[0], labeling, labeling.predictor.load())
            rows = pq.read_table(str(labeling.path(0)))
            expected = [file.label for file in source.files]
            assert rows["true_label"].to_pylist() == expected


def test_classes_that_differ_are_named():
    describe = labeling_job._describe_other_classes
    assert describe("abc", "acb") == "another order"
    assert describe(["a", "x"], "abcdef") == (
        "1 only in the images ('x') and 5 only in the teacher ('b', 'c', 'd', ...)"
    )


def test_teachers_without_embeddings_are_refused(job, tmp_path):
    old = ROOT / "tests" / "data" / "classifier_before_move"
    with pytest.raises(ValueError, match="--embeddings"):
        job(teachers=(str(old),), embeddings=True)
    assert not (tmp_path / "predictions").exists()
    with pytest.raises(ValueError, match="--embeddings"):
        LabelingConfig(model_handler="a:b", class_names_file="names", embeddings=True)
    with pytest.raises(ValueError, match="--class_names"):
        LabelingConfig(teachers=("a",), class_names_file="names")


def test_predictions_are_made_of_images_and_of_what_teachers_are(
    records, exported, tmp_path
):
    weights = Origin(kind="weights", name="hf:me/net", license="MIT")
    teachers = [str(tmp_path / name) for name in ("new", "old")]
    (tmp_path / "new").mkdir()
    licenses.write(teachers[0], (weights,))
    settings = LabelingConfig(teachers=teachers)
    source = open_source(f"tfrecord:{records}/*")
    found = labeling_job.trace(source, settings, {"images": "CC0-1.0"})
    assert [(origin.kind, origin.license) for origin in found] == [
        ("artifact", "unknown"),
        ("images", "CC0-1.0"),
        ("weights", "MIT"),
    ]
    handler = LabelingConfig(model_handler="m:n:/home/x.onnx", class_names_file="c")
    names = [origin.name for origin in labeling_job.trace(source, handler, {})]
    assert "m:n:.../home/x.onnx" in names
