"""The page in a real browser: Debian's chromium, driven by Playwright, on the real networks.

Screenshots are written to ``tests/screenshots`` (not committed).
"""

from __future__ import annotations

import base64
import io
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium browser is installed")

ROOT = Path(__file__).resolve().parent.parent
SHOTS = ROOT / "tests" / "screenshots"
TIMEOUT = 60_000  # milliseconds; conditions are waited for, and a loaded machine is slow
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser():
    with playwright_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, page_url):
    """Open the page in a fresh visitor's browser; no console error, no foreign request allowed."""
    contexts, complaints = [], []

    def watch(page) -> None:
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.on(
            "request",
            lambda r: (
                None if r.url.startswith((page_url, "data:", "blob:")) else complaints.append(r.url)
            ),
        )

    def opened(width: int = 1280, height: int = 900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(TIMEOUT)
        contexts.append(context)
        page = context.new_page()
        watch(page)
        page.goto(page_url)
        page.wait_for_function(
            "document.querySelectorAll('#restore-panels .gfr-frame img').length === 4"
        )
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def panel_source(page, group: str, name: str) -> str:
    return page.locator(f"#{group} [data-panel={name}] img").get_attribute("src")


def pixels(page, group: str, name: str) -> np.ndarray:
    """A panel's picture, once the browser has decoded it."""
    selector = f"#{group} [data-panel={name}] img"
    width = page.evaluate(
        """async (selector) => {
            const image = document.querySelector(selector);
            await image.decode();
            return image.naturalWidth;
        }""",
        selector,
    )
    data = base64.b64decode(panel_source(page, group, name).split(",", 1)[1])
    picture = np.asarray(Image.open(io.BytesIO(data)))
    assert picture.shape == (width, width, 3)
    return picture


def wait_for_change(page, group: str, name: str, before: str) -> None:
    page.wait_for_function(
        "([s, b]) => document.querySelector(s).getAttribute('src') !== b",
        arg=[f"#{group} [data-panel={name}] img", before],
    )


def open_limits(page) -> None:
    page.get_by_role("tab", name="Test the limits").click()
    page.locator("#limits-panels").wait_for(state="visible")


def slide(page, label: str, value: float) -> None:
    """Move a slider as a hand would: the input event carries the value."""
    page.get_by_label(f"range slider for {label}").evaluate(
        """(element, value) => {
            element.value = value;
            element.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        value,
    )


def wait_until(condition: Callable[[], bool], page) -> None:
    """Ask again until it holds."""
    end = time.monotonic() + TIMEOUT / 1000
    while not condition():
        assert time.monotonic() < end, "the page did not get there in time"
        page.wait_for_timeout(200)


def detail(image: np.ndarray) -> float:
    grey = image.astype(float).mean(axis=2)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [
        ("desktop", 1280, 900, "light"),
        ("phone", 390, 844, "light"),
        ("dark", 1280, 900, "dark"),
    ],
)
def test_opens_on_a_finished_example(open_page, name, width, height, scheme):
    page = open_page(width, height, color_scheme=scheme)
    SHOTS.mkdir(exist_ok=True)
    pictures = [
        pixels(page, "restore-panels", p) for p in ("degraded", "guide", "warped", "restored")
    ]
    assert [p.shape for p in pictures] == [(256, 256, 3)] * 2 + [(512, 512, 3), (256, 256, 3)]
    assert all(p.std() > 10 for p in pictures)
    boxes = [b.bounding_box() for b in page.locator("#restore-panels .gfr-frame").all()]
    sides = [side for b in boxes for side in (b["width"], b["height"])]
    assert max(sides) - min(sides) < 1.5
    if width > 1000:
        assert len({round(b["y"]) for b in boxes}) == 1
    page.wait_for_function(
        "[...document.querySelectorAll('#compare img')].every(i => i.complete && i.naturalWidth)"
    )
    page.screenshot(path=SHOTS / f"{name}-restore.png", full_page=True)
    open_limits(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=SHOTS / f"{name}-limits.png", full_page=True)
    for image in page.locator(".gfr-panel img").all():
        assert len(image.get_attribute("alt")) > 10


def test_an_example_fills_both_halves(open_page):
    page = open_page()
    before = panel_source(page, "restore-panels", "guide")
    page.get_by_role("button", name="Example person 4").click()
    wait_for_change(page, "restore-panels", "guide", before)
    open_limits(page)
    assert panel_source(page, "limits-panels", "guide") == panel_source(
        page, "restore-panels", "guide"
    )
    page.get_by_role("tab", name="Restore my photo").click()
    assert page.locator("#photo img").get_attribute("src").endswith(".png")


def test_sliders_act_live(open_page):
    page = open_page()
    open_limits(page)
    before = panel_source(page, "limits-panels", "degraded")
    slide(page, "Noise, σ", 0)
    wait_for_change(page, "limits-panels", "degraded", before)
    sharp = pixels(page, "limits-panels", "degraded")
    output = panel_source(page, "limits-panels", "restored")
    scores = page.locator("#scores").inner_text()
    degraded = panel_source(page, "limits-panels", "degraded")
    for value in np.arange(2, 8.01, 0.5):  # a drag: many events, the newest one wins
        slide(page, "Blur, σ", round(float(value), 1))
    wait_for_change(page, "limits-panels", "degraded", degraded)
    wait_for_change(page, "limits-panels", "restored", output)
    page.wait_for_function("b => document.querySelector('#scores').innerText !== b", arg=scores)
    wait_until(
        lambda: detail(pixels(page, "limits-panels", "degraded")) < 0.7 * detail(sharp), page
    )
    assert "dB" in page.locator("#scores").inner_text()


def test_a_preset_moves_the_sliders(open_page):
    page = open_page()
    open_limits(page)
    before = panel_source(page, "limits-panels", "degraded")
    page.locator("#presets").get_by_text("Tiny thumbnail").click()
    wait_for_change(page, "limits-panels", "degraded", before)
    slider = page.get_by_label("range slider for Downsampling")
    assert float(slider.input_value()) == 10


def test_restores_an_uploaded_photo_and_downloads_it(open_page, tmp_path):
    page = open_page()
    photo = Image.open(ROOT / "examples" / "composite-2" / "photo.jpg").resize((500, 500))
    photo.save(tmp_path / "me.jpg", quality=30)
    before = panel_source(page, "restore-panels", "degraded")
    upload(page, "photo", tmp_path / "me.jpg")
    page.get_by_role("button", name="Restore", exact=True).click()
    wait_for_change(page, "restore-panels", "degraded", before)
    with page.expect_download() as event:
        page.get_by_role("button", name="Download photo").click()
    file = event.value
    assert file.suggested_filename == "restored.png"
    result = Image.open(io.BytesIO(Path(file.path()).read_bytes()))
    assert result.size == (500, 500)
    assert np.abs(np.asarray(result, int) - np.asarray(photo, int)).mean() < 40


def upload(page, box: str, file: Path) -> None:
    """Replace the picture in an image box."""
    before = page.locator(f"#{box} .image-frame img").get_attribute("src")
    page.locator(f"#{box}").get_by_label("Remove Image").click()
    page.locator(f"#{box} input[type=file]").set_input_files(file)
    page.wait_for_function(
        """([s, b]) => { const i = document.querySelector(s);
           return i && i.getAttribute('src') !== b; }""",
        arg=[f"#{box} .image-frame img", before],
    )


@pytest.mark.parametrize("kind", ["no face", "no photo"])
def test_an_error_is_one_sentence(open_page, tmp_path, kind):
    page = open_page()
    if kind == "no face":
        Image.effect_noise((400, 300), 60).convert("RGB").save(tmp_path / "wall.png")
        upload(page, "photo", tmp_path / "wall.png")
    else:
        page.locator("#photo").get_by_label("Remove Image").click()
    page.get_by_role("button", name="Restore", exact=True).click()
    toast = page.locator(".toast-body").first
    toast.wait_for(state="visible")
    text = toast.inner_text()
    assert re.search("No face was found" if kind == "no face" else "Add the photo", text)
    assert "Traceback" not in text
    assert "/tmp" not in text


def test_does_the_guide_matter(open_page):
    page = open_page()
    open_limits(page)
    page.get_by_role("button", name="Does the guide matter?").click()
    page.get_by_role("button", name="Compare guides").click()
    verdict = page.locator("#guide-test-result .gfr-verdict")
    verdict.wait_for(state="visible")
    assert re.search(r"[+-]\d+\.\d dB", verdict.inner_text())
    assert page.locator("#guide-test-result img").count() == 4


def test_the_robustness_curve_is_drawn(open_page):
    page = open_page()
    open_limits(page)
    page.get_by_role("button", name="Robustness curve").click()
    page.get_by_role("button", name="Draw the curve").click()
    image = page.locator("#curve-result img")
    image.wait_for(state="visible")
    assert "with the guide" in image.get_attribute("alt")


def test_two_visitors_do_not_mix(open_page):
    one, two = open_page(), open_page()
    start = panel_source(two, "restore-panels", "guide")
    one.get_by_role("button", name="Example person 3").click()
    wait_for_change(one, "restore-panels", "guide", start)
    assert panel_source(two, "restore-panels", "guide") == start
    for page in (one, two):
        page.get_by_role("button", name="Drawing of the flow").first.click()
    before = panel_source(two, "restore-panels", "warped")
    two.get_by_label("Deformed grid").first.check()
    wait_for_change(two, "restore-panels", "warped", before)
    # Redrawn is each visitor's own face: the guide beside it stays.
    assert panel_source(two, "restore-panels", "guide") == start
