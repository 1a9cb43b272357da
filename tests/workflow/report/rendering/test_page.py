import base64
import collections
import dataclasses
import hashlib
import importlib.resources
import itertools
import re
import shutil

import pytest

from tests.workflow.report import runs
from tests.workflow.report.rendering.test_markup import Reader
from workflow.report.analysis import figures, verdict
from workflow.report.rendering import contact_sheets, page
from workflow.samples.choice import SHEETS, Sample

MEGABYTES = 5
#: Of the page's own making; a name from outside must add none.
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "link",
        "style",
        "body",
        "header",
        "main",
        "nav",
    ),
    *("section", "aside", "ul", "ol", "li", "a", "h1", "h2", "h3", "p", "b", "strong"),
    *("bdi", "span", "div", "figure", "figcaption", "table", "thead", "tbody", "tr"),
    *("th", "td", "details", "summary", "code", "pre", "img"),
    *("svg", "defs", "pattern", "path", "desc", "rect", "circle", "text"),
}


def make(run):
    found = figures.read_figures(run, verdict.make_report(run))
    samples = figures.read_samples(run, found)
    return page.make_page(found, samples, json_name="report.json")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return runs.make(tmp_path_factory.mktemp("page") / "<b>demo</b>")


@pytest.fixture(scope="module")
def html(run):
    return make(run)


@pytest.fixture(scope="module")
def read(html):
    return Reader(html)


def attributes(read, name):
    return [value for key, value in read.attributes if key == name]


def test_hostile_names_become_no_elements(html, read):
    assert set(read.tags) <= TAGS
    assert not [key for key, _ in read.attributes if key.startswith("on")]
    assert "<script>alert(1)" in read.text
    assert not set(html) & set("\u202e\u200f\x00\x1b")
    html.encode()


def test_nothing_is_fetched(read):
    for name in ("src", "href", "data", "action", "srcset"):
        for value in attributes(read, name):
            assert value.startswith(("#", "data:")) or value == "report.json"
    style = (
        importlib.resources.files("workflow.report.rendering")
        .joinpath(page.STYLE)
        .read_text()
    )
    assert set(re.findall(r"url\((.*?)\)", style)) == {"#hatching"}
    assert "@import" not in style


def test_the_policy_allows_its_style_and_images_within_it(html, read):
    (policy,) = (
        value for value in attributes(read, "content") if "default-src" in value
    )
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert dict(rule.split(" ", 1) for rule in policy.split("; ")) == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # The policy stands before all that it is about, and no style beside its own.
    assert html.index("Content-Security-Policy") < html.index("<style>")
    assert not attributes(read, "style")


def test_the_page_can_be_heard(html, read):
    assert '<html lang="en">' in html
    levels = [int(tag[1]) for tag in read.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert set(attributes(read, "scope")) == {"col", "row"}
    assert read.tags.count("th") == len(attributes(read, "scope"))
    ids = collections.Counter(attributes(read, "id"))
    assert set(ids.values()) == {1}
    for target in attributes(read, "href"):
        assert not target.startswith("#") or target[1:] in ids
    for names in attributes(read, "aria-labelledby"):
        assert set(names.split()) <= set(ids)
    for svg in re.findall(r"<svg[^>]*>", html):
        assert 'role="img"' in svg or "aria-hidden" in svg or "definitions" in svg
    assert read.tags.count("img") == len(attributes(read, "alt"))


def test_the_verdict_comes_first(run, html):
    headline = html.index("The student ends 11.00 points above its first teacher")
    assert headline < html.index("<h2>")
    lede = Reader(html).text
    assert "gets 93.00% of 600 test images right, the first teacher 82.00%" in lede
    found = figures.read_figures(run, verdict.make_report(run))
    low, high = (
        100 * end for end in (found.gains[0].share.low, found.gains[0].share.high)
    )
    assert f"{low:+.1f} to {high:+.1f} points (95% interval)" in lede
    assert "ended below its teacher" not in lede


def test_a_loss_is_told_plainly_with_its_causes(tmp_path):
    plan = runs.Plan(
        class_names=("a", "b"), accuracies=(0.9, 0.84), agreement=0.8, under_noise=0.9
    )
    text = Reader(make(runs.make(tmp_path / "run", plan))).text
    assert "The student ends 6.00 points below its teacher." in text
    assert "Why student 1 ended below its teacher" in text
    assert "Without noise the student repeats 80.0% of the pseudo-labels" in text
    assert "--set=num_steps=3200" in text
    order = [text.index(f"{name} ") for name in ("Labels not learned", "Noise")]
    assert order == sorted(order)


def test_a_loss_to_the_control_is_told_with_the_same_causes(tmp_path):
    plan = runs.Plan(class_names=("a", "b"), accuracies=(0.8, 0.84), control=0.9)
    text = Reader(make(runs.make(tmp_path / "run", plan))).text
    assert "above its first teacher, but not above the control." in text
    assert "Why student 1 ended below the control" in text


def test_every_section_says_something_where_nothing_is_there(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    for path in copy.glob("**/evaluation.parquet"):
        path.unlink()
    for stage in ("predictions", "samples", "evaluation"):
        for path in copy.glob(f"round-*/{stage}"):
            shutil.rmtree(path)
    for path in copy.glob("**/metrics.jsonl"):
        path.unlink()
    html = make(copy)
    sections = re.findall(r"<section id=.*?</section>", html, re.DOTALL)
    assert len(sections) == 12
    for section in sections:
        assert len(Reader(section).text) > 60
    text = Reader(html).text
    for command in ("make labels", "make samples", "make report"):
        assert f"{command}" in text


def test_older_rounds_can_be_opened(tmp_path):
    plan = runs.Plan(
        class_names=("a", "b"), accuracies=(0.7, 0.8, 0.85, 0.9, 0.91), images=200
    )
    html = make(runs.make(tmp_path / "run", plan))
    funnel = re.search(r'<section id="funnel">.*?</section>', html, re.DOTALL)[0]
    assert re.findall(r"<summary>(.*?)</summary>", funnel) == ["Round 1", "Round 2"]
    assert funnel.count("<figure>") == 4


def test_a_page_of_a_thousand_classes_is_small(tmp_path):
    names = tuple(f"n{i:08d}, a class with a long name" for i in range(1000))
    plan = runs.Plan(class_names=names, images=9000, tested=5000, accuracies=(0.8, 0.9))
    run = runs.make(tmp_path / "run", plan)
    found = figures.read_figures(run, verdict.make_report(run))
    # Thumbnails as large as those of photographs without compression.
    thumbnail = b"\x89PNG" + bytes(96 * 96 * 3)
    samples = [
        dataclasses.replace(tile, sheet=sheet, position=i, thumbnail=thumbnail)
        for sheet in SHEETS
        for i, tile in enumerate(figures.read_samples(run, found)[:1] * 200)
    ]
    html = page.make_page(found, samples, json_name="report.json")
    assert len(html.encode()) < MEGABYTES * 1e6
    assert len(html) > contact_sheets.BUDGET / 2
    assert len(Reader(html).tags) < 4000
    assert "12 of 200" in html


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
    html = contact_sheets.make_sheets([sample(copies=3)], ["<ant>"])
    read = Reader(html)
    assert "&lt;ant&gt;" in html
    assert "50.0%, 3\N{MULTIPLICATION SIGN}" in read.text
    assert attributes(read, "src") == [
        "data:image/jpeg;base64,"
        + base64.b64encode(b"\xff\xd8\xff\xe0 a JPEG").decode()
    ]
    # The other sheets say that they have none.
    assert read.text.count("None.") == len(SHEETS) - 1


def test_what_is_no_image_is_not_shown_as_one():
    for thumbnail in (None, b"", b"<svg onload=alert(1)>"):
        html = contact_sheets.make_sheets([sample(thumbnail=thumbnail, label=None)], [])
        assert "<img" not in html
        assert "no image" in html


def test_twins_stand_side_by_side():
    twin = sample(sheet="leaked", twin_key="<other>", twin_thumbnail=b"\x89PNG")
    html = contact_sheets.make_sheets([twin], ["a"])
    assert html.count("<img") == 2
    assert "twin of &lt;other&gt;" in html


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    high, low = sorted([luminance(one), luminance(other)], reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colors_have_the_contrast_that_wcag_asks_for(scheme):
    style = (
        importlib.resources.files("workflow.report.rendering")
        .joinpath(page.STYLE)
        .read_text()
    )
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    block = light if scheme == "light" else dark
    color = dict(re.findall(r"--(\w+): (#\w{6});", block))
    for ground in ("paper", "panel"):
        for text in ("ink", "soft", "first"):
            assert contrast(color[text], color[ground]) >= 4.5, (text, ground)
    for text in ("second", "third", "fourth"):
        assert contrast(color[text], color["paper"]) >= 4.5, text
