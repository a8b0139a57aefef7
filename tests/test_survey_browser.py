"""The rating page in headless Chromium, opened as a rater does: a file, a double click, no network."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from surveys import Zoo, data, key, zoo

pytestmark = pytest.mark.slow
__all__ = ["data", "key", "zoo"]
Open = Callable[..., Any]
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-ui-for-media-stream --use-fake-device-for-media-stream"
)
RATING = {"carbon": 1, "ochre": -2}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser that is started once. Without one the tests are skipped; where they have to run, that is an error."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if not found:
        missing = "needs Chromium (apt-get install chromium) and pip install playwright"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, key: dict[str, Any], tmp_path: Path) -> Iterator[Open]:
    """Opens the page; a console message, an exception or a request for anything but the file itself is a failure."""
    told: list[str] = []
    contexts = []
    address = (tmp_path / "page.html").as_uri()

    def visit(context: Any = None, **settings: Any) -> Any:
        if context is None:
            context = chromium.new_context(offline=True, **{"viewport": {"width": 1280, "height": 800}, **settings})
            contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda r: told.append(r.url) if not r.url.startswith(("data:", "blob:", address)) else None)
        page.goto(address)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not told


def begin(page: Any, rater: str = "Ada") -> None:
    page.fill("#rater", rater)
    page.check("#consent")
    page.keyboard.press("Enter")


def model_of(key: dict[str, Any], group: Any) -> str:
    return key["results"][group.locator("input").first.get_attribute("name").split()[0]]["model"]


def by_keyboard(page: Any, key: dict[str, Any]) -> None:
    """One item: the scales not yet rated come into focus one after the other, then the button that goes on."""
    for group in page.get_by_role("radiogroup").all():
        if not group.locator(":checked").count():
            page.keyboard.press(str(RATING[model_of(key, group)] + 3))
    assert page.evaluate("document.activeElement.id") == "next"
    page.keyboard.press("Enter")


def by_mouse(page: Any, key: dict[str, Any]) -> None:
    for group in page.get_by_role("radiogroup").all():
        group.locator("label").nth(RATING[model_of(key, group)] + 2).click()
    page.click("#next")


def download(page: Any, folder: Path) -> Path:
    with page.expect_download() as found:
        page.click("#download")
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


def seen(page: Any) -> list[str]:
    """The results of the item that is shown, in their order."""
    names = page.locator("fieldset").evaluate_all("all => all.map(group => group.querySelector('input').name)")
    return [name.split()[0] for name in names]


def test_two_raters_from_the_start_to_the_table(visit: Open, zoo: Zoo, key: dict[str, Any], tmp_path: Path) -> None:
    page = visit()
    begin(page)
    for _ in range(2):
        by_keyboard(page, key)
    page.keyboard.press(str(RATING[model_of(key, page.get_by_role("radiogroup").first)] + 3))
    where = page.inner_text("#place"), seen(page), page.inner_text("#done")
    assert where[0] == "3 / 4" and where[2] == "5 of 8 ratings"
    page.close()
    page = visit(page.context)  # the browser was closed in the middle
    assert page.input_value("#rater") == "Ada" and page.inner_text("#begin") == "Continue"
    page.click("#begin")
    assert (page.inner_text("#place"), seen(page), page.inner_text("#done")) == where
    for _ in range(2):
        by_keyboard(page, key)
    first = download(page, tmp_path)
    assert first.name == f"{key['page']}-Ada.csv"

    page.click("#another")
    rater = '=HYPERLINK("x"), 山田 '
    begin(page, rater)
    for _ in range(4):
        by_mouse(page, key)
    second = download(page, tmp_path)
    assert second.read_bytes().startswith(b"\xef\xbb\xbf") and ',"\'=HYPERLINK(""x""), 山田",' in second.read_text(
        "utf-8"
    )
    code, out, err = zoo("table", first, second, "--key", tmp_path / "page.key.json", "--json")
    assert code == 0 and not err
    told = json.loads(out)
    assert {m["model"]: (m["estimate"]["mean"], m["estimate"]["ratings"]) for m in told["means"]} == {
        model: (rating, 8) for model, rating in RATING.items()
    }
    assert [r["name"] for r in told["raters"]] == ["Ada", rater.strip()]


def test_no_hole_and_a_change_of_mind(visit: Open, zoo: Zoo, key: dict[str, Any], tmp_path: Path) -> None:
    page = visit()
    page.click("#begin")
    assert page.is_visible("#start")  # no name, no consent
    begin(page, "   ")
    assert page.is_visible("#start")
    begin(page)
    page.keyboard.press("Enter")
    assert page.inner_text("#missing") == "Ratings missing on this page: 2" and page.inner_text("#place") == "1 / 4"
    for _ in range(4):
        by_keyboard(page, key)
    page.click("#change")
    assert page.inner_text("#place") == "4 / 4"
    page.locator("fieldset").first.locator("input:checked").focus()
    page.keyboard.press(
        "ArrowDown" if page.locator("fieldset input:checked").first.input_value() == "-2" else "ArrowUp"
    )
    changed = model_of(key, page.locator("fieldset").first)
    page.keyboard.press("Enter")
    told = json.loads(zoo("table", download(page, tmp_path), "--key", tmp_path / "page.key.json", "--json")[1])
    means = {m["model"]: m["estimate"]["mean"] for m in told["means"]}
    assert means[changed] == RATING[changed] + (0.25 if changed == "ochre" else -0.25)


def test_orders_differ_between_raters_and_stay_for_one(visit: Open, key: dict[str, Any]) -> None:
    def orders(rater: str) -> tuple[list[str], list[str]]:
        """The photographs, and the results of each photograph in the photographs' own order."""
        page = visit()
        begin(page, rater)
        shown = []
        for _ in range(4):
            shown.append(seen(page))
            for group in range(2):
                page.locator("fieldset").nth(group).locator("input").first.check()
            page.click("#next")
        return [key["results"][results[0]]["item"] for results in shown], sorted(map(str, shown))

    found = [orders(f"rater {i}") for i in range(4)]
    items, results = zip(*found)
    assert orders("rater 0") == found[0]
    assert len({str(order) for order in items}) > 1 and all(sorted(order) == sorted(items[0]) for order in items)
    assert len({str(order) for order in results}) > 1


def test_without_a_store_it_warns_and_works(visit: Open, chromium: Any, key: dict[str, Any], tmp_path: Path) -> None:
    context = chromium.new_context(offline=True)
    context.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no') }})")
    page = visit(context)
    assert "does not save" in page.inner_text("#unsaved")
    begin(page)
    for _ in range(4):
        by_keyboard(page, key)
    assert asked_before_leaving(page) and page.is_disabled("#another")
    download(page, tmp_path)
    assert not asked_before_leaving(page) and page.is_enabled("#another")
    context.close()


def asked_before_leaving(page: Any) -> bool:
    return page.evaluate("!dispatchEvent(new Event('beforeunload', {cancelable: true}))")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(visit: Open, scheme: str) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, color_scheme=scheme, locale="ja-JP")
    assert page.get_attribute("html", "lang") == "ja" and page.title() == "似顔絵の評価"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    begin(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    light = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] > 128")
    assert light == (scheme == "light")
    small = page.locator("#rating :is(.point, nav button)").evaluate_all(
        "all => all.filter(e => e.offsetHeight < 40).length"
    )
    assert small == 0
    page.locator(".point").nth(1).tap()
    assert page.inner_text("#done") == "8件中1件評価済み"
    page.click("[data-language=en]")
    assert page.get_attribute("html", "lang") == "en" and page.locator("fieldset input:checked").input_value() == "-1"


@pytest.mark.parametrize("width", [390, 1280])
def test_pictures_are_equal_in_size_and_say_only_what_they_may(visit: Open, key: dict[str, Any], width: int) -> None:
    page = visit(viewport={"width": width, "height": 800})
    begin(page)
    sizes = page.locator(".zoom img").evaluate_all("all => all.map(e => [e.clientWidth, e.clientHeight])")
    assert len(sizes) == 4 and len({tuple(size) for size in sizes}) == 1 and sizes[0][0] > 150
    texts = page.locator("img").evaluate_all("all => all.map(e => e.alt)")
    assert texts[:4] == ["Photograph", "The artist's portrait", "Result A", "Result B"]
    for group, letter in zip(page.get_by_role("radiogroup").all(), "AB"):
        assert group.get_attribute("aria-label").startswith(f"Result {letter}. How similar")
    markup = page.content()
    assert not any(word in markup for word in RATING)

    page.click(".result .zoom >> nth=0")
    assert page.is_visible("#zoom") and page.inner_text("#zoomed") == "Result A"
    assert page.locator("#zoom img").bounding_box()["width"] > 2 * sizes[0][0] or width == 390
    page.keyboard.press("3")  # rates nothing behind the large picture
    page.keyboard.press("Escape")
    assert not page.is_visible("#zoom") and page.locator("fieldset input:checked").count() == 0


def test_the_policy_forbids_connections_and_other_scripts(chromium: Any, key: dict[str, Any], tmp_path: Path) -> None:
    context = chromium.new_context(offline=True)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    code = """
    new Promise(done => {
      const refused = [];
      addEventListener("securitypolicyviolation", event => {
        refused.push(event.effectiveDirective);
        if (refused.length === 3) done(refused.sort());
      });
      setTimeout(() => done(refused), 10000);
      fetch("http://127.0.0.1:9/").catch(() => {});
      document.body.append(Object.assign(document.createElement("img"), {src: "http://127.0.0.1:9/x.png"}));
      document.body.append(Object.assign(document.createElement("script"), {textContent: "window.ran = true"}));
    })"""
    assert page.evaluate(code) == ["connect-src", "img-src", "script-src-elem"]
    assert page.evaluate("window.ran") is None
    context.close()


@pytest.mark.parametrize(
    "entry",
    [
        "{", "null", "[]", '{"answers": null, "at": 0}', '{"answers": {"x y": 3}, "at": 1e9}',
        '{"answers": {}, "at": 4}', '{"answers": {}, "at": -1}', '{"answers": {}, "at": "x"}',
    ],
)  # fmt: skip
def test_a_damaged_entry_of_the_store(visit: Open, key: dict[str, Any], entry: str) -> None:
    page = visit()
    page.evaluate("([name, entry]) => localStorage.setItem(name, entry)", [f"{key['page']} Ada", entry])
    begin(page)
    assert page.is_visible("#rating") and page.inner_text("#place").startswith("1 /")
