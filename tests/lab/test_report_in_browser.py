"""``report.html`` in headless Chromium: on a screen, in the dark, on a phone and on paper.

A failed report of four drills, and one whose every text from the cluster is an attack on the reader.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_factory as factory
import report_journal as journals
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from drills.report import files

pytestmark = pytest.mark.lab

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
)
SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\\\"document.title='owned'\\\">"
PHONE, SCREEN = 360, 1100


class Browser:
    """A page in Chromium, at a width, in a medium."""

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver

    def show(self, page: Path, width: int = SCREEN, *, dark: bool = False, medium: str = "screen") -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._do("Emulation.setEmulatedMedia", media=medium, features=[scheme])
        self._do(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width == PHONE
        )
        self._driver.get(page.as_uri())

    def ask(self, script: str) -> Any:
        return self._driver.execute_script(f"return {script}")

    def complaints(self) -> list[Any]:
        return list(self._driver.get_log("browser"))

    def pdf(self) -> bytes:
        return base64.b64decode(self._do("Page.printToPDF", preferCSSPageSize=True)["data"])

    def _do(self, command: str, **arguments: object) -> Any:
        return self._driver.execute_cdp_cmd(command, arguments)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium, "Chromium is missing: `make tested-with` installs it"
    assert chromedriver, "chromedriver is missing: `make tested-with` installs it"
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, Service(chromedriver))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def game_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, run = tmp_path_factory.mktemp("game-day"), factory.game_day()
    journals.write(folder / "journal.jsonl", journals.lines(run, journals.ATTACKS))
    files.write(run, folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, run = tmp_path_factory.mktemp("hostile"), factory.hostile()
    text = run.model_dump_json(by_alias=True).replace("evil [bold red]", SCRIPT)
    files.write(run.model_validate_json(text), folder)
    return folder / "report.html"


def test_no_complaint_in_the_console(browser: Browser, game_day: Path, hostile: Path) -> None:
    for page in (game_day, hostile):
        browser.show(page)
        assert browser.complaints() == []


def test_the_pages_style_is_in_force_and_nothing_is_fetched(browser: Browser, game_day: Path) -> None:
    browser.show(game_day)
    assert browser.ask("getComputedStyle(document.querySelector('.chip')).borderRadius") == "16px"
    assert browser.ask("performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:'))") == []


def test_the_verdict_is_seen_without_scrolling(browser: Browser, game_day: Path) -> None:
    for width in (PHONE, SCREEN):
        browser.show(game_day, width)
        assert browser.ask("document.querySelector('header .chip').innerText") == "FAILED"
        assert browser.ask("document.querySelector('header').getBoundingClientRect().bottom") < 500


def test_scripts_in_labels_are_text(browser: Browser, hostile: Path) -> None:
    browser.show(hostile)
    assert browser.ask("document.querySelectorAll('script, img').length") == 0
    assert browser.ask("document.title").startswith("FAILED: <script>document.title='owned'</script>")
    assert "<script>" in browser.ask("document.querySelector('h2').innerText + document.body.innerText")


@pytest.mark.parametrize("width", [320, PHONE, 768, SCREEN])
def test_nothing_runs_over_the_edge(browser: Browser, game_day: Path, hostile: Path, width: int) -> None:
    for page in (game_day, hostile):
        browser.show(page, width)
        browser.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert browser.ask("document.documentElement.scrollWidth") <= width


def test_letters_keep_their_size_on_a_phone(browser: Browser, game_day: Path) -> None:
    browser.show(game_day, PHONE)
    sizes = browser.ask(
        "[...document.querySelectorAll('figure svg text, figure p, figcaption, .name')]"
        ".filter(one => one.getClientRects().length).map(one => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert min(sizes) >= 12


def test_labels_of_the_axis_do_not_touch(browser: Browser, game_day: Path) -> None:
    for width in (PHONE, SCREEN):
        browser.show(game_day, width)
        overlaps = browser.ask(
            "[...document.querySelectorAll('.lane.axis svg')].flatMap(axis => {"
            "  const places = [...axis.querySelectorAll('text')].map(one => one.getBoundingClientRect())"
            "    .filter(one => one.width);"
            "  return places.slice(1).filter((one, i) => one.left < places[i].right + 2).length })"
        )
        assert set(overlaps) == {0}


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_stands_out_from_its_ground(browser: Browser, game_day: Path, dark: bool) -> None:
    """The contrast that WCAG asks for (4.5 to 1), of every colour in use, on both grounds."""
    browser.show(game_day, dark=dark)
    rgb = "(text => text.match(/[0-9.]+/g).slice(0, 3).map(Number))"
    colours = browser.ask(
        f"[...new Set([...document.querySelectorAll('h1, p, dt, dd, li, .chip, .mark, summary, td, th, code')]"
        f".map(one => getComputedStyle(one).color))].map({rgb})"
    )
    grounds = browser.ask(
        "[document.body, document.querySelector('figure')]"
        f".map(one => getComputedStyle(one).backgroundColor).map({rgb})"
    )
    assert (sum(grounds[0]) < 200) == dark
    assert [(c, g) for c in colours for g in grounds if contrast(c, g) < 4.5] == []


def contrast(one: list[float], other: list[float]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: list[float]) -> float:
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_paper_is_light_and_has_what_is_folded_on_a_screen(browser: Browser, game_day: Path) -> None:
    browser.show(game_day, dark=True, medium="print")
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.ask("document.querySelector('.provenance h3').getBoundingClientRect().height") > 5
    assert browser.ask("document.querySelector('.provenance').open") is False
    assert browser.pdf().startswith(b"%PDF-")
