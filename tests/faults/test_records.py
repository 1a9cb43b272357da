"""Broken TFRecords and tar files, a file for each fault: two jobs label them all."""

import gzip
import io
import os
import tarfile

import pytest
import tensorflow as tf

from classifier.data import sampling, streams, tfrecord
from classifier.data.readers import IMAGE_FEATURE, LABEL_FEATURE, read_files
from classifier.data.sources import open_source
from classifier.training import presets, unlabeled
from stage.status import BAD_RECORD, EMPTY
from tests.faults import job, page
from tests.images import make_example, random_images, write_tfds

IMAGES = random_images(3)
EXAMPLES = [make_example(image) for image in IMAGES]
#: Bytes in front of a record's content.
HEADER = 12


def frames(*records):
    content = io.BytesIO()
    for record in records:
        tfrecord.write_record(content, record)
    return content.getvalue()


def record(**features):
    """Returns an Example; `image` and `label` stand for the usual names."""
    names = {"image": IMAGE_FEATURE, "label": LABEL_FEATURE}
    feature = {names.get(name, name): value for name, value in features.items()}
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString()


def contents(*values):
    return tf.train.Feature(bytes_list={"value": values})


def numbers(*values):
    return tf.train.Feature(int64_list={"value": values})


def between(record):
    """Returns a shard with a record between two good ones."""
    return frames(EXAMPLES[0], record, EXAMPLES[1])


def spoiled(content, position):
    position %= len(content)
    other = bytes([content[position] ^ 0xFF])
    return content[:position] + other + content[position + 1 :]


GOOD = frames(*EXAMPLES)
SECOND = len(frames(EXAMPLES[0]))
BETWEEN = "ok bad ok"
RECORDS = {
    "truncated record": (GOOD[:-20], "ok ok bad"),
    "record whose content has a wrong checksum": (
        spoiled(GOOD, SECOND + HEADER + 5),
        BETWEEN,
    ),
    "record whose length has a wrong checksum": (spoiled(GOOD, SECOND + 9), "ok bad"),
    "TFRecord file of zero bytes": (b"", ""),
    "text file read as TFRecord": (b"no record at all, but words", "bad"),
    "compressed TFRecord file, whatever its name": (gzip.compress(GOOD), "ok ok ok"),
    "truncated compressed TFRecord file": (gzip.compress(GOOD)[:-9], "ok ok ok bad"),
    "TFRecord file deleted after the source was listed": (GOOD, "bad"),
    "TFRecord file truncated after the source was listed": (
        GOOD,
        "bad",
    ),
    "record that is not a tf.train.Example": (between(b"no Example"), BETWEEN),
    "record without the image feature": (
        between(record(photo=contents(IMAGES[0]))),
        BETWEEN,
    ),
    "image feature of another type": (
        between(record(image=numbers(7))),
        BETWEEN,
    ),
    "record with two images": (
        between(record(image=contents(*IMAGES[:2]))),
        BETWEEN,
    ),
    "record with an image of zero bytes": (
        between(record(image=contents(b""))),
        BETWEEN,
    ),
    "label of another type in a record to be labeled": (
        between(record(image=contents(IMAGES[2]), label=contents(b"cat"))),
        "ok ok ok",
    ),
}


def tar(*members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as file:
        for name, image in members:
            header = tarfile.TarInfo(name)
            if image is None:
                header.type, header.linkname = tarfile.SYMTYPE, "elsewhere.png"
            header.size = len(image or b"")
            file.addfile(header, io.BytesIO(image or b""))
    return content.getvalue()


def tar_between(*members):
    return tar(("0.png", IMAGES[0]), *members, ("9.png", IMAGES[1]))


def sized(name, size, kind=tarfile.REGTYPE):
    """Returns a header that claims a size."""
    header = tarfile.TarInfo(name)
    header.size, header.type = size, kind
    return header.tobuf(tarfile.GNU_FORMAT)


#: Bytes of the first member of `tar_between`.
MEMBER = 512 + -(-len(IMAGES[0]) // 512) * 512
TARS = {
    # Within the second image: each has a header of 512 bytes and as many to fill up.
    "truncated tar file": (tar_between()[:3000], "ok bad"),
    "tar file overwritten after the source was listed": (tar_between(), "bad"),
    "text file read as tar file": (b"no tar file at all, but words" * 99, "bad"),
    "concatenated tar files": (tar_between() * 2, "ok ok ok ok"),
    "concatenated tar files, each compressed": (
        gzip.compress(tar_between()) * 2,
        "ok ok ok ok",
    ),
    "block of zeros within a tar file": (
        tar_between()[:MEMBER] + bytes(512) + tar_between()[MEMBER:],
        "ok ok",
    ),
    "zeros in place of the rest of a tar file": (
        tar_between()[:MEMBER] + bytes(99_999),
        "ok bad",
    ),
    "zeros in place of a member of a tar file": (
        tar_between()[:MEMBER] + bytes(6 * 512) + tar_between()[MEMBER:],
        BETWEEN,
    ),
    "zeros in place of members that look like the end of a tar file": (
        tar_between()[:MEMBER] + bytes(1024) + tar_between()[MEMBER:],
        "ok ok",
    ),
    "tar file padded to a larger record": (
        tar_between().ljust(2000 * 512, b"\0"),
        "ok ok",
    ),
    "tar file padded to an unusual record": (
        tar_between().ljust(2001 * 512, b"\0"),
        "ok ok bad",
    ),
    "name of a volume in a tar file": (
        sized("photos.png", 0, b"V") + tar_between(),
        "ok ok",
    ),
    "part of a file of another volume in a tar file": (
        tar_between()[:MEMBER]
        + sized("1.png", 512, b"M")
        + b"x" * 512
        + tar_between()[MEMBER:],
        BETWEEN,
    ),
    "text behind the end of a tar file": (tar_between() + b"words" * 200, "ok ok bad"),
    "tar file truncated between two members": (tar_between()[:MEMBER], "ok bad"),
    "truncated compressed tar file": (gzip.compress(tar_between())[:-9], "ok ok bad"),
    "compressed tar file with a wrong checksum": (
        spoiled(gzip.compress(tar_between()), -8),
        "ok ok bad",
    ),
    "tar file that decompresses to a thousand times its size": (
        gzip.compress(tar_between() + bytes(2**24)),
        "ok ok bad",
    ),
    "tar header that claims 2^62 bytes": (
        tar_between()[:MEMBER] + sized("1.png", 2**62) + tar_between()[MEMBER:],
        "ok bad",
    ),
    "tar header that claims a name of 3 GB": (
        tar_between()[:MEMBER] + sized("x", 3 * 2**30, tarfile.GNUTYPE_LONGNAME),
        "ok bad",
    ),
    "tar member with thousands of long-name headers": (
        (sized("x", 6, tarfile.GNUTYPE_LONGNAME) + b"y.png".ljust(512, b"\0")) * 3000
        + tar_between(),
        "ok ok",
    ),
    "sparse file in a tar file": (
        tar_between()[:MEMBER]
        + sized("1.png", 0, tarfile.GNUTYPE_SPARSE)
        + tar_between()[MEMBER:],
        BETWEEN,
    ),
    "sample without an image": (tar_between(("1.txt", b"a cat")), BETWEEN),
    "sample with two images": (
        tar_between(("1.png", IMAGES[1]), ("1.jpg", IMAGES[2])),
        BETWEEN,
    ),
    "link in place of an image in a tar file": (tar_between(("1.png", None)), BETWEEN),
    "tar member with `..` in its path": (
        tar_between(("../../../outside.png", IMAGES[2])),
        "ok ok ok",
    ),
    "two samples with the same name": (
        tar(("0.png", IMAGES[0]), ("1.png", IMAGES[1]), ("0.png", IMAGES[2])),
        "ok ok ok",
    ),
}


def label(root, teacher, kind, faults):
    """Labels a file for each fault; returns the rows by the fault's name."""
    (root / "in").mkdir(parents=True)
    for fault, (content, _) in faults.items():
        (root / "in" / fault).write_bytes(content)

    def change_files():
        for name in faults:
            path = root / "in" / name
            if name == "TFRecord file deleted after the source was listed":
                path.unlink()
            elif name == "TFRecord file truncated after the source was listed":
                os.truncate(path, SECOND)
            elif name == "tar file overwritten after the source was listed":
                os.utime(path, (7, 7))

    job.label(
        f"{kind}:{root}/in/*",
        root / "out",
        lambda: job.settings(teacher),
        before_reading=change_files,
    )
    rows = {fault: [] for fault in faults}
    for row in job.read_rows(root / "out"):
        rows[row["key"].partition("#")[0]].append(row)
    return rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory, exported):
    root = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_FREE_BYTES", 2**20)  # A small bomb is enough.
        return {
            **label(root / "records", exported[0], "tfrecord", RECORDS),
            **label(root / "tars", exported[0], "webdataset", TARS),
        }


@page.holds("TFDS file with more records than the dataset claims")
def test_more_records_than_claimed(fault, tmp_path, exported):
    directory = tmp_path / "shapes" / "1.0.0"
    write_tfds(directory, {"image": IMAGES}, [0, 1, 2])
    info = directory / "dataset_info.json"
    info.write_text(info.read_text().replace('"3"', '"2"'))
    job.label(
        f"tfds:{directory}:train", tmp_path / "out", lambda: job.settings(exported[0])
    )
    *good, extra = job.read_rows(tmp_path / "out")
    assert [row["status"] for row in good] == ["ok", "ok"]
    assert extra["key"].endswith("#2")
    assert extra["status"] == fault.status
    fault.check(extra["error"])


def draw(path, kind):
    """Draws a sample of a file; returns its log line, and reads it as training does."""
    sample = sampling.draw(open_source(f"{kind}:{path}"), 100)
    files = read_files(sample.source.reader, sample.source.files)
    assert len(list(files)) == sample.num_images
    return unlabeled.describe(sample, presets.tiny()), sample.num_images


LEARNED = {
    "record without an image, of which a teacher is to learn without labels": (
        "record that is not a tf.train.Example"
    ),
    "damaged record, of which a teacher is to learn without labels": (
        "record whose content has a wrong checksum"
    ),
}


@page.holds(*LEARNED)
def test_the_log_says_what_a_teacher_does_not_learn_from(fault, tmp_path):
    (tmp_path / "a").write_bytes(RECORDS[LEARNED[fault.name]][0])
    fault.check(draw(tmp_path / "a", "tfrecord")[0])


@page.holds(*RECORDS, *TARS)
def test_a_teacher_learns_from_all_that_tensorflow_reads(fault, tmp_path):
    content, pattern = {**RECORDS, **TARS}[fault.name]
    (tmp_path / "a").write_bytes(content)
    if "after the source was listed" in fault.name:
        pattern = "ok ok ok" if fault.name in RECORDS else "ok ok"
    if fault.end not in (BAD_RECORD, EMPTY):
        pattern = pattern.partition("bad")[0]
    kind = "tfrecord" if fault.name in RECORDS else "webdataset"
    if "ok" in pattern:
        assert draw(tmp_path / "a", kind)[1] == pattern.count("ok")
    else:
        with pytest.raises(ValueError, match="found none"):
            draw(tmp_path / "a", kind)


@page.holds(*RECORDS, *TARS)
def test_a_record_is_a_row_and_harms_no_other(fault, rows):
    _, pattern = {**RECORDS, **TARS}[fault.name]
    found = rows[fault.name]
    wanted = [fault.status if word == "bad" else word for word in pattern.split()]
    assert [row["status"] for row in found] == wanted
    assert len({row["key"] for row in found}) == len(found)
    for row in found:
        if row["status"] == "ok":
            assert not row["error"]
        else:
            fault.check(row["error"])
    outside = rows["tar member with `..` in its path"][1]["key"]
    assert outside.endswith("#1/../../../outside")
