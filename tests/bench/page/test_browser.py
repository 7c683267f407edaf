"""A page in a real browser: what is clicked, what is copied, what is hostile, and that nothing is fetched."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.page.render import render
from bench.page.serve import MADE, Kept, server
from bench.report import records, tables
from bench.report.formats.render import render as as_text
from tests.bench.page.made import hostile, page, small, summary, written
from tests.bench.report.conftest import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


pytestmark = pytest.mark.browser


class Window:
    """A page that is open: what it printed, and what it asked the network for."""

    def __init__(self, browser: Browser, url: str, **more: Any) -> None:
        self.context = browser.new_context(**more)
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)

    def column(self, table: str, column: int) -> list[str]:
        """Return the texts of a table's column, from the first line of each body that is shown."""
        found: list[str] = self.page.evaluate(
            "([id, column]) => [...document.getElementById(id).tBodies].filter((b) => !b.hidden)"
            ".map((b) => b.rows[0].cells[column].textContent)",
            [table, column],
        )
        return found


@pytest.fixture
def opened(browser: Browser) -> Iterator[Any]:
    """Opens files and addresses; whatever a test does, nothing was printed and nothing came from elsewhere."""
    windows: list[Window] = []

    def look(target: Path | str, **more: Any) -> Window:
        windows.append(Window(browser, target if isinstance(target, str) else target.as_uri(), **more))
        return windows[-1]

    yield look
    for window in windows:
        assert window.said == []
        assert {url.partition(":")[0] for url in window.asked} <= {"file", "data"} or all(
            url.startswith(("http://localhost:", "data:")) for url in window.asked
        )
        window.context.close()


def test_a_table_is_sorted_by_a_column_with_the_lines_that_belong_to_its_rows(
    store: Store, tmp_path: Path, opened: Any
) -> None:
    for method, score in (("b", 40.0), ("a", 60.0), ("c", 50.0)):
        store.done(store.plan(method, "20", 0), score)
    store.plan("d", "20", 0)
    window = opened(written(store, tmp_path))
    assert window.column("t-last-1", 0) == ["b", "a", "c", "d"]
    heading = window.page.get_by_role("columnheader", name="20").first
    heading.get_by_role("button").click()
    assert window.column("t-last-1", 0) == ["a", "c", "b", "d"]  # what has no value comes last
    assert heading.get_attribute("aria-sort") == "descending"
    heading.get_by_role("button").press("Enter")
    assert window.column("t-last-1", 0) == ["b", "c", "a", "d"]
    assert heading.get_attribute("aria-sort") == "ascending"


def test_the_rule_is_switched_everywhere(store: Store, tmp_path: Path, opened: Any) -> None:
    small(store)
    window = opened(written(store, tmp_path))
    shown = "() => [...document.querySelectorAll('.by-rule')].filter((p) => !p.hidden).map((p) => p.dataset.rule)"
    assert set(window.page.evaluate(shown)) == {"last"}
    assert window.page.locator("#t-last-1").get_by_text("40.5 ± 0.7 (2)").first.is_visible()
    window.page.get_by_label("best").first.check()
    assert window.page.evaluate(shown) == ["best"] * 3
    assert window.page.locator("#t-best-1").get_by_text("42.5 ± 0.7 (2)").first.is_visible()
    assert not window.page.locator("#t-last-1").is_visible()


@pytest.mark.parametrize("clipboard", [True, False])
def test_a_table_is_copied_as_latex(store: Store, tmp_path: Path, opened: Any, clipboard: bool) -> None:
    small(store)
    rights = {"permissions": ["clipboard-read", "clipboard-write"]}
    window = opened(written(store, tmp_path), **rights)
    if not clipboard:  # as where a browser has none, or refuses it
        window.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    window.page.get_by_role("button", name="LaTeX").first.click()
    window.page.get_by_text("copied as LaTeX").wait_for()
    table = tables.build(records.load(store.path, store.cells), summary(store))
    assert window.page.evaluate("navigator.clipboard.readText()") == as_text(
        replace(table, headline_only=True), "latex"
    )


def test_gains_and_losses_per_class_are_against_the_method_that_is_chosen(
    store: Store, tmp_path: Path, opened: Any
) -> None:
    small(store)
    window = opened(written(store, tmp_path))
    first = window.page.locator("table.heat").first
    row = first.locator("tbody tr").nth(1)
    assert row.locator("td").all_inner_texts() == ["71.0", "26.0", "–", "45.5"]
    window.page.get_by_label("Show").select_option("supervised")
    assert row.locator("td").all_inner_texts() == ["+1.0", "−4.0", "–", "+5.0"]
    window.page.get_by_label("Show").select_option("")
    assert row.locator("td").all_inner_texts() == ["71.0", "26.0", "–", "45.5"]


def test_cells_are_filtered_and_unfolded_and_led_to(store: Store, tmp_path: Path, opened: Any) -> None:
    small(store)
    window = opened(written(store, tmp_path))
    failed = store.cells[-1].id
    detail = window.page.locator(f"#cell-{failed} .details")
    assert not detail.is_visible()
    window.page.get_by_label("State").select_option("done")
    assert set(window.column("t-cells", 3)) == {"done"}
    window.page.get_by_role("link", name="ValueError").click()  # though it is filtered away
    detail.wait_for()
    assert "ValueError: no such crop" in detail.inner_text()
    window.page.get_by_label("Find").fill("RECO 45.0")
    assert window.column("t-cells", 0) == ["reco"]


def test_values_are_shown_on_hover_and_with_the_keyboard(store: Store, tmp_path: Path, opened: Any) -> None:
    small(store)
    window = opened(written(store, tmp_path))
    chart, tip = window.page.locator(".chart").first, window.page.locator("#tip")
    chart.scroll_into_view_if_needed()
    mark = chart.locator(".mark").first.bounding_box()
    window.page.mouse.move(mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2)
    assert tip.inner_text() == "supervised\n20: 40.5 ± 0.7 (2)"
    window.page.mouse.move(2, 2)
    assert not tip.is_visible()
    chart.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"):
        window.page.keyboard.press(key)
    assert tip.inner_text() == "reco\n20: 45.5 ± 0.7 (2)"


def test_hostile_texts_stay_texts(store: Store, tmp_path: Path, opened: Any) -> None:
    hostile(store)
    window = opened(written(store, tmp_path, title="<script>window.hacked = 1</script>"))
    for button in window.page.locator("thead button, .toggle").all():
        button.dispatch_event("click")
    for control in ("#base", "#state"):
        for option in window.page.locator(f"{control} option").all():
            window.page.locator(control).select_option(option.get_attribute("value"))
    window.page.locator(".chart").first.focus()
    window.page.keyboard.press("ArrowRight")
    assert window.page.evaluate("window.hacked") is None


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_is_legible(store: Store, tmp_path: Path, opened: Any, width: int, scheme: str) -> None:
    small(store)
    window = opened(written(store, tmp_path), viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert window.page.evaluate("document.documentElement.scrollWidth") <= width
    colours = window.page.evaluate(
        "() => [...document.querySelectorAll('p, a, dd, .badge, .heat td, .minor td, caption')].map((e) => {"
        " const s = getComputedStyle(e); let b = e;"
        " while (b && getComputedStyle(b).backgroundColor === 'rgba(0, 0, 0, 0)') b = b.parentElement;"
        " return [s.color, b ? getComputedStyle(b).backgroundColor : 'rgb(255, 255, 255)']; })"
    )
    assert min(contrast(*pair) for pair in colours) >= 4.5  # WCAG 2.2, 1.4.3


def test_hostile_texts_do_not_widen_a_narrow_page(store: Store, tmp_path: Path, opened: Any) -> None:
    hostile(store)
    window = opened(written(store, tmp_path), viewport={"width": 360, "height": 800})
    assert window.page.evaluate("document.documentElement.scrollWidth") <= 360


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour.strip("rgba()").split(",")[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


def test_every_control_has_a_name_and_every_table_a_caption(store: Store, tmp_path: Path, opened: Any) -> None:
    small(store)
    window = opened(written(store, tmp_path))
    unnamed = window.page.evaluate(
        "() => [...document.querySelectorAll('button, select, input, [role=img], [role=region], textarea, progress')]"
        ".filter((e) => !(e.getAttribute('aria-label') || (e.labels && e.labels.length) || e.textContent.trim()))"
        ".map((e) => e.outerHTML)"
    )
    assert unnamed == []
    assert window.page.evaluate("[...document.querySelectorAll('table')].every((t) => t.caption)")
    assert window.page.locator("h1").count() == 1


def test_print_shows_one_rule_and_no_controls(store: Store, tmp_path: Path, opened: Any) -> None:
    small(store)
    window = opened(written(store, tmp_path))
    window.page.emulate_media(media="print")
    assert not window.page.get_by_role("button", name="LaTeX").first.is_visible()
    assert window.page.locator("#t-last-1").is_visible()


def test_a_served_page_follows_the_store_and_keeps_what_was_chosen(store: Store, tmp_path: Path, opened: Any) -> None:
    small(store)
    kept = Kept(lambda: render(page(store, tmp_path), MADE, live=0.2), seconds=0.05)
    running = server(kept, 0)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        window = opened(f"http://localhost:{running.server_address[1]}/")
        window.page.get_by_label("best").first.check()
        first = store.cells[0].id
        window.page.locator(f"#cell-{first} .toggle").click()
        waiting = store.cells[-2].id
        assert window.page.locator(f"#cell-{waiting} .badge").inner_text() == "pending"
        store.state(store.path / waiting, "failed", step=7, reason=json.dumps("it broke"))
        window.page.locator(f"#cell-{waiting} .badge", has_text="failed").wait_for()
        assert window.page.locator(f"#cell-{first} .details").is_visible()
        assert window.page.locator("#t-best-1").is_visible()
        assert not window.page.locator("#t-last-1").is_visible()
        window.page.goto("about:blank")
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
