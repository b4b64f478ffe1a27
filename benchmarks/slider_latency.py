"""How fast the page answers a slider: from the input event to the new panels on the screen.

Drives the real page in a headless Chromium. Single steps measure latency; a drag (60 events a
second) measures how closely the panels follow and how long after the last event they are final.

    python -m benchmarks.slider_latency [--url URL] [--runs 40] [--json FILE]

Without ``--url`` it starts the page itself, in this process.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

SLIDER = "range slider for Blur, σ"
PANELS = "#limits-panels .gfr-frame img"

SETUP = """
(selector) => {
    window.gfrImages = () => [...document.querySelectorAll(selector)];
    // Resolves when the restored panel has changed and is decoded, with the time that it was.
    window.gfrNext = () => new Promise((resolve) => {
        const image = window.gfrImages()[3];
        const observer = new MutationObserver(async () => {
            observer.disconnect();
            await Promise.all(window.gfrImages().map((i) => i.decode().catch(() => null)));
            requestAnimationFrame(() => resolve(performance.now()));
        });
        observer.observe(image, { attributes: true, attributeFilter: ["src"] });
    });
}
"""
STEP = """
async (slider, value) => {
    const next = window.gfrNext();
    const start = performance.now();
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    return (await next) - start;
}
"""
DRAG = """
async (slider, [low, high, milliseconds]) => {
    const image = window.gfrImages()[3];
    const seen = [];
    const observer = new MutationObserver(() => seen.push(performance.now()));
    observer.observe(image, { attributes: true, attributeFilter: ["src"] });
    const start = performance.now();
    let last = start, events = 0;
    while (performance.now() - start < milliseconds) {
        const share = (performance.now() - start) / milliseconds;
        slider.value = low + (high - low) * share;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        last = performance.now();
        events += 1;
        await new Promise(requestAnimationFrame);
    }
    // Final when nothing has changed for longer than any answer takes.
    let quiet = performance.now();
    while (performance.now() - Math.max(quiet, seen.at(-1) ?? 0) < 2500)
        await new Promise((r) => setTimeout(r, 50));
    observer.disconnect();
    return { events, updates: seen.length, settled: (seen.at(-1) ?? NaN) - last };
}
"""


def measure(url: str, chromium: str, runs: int) -> dict[str, float]:
    """Latencies in milliseconds over ``runs`` single steps, and one drag of three seconds."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    arguments += ["--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(url)
        page.get_by_role("tab", name="Test the limits").click()
        page.locator(PANELS).nth(3).wait_for(state="visible")
        page.evaluate(SETUP, PANELS)
        slider = page.get_by_label(SLIDER)
        values = [0.5 + 0.1 * (i % 60) for i in range(runs + 3)]
        times = [slider.evaluate(STEP, round(v, 1)) for v in values][3:]  # the first ones warm up
        drag = slider.evaluate(DRAG, [0, 8, 3000])
        browser.close()
    times.sort()
    return {
        "runs": runs,
        "median_ms": round(statistics.median(times), 1),
        "p95_ms": round(times[min(len(times) - 1, int(0.95 * len(times)))], 1),
        "max_ms": round(times[-1], 1),
        "drag_events": drag["events"],
        "drag_updates": drag["updates"],
        "drag_settled_ms": round(drag["settled"], 1),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="a running page; default: start one")
    parser.add_argument("--runs", type=int, default=40, help="single steps to measure")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print(
            "No chromium is installed; install it with: apt-get install chromium", file=sys.stderr
        )
        return 2
    url = options.url
    if url is None:
        import app
        from gfr.restorer import Restorer

        page = app.build(Restorer.load())
        url = app.launch(page, 0, prevent_thread_lock=True, quiet=True)
    figures = measure(url, chromium, options.runs)
    for name, value in figures.items():
        print(f"{name:16} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
