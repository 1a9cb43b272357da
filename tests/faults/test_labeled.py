"""Labeled images: to train on, to evaluate on and to calibrate with."""

import dataclasses
import itertools
import os
import signal
import threading
import time
import zlib

import pytest
import tensorflow as tf

from classifier.data import inspection
from classifier.data.class_names import read_class_names
from classifier.data.readers import IMAGE_FEATURE, LABEL_FEATURE
from classifier.data.sources import open_source
from classifier.training import input_pipeline, loop, trainer
from stage import waiting
from stage.preemption import PreemptedError
from tests.classifier.training.fakes import FakeBackend, run_context
from tests.commands import call
from tests.faults import endings, page
from tests.faults.conftest import snapshot
from tests.images import (
    make_example,
    random_images,
    write_folder,
    write_labeled_tar,
    write_records,
    write_tar,
    write_tfds,
)
from tests.student.evaluation.test_comparison import write_dataset

IMAGES = random_images(6)
LABELS = [0, 1, 2] * 2
#: The fault is in the last image, behind those that are decoded before training.
LAST = len(IMAGES) - 1
SMALL = ("--set=model.width_multiplier=0.0625", "--set=global_batch_size=4")


@dataclasses.dataclass
class Labeled:
    """Commands on labeled images, of which only the checks before any work matter."""

    root: object
    classifier: object

    def commands(self, good, bad):
        """Returns each command that reads labeled images, with a bad source."""
        names = f"--class_names={self.root}/names.txt"
        workdir = (f"--workdir={self.root}/new", names)
        output = (f"--output={self.root}/new", names)
        learn = (f"--labeled={bad}", f"--evaluation={good}", *workdir)
        test = (f"--labeled={good}", f"--evaluation={bad}", *workdir)
        evaluated = (f"--evaluation={bad}", *output)
        student = f"--student={self.classifier}"
        teacher = f"--teacher={self.classifier}"
        return {
            "learn": ("teacher.train", *learn, *SMALL),
            "folds": ("teacher.train", *learn, *SMALL, "--folds=2", "--fold=0"),
            "student": ("student.train", *learn, *SMALL),
            "test": ("teacher.train", *test, *SMALL),
            "fix": ("student.fix_resolution", student, *learn),
            "evaluate": ("teacher.evaluate", teacher, *evaluated),
            "compare": ("student.evaluate", student, *evaluated),
            "calibrate": ("teacher.calibrate", teacher, f"--held_out={bad}", *output),
        }

    def refused(self, fault, bad, only=()):
        """Runs the commands, which must refuse the bad source and make nothing."""
        assert fault.end == endings.REFUSED
        good = f"folder:{self.root}/good"
        before = snapshot(self.root)
        for name, command in self.commands(good, bad).items():
            if only and name not in only:
                continue
            process = call(*command)
            assert process.returncode == 1, name
            assert process.stderr.startswith("error: ")
            assert process.stderr.count("\n") == 1
            fault.check(process.stderr)
            assert snapshot(self.root) == before


TRAINING = ("learn", "test")


@pytest.fixture
def labeled(tmp_path, exported, monkeypatch):
    write_folder(tmp_path / "good", IMAGES, LABELS)
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    monkeypatch.setattr(trainer, "NUM_CHECKED", 2)
    return Labeled(tmp_path, exported[0])


def write_features(path, features):
    """Writes images, the last one with other features: lists by name and kind."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image, label in zip(IMAGES[:-1], LABELS[:-1], strict=True):
            writer.write(make_example(image, label))
        last = {IMAGE_FEATURE: tf.train.Feature(bytes_list={"value": [IMAGES[-1]]})}
        last |= {name: tf.train.Feature(**of) for name, of in features.items()}
        example = tf.train.Example(features=tf.train.Features(feature=last))
        writer.write(example.SerializeToString())


# --- empty ---------------------------------------------------------------------
@page.holds("empty labeled set")
@pytest.mark.parametrize("form", ["tfrecord", "webdataset", "gzip"])
def test_no_image(fault, labeled, form):
    path = labeled.root / "empty"
    if form == "webdataset":
        write_tar(path, [])
    else:
        write_records(path, [], compression="GZIP" if form == "gzip" else "")
    kind = "tfrecord" if form == "gzip" else form
    labeled.refused(fault, f"{kind}:{path}")


@page.holds("empty split of a labeled TFDS dataset")
def test_no_image_in_a_split(fault, labeled):
    directory = write_tfds(
        labeled.root / "shapes" / "1.0.0", {"image": IMAGES}, LABELS, ["label"]
    )
    labeled.refused(fault, f"tfds:{directory}:train[:0]")


@page.holds("`input_shards` that leaves a part without an image")
def test_no_image_in_an_input_shard(fault, labeled):
    write_records(labeled.root / "in" / "0", IMAGES, LABELS)
    write_records(labeled.root / "in" / "1", [])
    command = labeled.commands("", f"tfrecord:{labeled.root}/in/*")["learn"]
    command = (*command, f"--evaluation=folder:{labeled.root}/good")
    process = call(*command, "--set=input_shards=2")
    assert process.returncode == 1
    fault.check(process.stderr)
    assert not (labeled.root / "new").exists()


@page.holds("dataset without a record")
def test_no_record(fault, labeled):
    write_dataset(labeled.root / "dataset", [[], []])
    good = f"folder:{labeled.root}/good"
    commands = labeled.commands(good, good)
    for name in ("student", "compare"):
        process = call(*commands[name], f"--pseudo_labeled={labeled.root}/dataset")
        assert process.returncode == 1
        fault.check(process.stderr)
        assert not (labeled.root / "new").exists()


# --- labels --------------------------------------------------------------------
RECORDS = {
    "label that is text": {"bytes_list": {"value": [b"cat"]}},
    "label that is a float": {"float_list": {"value": [1.0]}},
    "image with two labels": {"int64_list": {"value": [0, 1]}},
    "label feature without a value": {"int64_list": {"value": []}},
    "negative label": {"int64_list": {"value": [-1]}},
    "label that is not below the number of classes": {"int64_list": {"value": [3]}},
    "labeled image without a label": None,
}


@page.holds(*RECORDS)
def test_labels_that_are_none(fault, labeled):
    label = RECORDS[fault.name]
    path = labeled.root / "records"
    write_features(path, {LABEL_FEATURE: label} if label is not None else {})
    labeled.refused(fault, f"tfrecord:{path}")


@page.holds("labeled records with other feature names")
def test_other_features(fault, labeled):
    with tf.io.TFRecordWriter(str(labeled.root / "records")) as writer:
        for image, label in zip(IMAGES, LABELS, strict=True):
            feature = {
                "picture": tf.train.Feature(bytes_list={"value": [image]}),
                "class": tf.train.Feature(int64_list={"value": [label]}),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    spec = f"tfrecord:{labeled.root}/records"
    labeled.refused(fault, spec)
    process = call(
        *labeled.commands("", spec)["evaluate"],
        *("--image_feature=picture", "--label_feature=class"),
    )
    assert process.returncode == 0, process.stderr
    assert f"of {len(IMAGES)} images" in process.stdout


TARS = {
    "sample without a label in a labeled tar file": [("txt", b"2")],
    "label in a tar file that is not a whole number": [("cls", b"1.0")],
    "sample with two labels in a tar file": [("cls", b"1"), ("CLS", b"2")],
}


@page.holds(*TARS)
def test_labels_of_tars_that_are_none(fault, labeled):
    members = [
        (f"{index}.{extension}", content)
        for index, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True))
        for extension, content in [
            ("png", image),
            *(TARS[fault.name] if index == LAST else [("cls", b"%d" % label)]),
        ]
    ]
    write_tar(labeled.root / "tar", members)
    labeled.refused(fault, f"webdataset:{labeled.root}/tar")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        *((b"2", 2), (b" 2\r\n", 2), (b"02", 2)),
        *((b"+2", -1), (b"2.0", -1), (b"1_0", -1), (b"", -1), (b"-1", -1)),
        *(("\u0663".encode(), -1), (b"\xff", -1), (b"12345678901", -1), (b"1 2", -1)),
    ],
)
def test_labels_of_tars_are_digits(tmp_path, text, label):
    write_tar(tmp_path / "tar", [("0.png", IMAGES[0]), ("0.cls", text)])
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    source = open_source(
        f"webdataset:{tmp_path}/tar", class_names_file=str(tmp_path / "names.txt")
    )
    (example,) = source.reader.examples(source.files[0])
    assert example.label == label
    assert (example.error == "") == (label >= 0)


@page.holds("upper-case extensions in a labeled tar file")
def test_extensions_in_capitals(fault, labeled):
    assert fault.end == endings.WORKS
    write_labeled_tar(labeled.root / "small", IMAGES, LABELS)
    capitals = [
        (f"{index}.{extension}", content)
        for index, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True))
        for extension, content in (("PNG", image), ("Cls", b"%d" % label))
    ]
    write_tar(labeled.root / "capitals", capitals)
    names = str(labeled.root / "names.txt")
    small, large = (
        inspection.inspect(
            open_source(f"webdataset:{labeled.root}/{name}", class_names_file=names)
        )
        for name in ("small", "capitals")
    )
    assert [label for _, label in large.labels[0]] == LABELS
    assert [label for _, label in small.labels[0]] == LABELS


# --- records -------------------------------------------------------------------
def open_records(root):
    return open_source(
        f"tfrecord:{root}/in/*", class_names_file=str(root / "names.txt")
    )


@page.holds("compressed labeled records, whatever the file's name")
def test_any_compression(fault, labeled, config):
    assert fault.end == endings.WORKS
    names = {"a": "GZIP", "b": "ZLIB", "c.gz": "", "d.gz": "GZIP", "e.gz": "ZLIB"}
    for name, compression in names.items():
        write_records(labeled.root / "in" / name, IMAGES, LABELS, compression)
    source = inspection.inspect(open_records(labeled.root), for_training=True)
    assert source.num_examples == len(names) * len(IMAGES)
    found = input_pipeline.evaluation_batches(source, config.image, batch_size=3)
    labels = [label for batch in found for label in batch["label"].numpy().tolist()]
    assert labels == LABELS * len(names)


@page.holds("compressed records that TensorFlow reads in part")
def test_compressed_in_part(fault, labeled):
    content = []
    for part in range(2):
        path = labeled.root / "plain"
        write_records(path, IMAGES[2 * part :][:2], LABELS[2 * part :][:2])
        content.append(zlib.compress(path.read_bytes()))
    (labeled.root / "records").write_bytes(b"".join(content))
    labeled.refused(fault, f"tfrecord:{labeled.root}/records", only=TRAINING)


@page.holds("corrupt record in a training set")
def test_broken_record(fault, labeled):
    path = labeled.root / "records"
    write_records(path, IMAGES, LABELS)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    labeled.refused(fault, f"tfrecord:{path}", only=TRAINING)


@page.holds("undecodable image in a training set")
def test_image_that_is_not_decoded(fault, labeled):
    path = labeled.root / "records"
    write_records(path, [*IMAGES[:-1], b"text"], LABELS)
    labeled.refused(fault, f"tfrecord:{path}", only=TRAINING)


# --- changes -------------------------------------------------------------------
CHANGES = {
    "labels that changed under the same file names": (IMAGES, LABELS[::-1]),
    "images that changed under the same file names": (IMAGES[::-1], LABELS),
}


@page.holds(*CHANGES)
@pytest.mark.parametrize("name", ["learn", "test", "evaluate", "compare", "calibrate"])
def test_changes(fault, labeled, name, trained):
    path, new = labeled.root / "records", labeled.root / "new"
    write_records(path, IMAGES, LABELS)
    good = f"folder:{labeled.root}/good"
    command = labeled.commands(good, f"tfrecord:{path}")[name]
    assert call(*command).returncode == 0
    assert "already complete" in call(*command).stdout
    write_records(path, *CHANGES[fault.name])
    before = snapshot(new)
    process = call(*command)
    assert process.returncode == 1
    fault.check(process.stderr)
    assert snapshot(new) == before


@page.holds("images that change during training")
@pytest.mark.parametrize("count", [0, 1, 5])
def test_images_change_while_training(fault, labeled, config, monkeypatch, count):
    assert fault.end == endings.FAILED
    monkeypatch.setattr(trainer, "_open_backend", lambda *_: FakeBackend())
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    path = labeled.root / "in" / "part"
    write_records(path, IMAGES, LABELS)
    source = open_records(labeled.root)
    sources = trainer.Sources(
        labeled=source, evaluation=source, class_names=source.class_names
    )
    run = trainer.open_run(config, sources)
    write_records(path, IMAGES[:count], LABELS[:count])
    context, _ = run_context(labeled.root / "run")
    with pytest.raises(ValueError, match=f"^tfrecord:{labeled.root}") as error:
        trainer.train(run, run.labeled_batches, context)
    fault.check(str(error.value))


@page.holds("file server that does not answer during training")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("part", ["training", "evaluation"])
def test_images_that_never_come(fault, number, part, config, tmp_path, monkeypatch):
    assert fault.end == endings.RESUMABLE
    monkeypatch.setattr(waiting, "PATIENCE", 0.05)
    context, _ = run_context(tmp_path)
    never = threading.Event()

    def stall():
        threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
        never.wait()
        yield {}

    started = time.monotonic()
    # Without a step there is nothing to save.
    is_at_once = part == "training" and number == signal.SIGINT
    with pytest.raises(KeyboardInterrupt if is_at_once else PreemptedError):
        loop.fit(
            FakeBackend(),
            config,
            make_batches=lambda start: (
                stall() if part == "training" else itertools.repeat({})
            ),
            make_evaluation_batches=stall,
            context=context,
        )
    assert time.monotonic() - started < 30
    never.set()


# --- classes -------------------------------------------------------------------
NAMES = {
    "blank before": " c",
    "blank behind": "c ",
    "other blank": "c\u00a0",
    "line break": "c\nd",
    "carriage return": "c\rd",
    "end of a line": "c\u2028d",
    "control character": "c\x1b[2Jd",
    "tab": "c\td",
    "bytes that are not UTF-8": "caf\udce9",
}


@page.holds("class names that are not those of the folders")
def test_other_names_than_those_of_the_folders(fault, labeled):
    (labeled.root / "names.txt").write_text("a\nb\nx\n")
    labeled.refused(fault, f"folder:{labeled.root}/good", only=("evaluate", "learn"))


@page.holds("class name of millions of characters")
def test_long_class_name(fault, labeled):
    write_records(labeled.root / "in", IMAGES, LABELS)
    (labeled.root / "names.txt").write_text(f"a\nb\n{'c' * 5_000_000}\n")
    labeled.refused(fault, f"tfrecord:{labeled.root}/in", only=("learn", "evaluate"))


@page.holds("class name that a dataset cannot hold")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_folders_that_are_no_class_names(fault, labeled, name):
    write_folder(labeled.root / "in", IMAGES, LABELS)
    (labeled.root / "in" / "c").rename(labeled.root / "in" / name)
    labeled.refused(fault, f"folder:{labeled.root}/in", only=("learn", "evaluate"))


@pytest.mark.parametrize("name", ["c\x00d", "c\x0bd", "c\td", "c\x85d", "c\u2028d"])
def test_files_that_hold_no_class_names(tmp_path, name):
    (tmp_path / "names.txt").write_text(f"a\nb\n{name}\n", encoding="utf-8")
    write_records(tmp_path / "in", IMAGES, LABELS)
    with pytest.raises(ValueError, match=r"names\.txt"):
        open_source(f"tfrecord:{tmp_path}/in", class_names_file=f"{tmp_path}/names.txt")


@page.holds("file of class names with a byte-order mark")
def test_byte_order_mark(fault, tmp_path):
    assert fault.end == endings.WORKS
    (tmp_path / "names.txt").write_bytes("\ufeffa\r\n b \r\nc\r\n\r\n".encode())
    assert read_class_names(str(tmp_path / "names.txt")) == ("a", "b", "c")


@pytest.fixture
def named(labeled):
    """A TFDS dataset; returns its source and the file of its class names."""
    directory = labeled.root / "in" / "1.0.0"
    write_tfds(directory, {"image": IMAGES}, LABELS)
    return f"tfds:{directory}:train", directory / "class.labels.txt"


@page.holds("byte-order mark in a TFDS dataset's class names")
def test_byte_order_mark_of_tfds(fault, named):
    assert fault.end == endings.WORKS
    source, path = named
    path.write_bytes("\ufeffa\r\nb\r\nc\r\n".encode())
    assert open_source(source).labeled_class_names() == ("a", "b", "c")


@page.holds("TFDS dataset with another number of class names than classes")
def test_more_names_than_classes(fault, labeled, named):
    source, path = named
    path.write_text("a\nb\nc\nd\n")
    labeled.refused(fault, source, only=("learn", "evaluate"))


@page.holds("TFDS dataset with class names that are not UTF-8")
def test_names_of_tfds_in_another_encoding(fault, labeled, named):
    source, path = named
    path.write_bytes(b"a\nb\nc\xe4\n")
    labeled.refused(fault, source, only=("learn",))


@page.holds("blank line between class names")
def test_blank_line_between_class_names(fault, labeled):
    write_records(labeled.root / "in", IMAGES, LABELS)
    (labeled.root / "names.txt").write_text("a\nb\n\nc\n")
    labeled.refused(fault, f"tfrecord:{labeled.root}/in")


@page.holds("student training without `--pseudo_labeled`")
def test_student_without_pseudo_labels(fault, labeled, trained):
    assert fault.end == endings.WORKS
    good = f"folder:{labeled.root}/good"
    process = call(*labeled.commands(good, good)["student"])
    assert process.returncode == 0
    fault.check(process.stdout)
