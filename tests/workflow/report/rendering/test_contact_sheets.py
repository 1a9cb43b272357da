import base64

from tests.workflow.report.rendering.pages import Reader, macro
from workflow.report.rendering import contact_sheets
from workflow.samples.tiles import SHEETS, Sample


def draw(samples, class_names):
    sheets = contact_sheets.arrange(samples)
    return macro("contact_sheets.html", "contact_sheets")(sheets, class_names)


def sample(**changed):
    facts = {
        "sheet": "highest",
        "position": 0,
        "key": "k",
        "shard": 0,
        "row": 0,
        "label": 0,
        "confidence": 0.5,
        "copies": 1,
        "reason": "",
        "thumbnail": b"\xff\xd8\xff\xe0 a JPEG",
        "twin_key": None,
        "twin_thumbnail": None,
    }
    return Sample(**{**facts, **changed})


def test_a_tile_shows_image_label_confidence_and_copies():
    html = draw([sample(copies=3)], ["<ant>"])
    read = Reader(html)
    assert "&lt;ant&gt;" in html
    assert "50.0%, 3\N{MULTIPLICATION SIGN}" in read.text
    assert read.values("src") == [
        "data:image/jpeg;base64,"
        + base64.b64encode(b"\xff\xd8\xff\xe0 a JPEG").decode()
    ]
    # The other sheets say that they have none.
    assert read.text.count("None.") == len(SHEETS) - 1


def test_other_bytes_are_not_shown_as_an_image():
    for thumbnail in (None, b"", b"<svg onload=alert(1)>"):
        html = draw([sample(thumbnail=thumbnail, label=None)], [])
        assert "<img" not in html
        assert "no image" in html


def test_matches_are_shown_side_by_side():
    twin = sample(sheet="leaked", twin_key="<other>", twin_thumbnail=b"\x89PNG")
    html = draw([twin], ["a"])
    assert html.count("<img") == 2
    assert "matches &lt;other&gt;" in html


def test_sheets_share_the_budget(monkeypatch):
    monkeypatch.setattr(contact_sheets, "BUDGET", 100)
    large, small = b"\xff\xd8\xff" + bytes(27), b"\xff\xd8\xff"
    samples = [sample(position=at, thumbnail=large) for at in range(9)]
    samples += [sample(sheet="random", position=at, thumbnail=small) for at in range(9)]
    highest, random, *others = contact_sheets.arrange(samples)
    assert (len(highest.shown), highest.total) == (2, 9)
    assert (len(random.shown), random.total) == (2, 9)
    assert not any(sheet.shown or sheet.total for sheet in others)
