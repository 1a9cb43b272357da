"""The report in a browser, which `make browser` installs."""

import itertools

import pytest

from tests.workflow.report import browser, runs
from workflow.report import write_report

WIDTHS = (1280, 390)

pytestmark = pytest.mark.skipif(
    browser.find() is None, reason="no browser: make browser installs Chromium"
)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A report with hostile class names and a student worse than its teacher."""
    plan = runs.Plan(accuracies=(0.9, 0.92, 0.85), agreement=0.8)
    run = runs.make(tmp_path_factory.mktemp("browser") / "run", plan)
    write_report.report_on(run, run / write_report.REPORT)
    return (run / "report.html").as_uri()


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    tab = browser.Browser(browser.find(), tmp_path_factory.mktemp("profile"))
    yield tab
    tab.close()


def opened(tab, url, **settings):
    """Opens the page and expands all its details."""
    tab.open(url, **settings)
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    return tab


@pytest.mark.parametrize(
    ("width", "dark"), list(itertools.product(WIDTHS, (False, True)))
)
def test_it_loads_without_requests_and_console_messages(tab, url, width, dark):
    opened(tab, url, width=width, dark=dark)
    requested = [
        event["request"]["url"]
        for method, event in tab.events
        if method == "Network.requestWillBeSent"
    ]
    assert requested[0] == url
    assert all(url.startswith("data:") for url in requested[1:])
    complaints = [
        (method, event)
        for method, event in tab.events
        if method
        in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    ]
    assert not complaints
    assert tab.evaluate("document.compatMode") == "CSS1Compat"


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(tab, url, width):
    opened(tab, url, width=width)
    assert tab.evaluate("innerWidth") == width
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    wide = tab.evaluate(
        """[...document.querySelectorAll('body *')].filter(e =>
          !e.closest('.scroll, .definitions, code, pre') &&
          e.getBoundingClientRect().right > innerWidth + 1
        ).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert wide == []


def test_the_verdict_is_seen_without_scrolling_on_a_telephone(tab, url):
    tab.open(url, width=390, height=844)
    box = "document.querySelector('h1').getBoundingClientRect()"
    assert tab.evaluate(f"{box}.bottom") < 400
    assert "below its first teacher" in tab.evaluate(
        "document.querySelector('h1').textContent"
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_letters_are_large_enough_to_read(tab, url, width):
    """Sizes are in pixels of the screen, after the scaling of charts."""
    opened(tab, url, width=width)
    smallest = tab.evaluate(
        """Math.min(...[...document.querySelectorAll('svg text')].map(e =>
          parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a))"""
    )
    assert smallest >= 10
    smallest = tab.evaluate(
        """Math.min(...[...document.querySelectorAll('p, td, th, li, a')].map(e =>
          parseFloat(getComputedStyle(e).fontSize)))"""
    )
    assert smallest >= 12


def test_light_and_dark_differ(tab, url):
    shade = "getComputedStyle(document.body).backgroundColor"
    light = opened(tab, url, width=1280).evaluate(shade)
    dark = opened(tab, url, width=1280, dark=True).evaluate(shade)
    assert light == "rgb(255, 255, 255)"
    assert dark != light


def test_hostile_names_are_text(tab, url):
    opened(tab, url, width=1280)
    count = "document.querySelectorAll('script, iframe, object, img:not([src])').length"
    assert tab.evaluate(count) == 0
    assert tab.evaluate("document.body.innerText.includes('<script>alert(1)')")
    # Every style is the page's own, and applies: the policy knows its hash.
    assert tab.evaluate("document.styleSheets.length") == 1
    assert tab.evaluate("getComputedStyle(document.body).maxWidth") == "1120px"


def test_a_script_would_not_run(tab, url):
    opened(tab, url, width=1280)
    tab.evaluate(
        """(() => {
          const script = document.createElement('script');
          script.textContent = 'window.ran = true';
          document.body.append(script);
        })()"""
    )
    assert tab.evaluate("window.ran") is None


def test_all_images_are_shown(tab, url):
    opened(tab, url, width=1280)
    widths = tab.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(widths) > 40
    assert set(widths) == {32}
