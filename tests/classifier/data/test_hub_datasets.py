"""Datasets of the Hugging Face Hub, from a stand-in on this machine."""

import builtins

import pytest
from huggingface_hub import constants

from classifier.data import hub_datasets
from classifier.data.python_reader import read_examples
from classifier.data.sources import open_source
from tests.classifier.data import hub_server
from tests.images import random_images, write_parquet

COMMIT, OTHER = "1" * 40, "2" * 40
IMAGES = random_images(6)
NAME = "owner/birds"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_server.serve() as (hub, address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield hub


@pytest.fixture
def part(tmp_path):
    """Returns the content of a Parquet file of some images."""

    def write(*rows):
        path = tmp_path / "part.parquet"
        images = [IMAGES[row] for row in rows]
        write_parquet(path, images, [row % 2 for row in rows], names=("hen", "owl"))
        return path.read_bytes()

    return write


def read(source):
    return list(read_examples(source.reader, source.files))


def test_the_files_of_a_split_of_one_commit(hub, part):
    files = {
        "data/train-00000-of-00002.parquet": part(0, 1),
        "data/train-00001-of-00002.parquet": part(2, 3),
        "data/test-00000-of-00001.parquet": part(4, 5),
        "README.md": b"---\nlicense: cc0-1.0\n---\n# Birds\n",
        "birds.py": b"raise SystemExit",
    }
    hub.add(NAME, files, commit=COMMIT)
    source = open_source(f"hf:{NAME}:train")
    assert source.labeled_class_names() == ("hen", "owl")
    found = read(source)
    assert [example.image for example in found] == IMAGES[:4]
    assert [example.label for example in found] == [0, 1, 0, 1]
    assert found[3].key == b"data/train-00001-of-00002.parquet#1"
    assert source.describe()["revision"] == COMMIT
    origin = source.origin()
    assert (origin.license, origin.revision) == ("cc0-1.0", COMMIT)
    asked = " ".join(path for _, path in hub.requests)
    assert "test-0" not in asked
    assert "birds.py" not in asked
    assert len(read(open_source(f"hf:{NAME}:test"))) == 2


def test_a_branch_that_moved_is_another_source(hub, part):
    name = "train.parquet"
    hub.add(NAME, {name: part(0)}, commit=COMMIT)
    before = open_source(f"hf:{NAME}:train")
    hub.add(NAME, {name: part(1)}, commit=OTHER)
    after = open_source(f"hf:{NAME}:train")
    assert before.describe() != after.describe()
    assert [example.image for example in read(before)] == IMAGES[:1]
    assert [example.image for example in read(after)] == IMAGES[1:2]
    pinned = open_source(f"hf:{NAME}@{COMMIT}:train")
    assert pinned.describe() == before.describe()


def test_the_card_is_of_the_commit_whose_files_are_read(hub, part, monkeypatch):
    files = {"old/a.parquet": part(0), "new/a.parquet": part(1)}
    cards = [
        b"---\nconfigs:\n- data_files: %s/*\nlicense: %s\n---\n" % words
        for words in ((b"old", b"mit"), (b"new", b"gpl-3.0"))
    ]
    hub.add(NAME, {**files, "README.md": cards[0]}, commit=COMMIT)
    find = hub_datasets._find

    def find_before_a_push(*arguments):
        found = find(*arguments)
        hub.add(NAME, {**files, "README.md": cards[1]}, commit=OTHER)
        return found

    monkeypatch.setattr(hub_datasets, "_find", find_before_a_push)
    source = open_source(f"hf:{NAME}:train")
    assert (source.revision, source.license) == (COMMIT, "mit")
    assert [example.image for example in read(source)] == IMAGES[:1]


def test_without_a_network_the_cache_is_read(hub, part, monkeypatch):
    files = {f"data/train-0000{i}-of-00002.parquet": part(i) for i in range(2)}
    hub.add(NAME, files, commit=COMMIT)
    online = open_source(f"hf:{NAME}:train")
    hub.repositories.clear()
    offline = open_source(f"hf:{NAME}:train")
    assert offline.describe() == online.describe()
    assert read(offline) == read(online)
    with pytest.raises(OSError, match="parquet:GLOB"):
        open_source("hf:owner/other:train")


def test_a_cache_that_lacks_a_part_is_no_source(hub, part):
    files = {f"data/train-0000{i}-of-00002.parquet": part(i) for i in range(2)}
    hub.add(NAME, files, commit=COMMIT)
    source = open_source(f"hf:{NAME}:train")
    hub.repositories.clear()
    hub_datasets.pathlib.Path(source.files[0].path).unlink()
    with pytest.raises(ValueError, match="2 files, got 1"):
        open_source(f"hf:{NAME}:train")


def test_the_conversion_of_the_hub_stands_in_for_other_formats(hub, part):
    card = b"---\nlicense: mit\n---\n"
    hub.add(NAME, {"train/a.jpg": IMAGES[0], "README.md": card}, commit=COMMIT)
    converted = {
        "default/train/0000.parquet": part(0, 1),
        "small/test/0000.parquet": part(2),
        "default/test/0000.parquet": part(3),
    }
    hub.add(NAME, converted, commit=OTHER, revision="refs/convert/parquet")
    source = open_source(f"hf:{NAME}:train")
    assert source.describe()["revision"] == OTHER
    assert len(read(source)) == 2
    with pytest.raises(ValueError, match="CONFIG/SPLIT"):
        open_source(f"hf:{NAME}:test")
    (found,) = read(open_source(f"hf:{NAME}:small/test"))
    assert found.image == IMAGES[2]
    hub.repositories.clear()
    assert open_source(f"hf:{NAME}:train").describe() == source.describe()


CARD = {
    "configs": [
        {"config_name": "large", "data_files": [{"split": "train", "path": "large/*"}]},
        {
            "config_name": "default",
            "data_files": [
                {"split": "train", "path": ["x/1.parquet", "x/2.parquet"]},
                {"split": "test", "path": "y/*.parquet"},
            ],
        },
    ]
}
FILES = ["large/1.parquet", "x/1.parquet", "x/2.parquet", "y/3.parquet", "z.parquet"]


@pytest.mark.parametrize(
    ("card", "config", "split", "expected"),
    [
        (CARD, None, "train", ["x/1.parquet", "x/2.parquet"]),
        (CARD, None, "test", ["y/3.parquet"]),
        (CARD, None, "dev", []),
        (CARD, "large", "train", ["large/1.parquet"]),
        (CARD, "small", "train", []),
        ({"configs": CARD["configs"][:1]}, None, "train", ["large/1.parquet"]),
        ({"configs": [{"data_files": "y/*"}]}, None, "train", ["y/3.parquet"]),
        ({}, None, "large", ["large/1.parquet"]),
        ({"configs": "x"}, None, "z", ["z.parquet"]),
        (
            {"configs": [3, {"data_files": [None, {"split": "train"}]}]},
            None,
            "train",
            [],
        ),
        ({"configs": [{"data_files": {"train": "x"}}]}, None, "train", []),
    ],
)
def test_a_card_says_which_files_are_of_a_split(card, config, split, expected):
    assert hub_datasets.choose_files(FILES, card, config, split) == expected


def test_a_split_is_a_word_of_a_name():
    names = ["data/train-0.parquet", "data/retrain.parquet", "trainer/0.parquet"]
    assert hub_datasets.choose_files(names, {}, None, "train") == names[:1]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, []),
        ("en", ["en/train-0.parquet", "en/train-1.parquet"]),
        ("fr", ["fr/train-0.parquet"]),
        ("de", []),
    ],
)
def test_files_without_a_card_are_of_one_configuration(config, expected):
    names = ["en/test.parquet", *(f"en/train-{n}.parquet" for n in (0, 1))]
    names += ["fr/train-0.parquet", "data/train/test-0.parquet"]
    assert hub_datasets.choose_files(names, {}, config, "train") == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.parquet", ["a.parquet"]),
        ("x/*", ["x/a.parquet"]),
        ("x/**", ["x/a.parquet", "x/y/a.parquet"]),
        ("**/a.parquet", ["a.parquet", "x/a.parquet", "x/y/a.parquet"]),
        ("x/**/y/a.*", ["x/y/a.parquet"]),
        ("x", []),
    ],
)
def test_a_star_of_a_card_is_within_one_folder(pattern, expected):
    names = ["a.parquet", "x/a.parquet", "x/y/a.parquet"]
    card = {"configs": [{"data_files": pattern}]}
    assert hub_datasets.choose_files(names, card, None, "train") == expected


@pytest.mark.parametrize("rest", ["birds", "owner/birds", "a/b/c:train", "../x:train"])
def test_a_name_that_is_none_is_refused(rest):
    with pytest.raises(ValueError, match="hf:OWNER/NAME:SPLIT"):
        open_source(f"hf:{rest}")


def test_names_that_lead_out_of_the_cache_are_not_fetched(hub, part):
    hub.add(NAME, {"../train.parquet": part(0)}, commit=COMMIT)
    with pytest.raises(ValueError, match="got none"):
        open_source(f"hf:{NAME}@main:train")


def test_without_the_library_the_extra_is_named(monkeypatch):
    original = builtins.__import__

    def fail(name, *rest):
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(ValueError, match=r"\[hub\]"):
        open_source(f"hf:{NAME}:train")
