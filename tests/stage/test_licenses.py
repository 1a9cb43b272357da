import dataclasses
import itertools
import json
import os

import pytest

from stage import artifact, licenses
from stage.licenses import Origin

BIRDS = Origin(kind="images", name="folder:birds", fingerprint="a" * 64)
WEIGHTS = Origin(
    kind="weights", name="hf:me/net", license="Apache-2.0", stated_by="publisher"
)
HOSTILE = ("<script>|`x`", "\x1b[2J", "‮evil", "x" * 10**6, "a\n\nb # c")


def test_a_ledger_is_read_as_it_was_written(tmp_path):
    ledger = licenses.merge([WEIGHTS, licenses.state(BIRDS, "CC-BY-4.0")])
    licenses.write(tmp_path, ledger)
    assert licenses.read(tmp_path) == ledger
    assert ledger[0].license == "CC-BY-4.0"
    assert ledger[0].stated_by == "user"


def test_the_order_of_merging_does_not_matter():
    other = dataclasses.replace(BIRDS, name="folder:more")
    parts = [(BIRDS,), (WEIGHTS, other), (licenses.state(BIRDS, "CC0-1.0"),)]
    found = {licenses.merge(*order) for order in itertools.permutations(parts)}
    assert len(found) == 1
    (merged,) = found
    assert licenses.merge(merged, merged) == merged
    assert licenses.merge(licenses.merge(*parts[:2]), *parts[2:]) == merged


def test_a_known_license_replaces_unknown_and_no_other_known_one():
    known = licenses.state(BIRDS, "CC0-1.0")
    assert licenses.merge([BIRDS], [known]) == (known,)
    other = licenses.state(BIRDS, "MIT")
    assert licenses.merge([BIRDS], [known], [other]) == (known, other)


def test_other_content_of_the_same_name_is_another_origin():
    changed = dataclasses.replace(BIRDS, fingerprint="b" * 64)
    assert licenses.merge([licenses.state(BIRDS, "MIT")], [changed])[1] == changed


def test_an_artifact_of_an_earlier_version_is_listed_itself(tmp_path):
    (origin,) = licenses.read(tmp_path / "runs" / "teacher")
    assert (origin.kind, origin.license) == ("artifact", licenses.UNKNOWN)
    assert origin.name == ".../runs/teacher"
    known = licenses.merge([WEIGHTS])
    licenses.write(tmp_path, known)
    assert licenses.inherit([tmp_path, tmp_path / "runs" / "teacher"]) == (
        origin,
        WEIGHTS,
    )


def test_a_ledger_can_be_written_anew_when_the_artifact_is_complete(tmp_path):
    artifact.start_or_resume(tmp_path, {})
    licenses.write(tmp_path, (BIRDS,))
    (tmp_path / artifact.CARD).write_text("short")
    artifact.complete(tmp_path, seconds=0)
    licenses.write(tmp_path, (licenses.state(BIRDS, "CC-BY-4.0"),))
    (tmp_path / artifact.CARD).write_text("much longer")
    assert artifact.start_or_resume(tmp_path, {}) is True


def test_a_card_that_an_earlier_version_counted_may_change(tmp_path):
    artifact.start_or_resume(tmp_path, {})
    artifact.complete(tmp_path, seconds=0)
    completed = json.loads((tmp_path / artifact.COMPLETED).read_text())
    completed["files"][artifact.CARD] = 5
    artifact.write_json(tmp_path / artifact.COMPLETED, completed)
    artifact.check_sizes(tmp_path)


def test_a_ledger_that_did_not_change_is_not_written(tmp_path):
    licenses.write(tmp_path, (BIRDS,))
    path = tmp_path / artifact.LICENSES
    os.utime(path, (1, 1))
    licenses.write(tmp_path, (BIRDS,))
    assert path.stat().st_mtime == 1


def test_what_was_known_stays_unless_another_license_is_stated(tmp_path):
    gone = dataclasses.replace(WEIGHTS, name="of another run")
    licenses.write(tmp_path, licenses.merge([licenses.state(BIRDS, "MIT"), gone]))
    licenses.write(tmp_path, (BIRDS,))
    assert licenses.read(tmp_path) == (licenses.state(BIRDS, "MIT"),)
    corrected = (licenses.state(BIRDS, "CC0-1.0"),)
    licenses.write(tmp_path, corrected)
    assert licenses.read(tmp_path) == corrected


@pytest.mark.parametrize("text", HOSTILE)
def test_licenses_in_metadata_become_one_short_printable_line(text, tmp_path):
    origin = licenses.state_published(BIRDS, text)
    assert origin.license.isprintable()
    assert 0 < len(origin.license) <= licenses.MAX_LICENSE
    licenses.write(tmp_path, (origin,))
    assert licenses.read(tmp_path) == (origin,)


def test_empty_metadata_state_nothing():
    assert licenses.state_published(BIRDS, " \n") == BIRDS
    assert licenses.state(BIRDS, None) == BIRDS


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"origins": [{"kind": "other", "name": "x"}]}',
        '{"origins": [{"kind": "images", "name": 3}]}',
        '{"origins": [{"kind": "images", "name": "x", "license": ""}]}',
        json.dumps({"origins": [{"kind": "images", "name": "x" * 1001}]}),
        json.dumps(
            {"origins": [{"kind": "images", "name": "x", "license": "y" * 999}]}
        ),
    ],
)
def test_a_broken_ledger_is_named(content, tmp_path):
    (tmp_path / artifact.LICENSES).write_text(content)
    with pytest.raises(ValueError, match=artifact.LICENSES):
        licenses.read(tmp_path)


SOURCES = {"images": "folder:x", "init_from": "hf:me/net", "unlabeled": None}


def test_flags_state_licenses():
    given = ["images=CC-BY-4.0 OR MIT", "init_from=my own, 2026 = free"]
    assert licenses.parse(given, **SOURCES) == {
        "images": "CC-BY-4.0 OR MIT",
        "init_from": "my own, 2026 = free",
    }


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["images"], "images=, init_from="),
        (["unlabeled=MIT"], "images=, init_from="),
        (["labeled=MIT"], "images=, init_from="),
        (["images="], "1 to 200"),
        (["images= MIT"], "1 to 200"),
        (["images=a\nb"], "one line"),
        (["images=" + "x" * 201], "1 to 200"),
        (["images=MIT", "images=MIT"], "got two"),
    ],
)
def test_wrong_licenses_are_refused(given, named):
    with pytest.raises(ValueError, match=named) as error:
        licenses.parse(given, **SOURCES)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("spec", "public"),
    [
        ("folder:birds/all", "folder:birds/all"),
        ("tfds:mnist:train[:50]", "tfds:mnist:train[:50]"),
        ("hf:me/net@abc", "hf:me/net@abc"),
        ("folder:/data/secret/birds/all/", "folder:.../birds/all"),
        ("folder:/home/me/birds", "folder:.../birds"),
        ("folder:../me/birds", "folder:.../me/birds"),
        ("keras_h5:ResNet50:/data/x/w.h5", "keras_h5:ResNet50:.../x/w.h5"),
        ("tfrecord:gs://bucket/a/b/*.x", "tfrecord:gs://bucket/a/b/*.x"),
        ("gs://bucket/a/b/c", "gs://bucket/a/b/c"),
        ("tfds:/srv/runs/digits/1.0.0:train", "tfds:digits/1.0.0:train"),
        ("folder:/srv/runs", "folder:.../srv/runs"),
        ("/srv/runs/teacher", "teacher"),
        ("folder:../../home/me/birds/all", "folder:.../birds/all"),
        ("onnx:../nets/a.onnx", "onnx:.../nets/a.onnx"),
        ("../runs/teacher", "teacher"),
        ("runs/../teacher", "runs/../teacher"),
    ],
)
def test_names_do_not_tell_where_a_user_keeps_files(spec, public, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(os, "getcwd", lambda: "/srv/runs")
    assert licenses.public_name(spec) == public


def test_published_weights_are_an_origin_and_artifacts_pass_theirs_on(tmp_path):
    described = {"file": "w.h5", "sha256": "a" * 64, "license": "MIT", "url": "x"}
    (origin,) = licenses.trace("keras:imagenet", described)
    assert (origin.name, origin.fingerprint) == ("keras:imagenet (w.h5)", "a" * 64)
    assert (origin.license, origin.stated_by) == ("MIT", "publisher")
    (stated,) = licenses.trace("hf:me/net", {"revision": "b"}, "Apache-2.0")
    assert (stated.revision, stated.stated_by) == ("b", "user")
    (unknown,) = licenses.trace("safetensors:/data/x/w.safetensors", {"file": "w"})
    assert unknown.license == licenses.UNKNOWN
    artifact.start_or_resume(tmp_path, {})
    licenses.write(tmp_path, (WEIGHTS,))
    assert licenses.trace(str(tmp_path), {}) == (WEIGHTS,)
    with pytest.raises(ValueError, match=r"licenses\.json"):
        licenses.trace(str(tmp_path), {}, "MIT")
