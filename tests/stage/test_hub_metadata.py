import pytest

from stage import hub_metadata
from stage.licenses import Origin


def read(text):
    hub = pytest.importorskip("huggingface_hub")
    return hub.ModelCard(text + "# Title\n").data.to_dict()


NAMES = (
    *("yes", "1.5", "null", "a: b # c", "---", "- x", "{}", "", " ", "'\"\\"),
    *("Möwe 🐦", "a\nb", "\u2028", "\x1b[2J", "\ud800", "!!python/object:os.system"),
)


def test_text_stays_text():
    found = read(hub_metadata.front_matter({"tags": NAMES, "left_out": []}))["tags"]
    shown = [hub_metadata._printable(name) for name in NAMES]
    assert found == shown
    assert shown[:5] == list(NAMES[:5])


def test_nested_values_and_numbers():
    values = {"model-index": [{"name": "n", "value": 0.9767, "list": ("a", 1)}]}
    text = hub_metadata.front_matter(values)
    assert text.startswith("---\nmodel-index: [")
    assert text.endswith("]\n---\n\n")
    assert '"value": 0.9767, "list": ["a", 1]' in text


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        ((), {"license": "unknown"}),
        (("unknown",), {"license": "unknown"}),
        (("MIT", "unknown"), {"license": "unknown"}),
        (("CC-BY-4.0", "CC-BY-4.0"), {"license": "cc-by-4.0"}),
        (("MIT", "CC-BY-4.0"), {"license": "other"}),
        (("my own words",), {"license": "other"}),
    ],
)
def test_a_license_is_stated_where_all_origins_have_it(licenses, expected):
    ledger = tuple(
        Origin(kind="images", name=str(number), license=license)
        for number, license in enumerate(licenses)
    )
    found = hub_metadata.license_fields(ledger)
    assert {"license": found["license"]} == expected
    assert ("license_name" in found) == (expected["license"] == "other")


def test_repositories_are_those_of_the_hub():
    names = ("hf:me/birds:train", "hf:timm/resnet@abc", "folder:me/birds", "hf:x")
    ledger = [Origin(kind="images", name=name) for name in names]
    found = hub_metadata.repositories(tuple(ledger), "images")
    assert found == ["me/birds", "timm/resnet"]
    assert hub_metadata.repositories(tuple(ledger), "weights") == []
    assert hub_metadata.repositories(None, "images") == []
