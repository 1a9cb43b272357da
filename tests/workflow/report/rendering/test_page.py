import base64
import collections
import dataclasses
import hashlib
import importlib.resources
import itertools
import re
import shutil

import jinja2
import pytest
from hypothesis import given

from stage import licenses
from stage.licenses import Origin
from stage.text import printable_lines
from tests.workflow.report import runs
from tests.workflow.report.rendering.pages import Reader, macro
from tests.workflow.report.rendering.test_text import anything
from tests.workflow.report.runs import HOSTILE
from workflow.report.analysis import figures
from workflow.report.rendering import contact_sheets, page
from workflow.samples.tiles import SHEETS

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
    found, _ = runs.read_figures(run)
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


def test_hostile_names_become_no_elements(html, read):
    assert set(read.tags) <= TAGS
    assert not [key for key, _ in read.attributes if key.startswith("on")]
    assert "<script>alert(1)" in read.text
    assert not set(html) & set("\u202e\u200f\x00\x1b")
    html.encode()


def test_nothing_is_fetched(read):
    for name in ("src", "href", "data", "action", "srcset"):
        for value in read.values(name):
            assert value.startswith(("#", "data:")) or value == "report.json"
    style = (
        importlib.resources.files("workflow.report.rendering")
        .joinpath(page.STYLE)
        .read_text()
    )
    assert set(re.findall(r"url\((.*?)\)", style)) == {"#hatching"}
    assert "@import" not in style


def test_the_policy_allows_its_style_and_images_within_it(html, read):
    (policy,) = (value for value in read.values("content") if "default-src" in value)
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
    assert not read.values("style")


def test_the_page_is_accessible(html, read):
    assert '<html lang="en">' in html
    levels = [int(tag[1]) for tag in read.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert set(read.values("scope")) == {"col", "row"}
    assert read.tags.count("th") == len(read.values("scope"))
    ids = collections.Counter(read.values("id"))
    assert set(ids.values()) == {1}
    for target in read.values("href"):
        assert not target.startswith("#") or target[1:] in ids
    for names in read.values("aria-labelledby"):
        assert set(names.split()) <= set(ids)
    for svg in re.findall(r"<svg[^>]*>", html):
        assert 'role="img"' in svg or "aria-hidden" in svg or "definitions" in svg
    assert read.tags.count("img") == len(read.values("alt"))


def test_the_verdict_comes_first(run, html):
    headline = html.index("The student ends 11.00 points above its first teacher")
    assert headline < html.index("<h2>")
    lede = Reader(html).shown
    assert "gets 93.00% of 600 test images right, the first teacher 82.00%" in lede
    found, _ = runs.read_figures(run)
    low, high = (
        100 * end for end in (found.gains[0].share.low, found.gains[0].share.high)
    )
    assert f"{low:+.1f} to {high:+.1f} points (95% interval)" in lede
    assert "ended below its teacher" not in lede


def test_a_loss_is_shown_with_its_causes(tmp_path):
    plan = runs.Plan(
        class_names=("a", "b"), accuracies=(0.9, 0.84), agreement=0.8, under_noise=0.9
    )
    shown = Reader(make(runs.make(tmp_path / "run", plan))).shown
    assert "The student ends 6.00 points below its first teacher." in shown
    assert "Why student 1 ended below its teacher" in shown
    assert "has learned only 80.0% of its pseudo-labels" in shown
    assert "--output=OTHER --set=student.settings.num_steps=3200" in shown
    assert "Labels not learned: beyond its bound" in shown
    order = [shown.index(f"{name}: ") for name in ("Labels not learned", "Noise")]
    assert order == sorted(order)


@pytest.mark.parametrize("student", [0.34, 0.4])
def test_a_teacher_that_guesses_is_shown_before_other_causes(tmp_path, student):
    plan = runs.Plan(
        class_names=("a", "b", "c"),
        accuracies=(0.36, student),
        control=0.35,
        tested=24,
        agreement=0.8,
    )
    shown = Reader(make(runs.make(tmp_path / "run", plan))).shown
    assert shown.count("The teacher of round 1 is no better than guessing") == 1
    assert "guessing among 3 classes 33.3%" in shown
    assert "--output=OTHER --set=teacher.settings.num_steps=3200" in shown
    assert shown.index("A teacher that guesses") < shown.index("Labels not learned")


def test_a_loss_to_the_control_is_shown_with_its_causes(tmp_path):
    plan = runs.Plan(class_names=("a", "b"), accuracies=(0.8, 0.84), control=0.9)
    shown = Reader(make(runs.make(tmp_path / "run", plan))).shown
    assert "above its first teacher, but not above the control." in shown
    assert "Why student 1 ended below the control" in shown


def test_the_compute_of_the_control_is_shown(run):
    found, report = runs.read_figures(run)
    counted = dataclasses.replace(found, compute={"control": 1.5e12, "chain": 2e12})
    html = page.make_page(counted, [], json_name="report.json")
    assert "1.5e+12" in Reader(html).shown
    assert "too little" in Reader(html).shown
    assert report["compute"] is None
    assert "was not counted" in Reader(make(run)).shown


def test_no_cause_is_sought_for_what_may_be_chance(tmp_path):
    plan = runs.Plan(class_names=("a", "b"), accuracies=(0.8, 0.798), control=0.7)
    shown = Reader(make(runs.make(tmp_path / "run", plan))).shown
    assert "That student 1 ended below its teacher may be chance." in shown
    assert "Why student 1" not in shown


def test_precision_of_blended_labels_is_of_the_teacher_alone(tmp_path):
    plan = runs.Plan(class_names=("a", "b"), accuracies=(0.8, 0.9))
    run = runs.make(tmp_path / "run", plan)
    words = "by the teacher's own predictions"
    assert words not in Reader(make(run)).shown
    agreement = {"compared": 3000, "same": 2970}
    runs.write(run / "round-1/predictions/summary.json", {"agreement": agreement})
    sections = re.findall(r'<section id="(.*?)">(.*?)</section>', make(run), re.DOTALL)
    told = {slug for slug, section in sections if words in Reader(section).shown}
    assert told == {"precision", "coverage", "what-if", "reliability"}


def test_every_section_explains_what_is_missing(run, tmp_path):
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
    assert len(sections) == 13
    for section in sections:
        assert len(Reader(section).text) > 60
    shown = Reader(html).shown
    for command in ("--until=labels", "--until=samples", "noisy-student run"):
        assert command in shown


def test_licenses_of_the_last_student_are_listed(tmp_path):
    plan = runs.Plan(class_names=("a", "b"), accuracies=(0.7, 0.8, 0.9), images=200)
    run = runs.make(tmp_path / "run", plan)
    ledger = (
        Origin(kind="images", name=HOSTILE[0], license="<script>MIT</script>"),
        Origin(kind="weights", name="hf:me/net"),
    )
    licenses.write(run / "round-2/student", ledger)
    html = make(run)
    section = re.search(r'<section id="licenses">.*?</section>', html, re.DOTALL)[0]
    assert "1 of 2 are unknown" in Reader(section).shown
    assert "<script>MIT</script>" in Reader(section).text
    assert "hf:me/net" in Reader(section).shown
    assert set(Reader(section).tags) <= TAGS


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
    found, _ = runs.read_figures(run)
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


@given(child=anything, attribute=anything)
def test_values_stay_text(child, attribute):
    source = '<p title="{{ attribute }}">{{ child }}</p>'
    template = page.environment().from_string(source)
    html = printable_lines(template.render(child=child, attribute=attribute))
    found = Reader(html)
    assert found.tags == ["p"]
    assert [name for name, _ in found.attributes] == ["title"]
    for value, read in ((child, found.text), (attribute, found.attributes[0][1])):
        assert read == printable_lines(value)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_name_becomes_one_element(value):
    found = Reader(printable_lines(macro("macros.html", "name")(value)))
    assert found.tags == ["bdi"]
    assert len(found.text) <= 30
    assert found.text.isprintable()


def test_the_whole_name_shows_on_pointing_at_it():
    name = macro("macros.html", "name")
    ((title, shown),) = Reader(name("a" * 100)).attributes
    assert (title, shown) == ("title", "a" * 100)
    assert not Reader(name("short")).attributes


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        page.environment().from_string("{{ nothing }}").render()


def test_a_command_has_a_line_for_each_flag():
    assert page.command_line(["-m", "a.b", "--x=1 2", "--y"]) == (
        "python -m a.b \\\n    '--x=1 2' \\\n    --y"
    )


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    high, low = sorted([luminance(first), luminance(second)], reverse=True)
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
        for color_name in ("ink", "soft", "first"):
            assert contrast(color[color_name], color[ground]) >= 4.5, (
                color_name,
                ground,
            )
    for color_name in ("second", "third", "fourth"):
        assert contrast(color[color_name], color["paper"]) >= 4.5, color_name
