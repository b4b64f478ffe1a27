"""The web page: layout and wiring. What it computes is in ``gfr/page/``."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import warnings
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before Gradio is imported

import gradio as gr

from gfr.errors import InputError
from gfr.page.actions import Actions
from gfr.page.controls import JPEG_OFF, view_defaults
from gfr.page.curve import AXES
from gfr.page.examples import Examples
from gfr.page.studio import FLOW_VIEWS
from gfr.page.theme import CSS, HEADER, HONEST_USE, HOW_IT_WORKS, ICON, theme
from gfr.page.views import (
    curve_view,
    examples_view,
    guide_test_view,
    live_compare,
    panels_view,
    photo_input,
    presets_view,
    scores_view,
)
from gfr.presets import PRESETS, RANDOM
from gfr.restorer import Restorer
from gfr.visualize import BY_DIRECTION

COLOURS = [("By direction", BY_DIRECTION), ("White", "white"), ("Yellow", "yellow")]
FILES_LIVE = 3600  # seconds until an uploaded or restored file is deleted
STRENGTH = "Guide strength"
PICTURE = {"height": 330, "min_width": 140, "buttons": []}
SMALL_PICTURE = {"height": 189, "min_width": 140, "buttons": []}
LIVE = {"trigger_mode": "always_last", "show_progress": "hidden", "concurrency_limit": 2}


def view_controls() -> list[gr.components.Component]:
    """How the flow is drawn: one set for each half of the page."""
    flow, spacing, colour, landmarks = view_defaults()
    with gr.Accordion("Drawing of the flow", open=False, elem_classes="gfr-drawing"), gr.Row():
        return [
            gr.Radio(FLOW_VIEWS, value=flow, label="Over the warped guide"),
            gr.Slider(8, 40, spacing, step=2, label="Spacing, pixels"),
            gr.Dropdown(COLOURS, value=colour, label="Colour"),
            gr.Checkbox(landmarks, label="Landmarks", info="The face mesh on every panel"),
        ]


def restore_tab(actions: Actions, session: gr.State) -> list[gr.components.Component]:
    """Restore my photo. Returns what an example fills, in the order of ``load_example``."""
    example = actions.examples.items[0]
    pair, photo_file, face_file, panels_value = actions.example_restored(0)
    with gr.Row(equal_height=True, elem_classes="gfr-inputs"):
        photo = photo_input(
            value=str(example.spoiled),
            label="Your photo",
            sources=["upload", "clipboard", "webcam"],
            alt_text="The photo to restore",
            scale=3,
            elem_id="photo",
            **PICTURE,
        )
        guides = gr.Gallery(
            [(str(example.guide), None)],
            label="Guides",
            type="filepath",
            file_types=["image"],
            columns=2,
            object_fit="cover",
            interactive=True,
            scale=3,
            elem_id="guides",
            **PICTURE,
        )
        compare = gr.ImageSlider(
            pair,
            label="Before and after",
            interactive=False,
            scale=4,
            min_width=250,
            max_height=330,
            buttons=["fullscreen"],
            elem_id="compare",
        )
    with gr.Row(equal_height=True, elem_classes="gfr-bar"):
        strength = gr.Slider(0, 1, 1, step=0.05, label=STRENGTH, scale=3, min_width=220)
        button = gr.Button("Restore", variant="primary", scale=3, elem_id="restore")
        photo_save = gr.DownloadButton(
            "Download photo", value=photo_file, scale=2, min_width=140, elem_id="download"
        )
        face_save = gr.DownloadButton(
            "Download face", value=face_file, scale=2, min_width=140, elem_id="download-face"
        )
    panels = panels_view(panels_value, elem_id="restore-panels")
    view = view_controls()
    outputs = [compare, photo_save, face_save, panels]
    button.click(
        actions.restore,
        [photo, guides, strength, *view, session],
        outputs,
        api_name="restore",
        show_progress_on=[compare],
        concurrency_limit=2,
    )
    gr.on(
        [c.input for c in view],
        actions.redraw,
        [*view, session],
        panels,
        api_name="redraw",
        **LIVE,
    )
    return [photo, guides, *outputs]


def limits_tab(actions: Actions, session: gr.State) -> list[gr.components.Component]:
    """Test the limits. Returns what an example fills, in the order of ``load_example``."""
    example = actions.examples.items[0]
    *values, panels_value, scores_value, pair = actions.example_degraded(0, None)
    panels = panels_view(panels_value, elem_id="limits-panels")
    chips = presets_view([*PRESETS, RANDOM], elem_id="presets")
    with gr.Row(equal_height=True, elem_classes="gfr-limits"):
        with gr.Column(scale=6, min_width=320):
            with gr.Group(elem_classes="gfr-sliders"):
                with gr.Row():
                    blur = gr.Slider(0, 8, values[0], step=0.1, label="Blur, σ")
                    scale = gr.Slider(1, 16, values[1], step=0.25, label="Downsampling")
                with gr.Row():
                    noise = gr.Slider(0, 40, values[2], step=0.5, label="Noise, σ")
                    jpeg = gr.Slider(5, JPEG_OFF, values[3], step=1, label="JPEG (100 off)")
                with gr.Row():
                    strength = gr.Slider(0, 1, 1, step=0.05, label=STRENGTH)
                    seed = gr.Slider(0, 999, values[4], step=1, label="Noise seed")
            scores = scores_view(scores_value | {"timing": ""}, elem_id="scores")
        compare = live_compare(
            pair,
            label="Before and after",
            scale=4,
            min_width=250,
            max_height=390,
            buttons=[],
            elem_id="limits-compare",
        )
        with gr.Column(scale=2, min_width=160, elem_classes="gfr-pair"):
            photo = photo_input(
                value=str(example.photo),
                label="Sharp photo",
                sources=["upload", "clipboard"],
                alt_text="The sharp photo that is degraded",
                elem_id="limits-photo",
                **SMALL_PICTURE,
            )
            guide = photo_input(
                value=str(example.guide),
                label="Guide",
                sources=["upload", "clipboard"],
                alt_text="The guide",
                elem_id="limits-guide",
                **SMALL_PICTURE,
            )
    view = view_controls()
    sliders = [blur, scale, noise, jpeg, seed]
    outputs = [panels, scores, compare]
    changes = [c.input for c in (*sliders, strength, *view)]
    changes += [c.upload for c in (photo, guide)] + [guide.clear]
    gr.on(
        changes,
        actions.degrade,
        [photo, guide, *sliders, strength, *view, session],
        outputs,
        api_name="degrade",
        **LIVE,
    )
    chips.click(
        actions.preset,
        [chips, photo, guide, strength, *view, session],
        [*sliders, *outputs],
        api_name="preset",
        **LIVE,
    )
    tests = [*guide_section(actions, session, photo, guide, sliders)]
    tests += curve_section(actions, session, photo, guide)
    return [photo, guide, *sliders, *outputs, *tests]


def guide_section(actions, session, photo, guide, sliders) -> list[gr.components.Component]:
    with gr.Accordion("Does the guide matter?", open=False):
        gr.Markdown("The same degraded face, restored three times.", elem_classes="gfr-caption")
        button = gr.Button("Compare guides", elem_classes="gfr-action", elem_id="guide-test")
        view = guide_test_view(elem_id="guide-test-result")
    button.click(actions.guide_test, [photo, guide, *sliders, session], view, api_name="guide_test")
    return [view]


def curve_section(actions, session, photo, guide) -> list[gr.components.Component]:
    with gr.Accordion("Robustness curve", open=False):
        with gr.Row(elem_classes="gfr-curve-bar"):
            axis = gr.Dropdown([(v.capitalize(), k) for k, v in AXES.items()], label="Over")
            button = gr.Button("Draw the curve", elem_classes="gfr-action", elem_id="curve")
        view = curve_view(elem_id="curve-result")
    button.click(actions.curve, [photo, guide, axis, session], view, api_name="curve")
    return [view]


def build(restorer: Restorer) -> gr.Blocks:
    """The page for these networks."""
    examples = Examples(restorer)
    actions = Actions(restorer, examples)
    with gr.Blocks(
        title="Guided face restoration",
        analytics_enabled=False,
        delete_cache=(600, FILES_LIVE),
    ) as page:
        session = gr.State(None)
        page.load(actions.new_session, None, session, api_visibility="private")
        with gr.Row(equal_height=True, elem_classes="gfr-top"):
            gr.HTML(HEADER, scale=5, min_width=320)
            strip = examples_view(
                [item.thumbnail for item in examples.items],
                scale=4,
                min_width=300,
                elem_id="examples",
            )
        with gr.Tabs():
            with gr.Tab("Restore my photo", id="restore"):
                filled = restore_tab(actions, session)
            with gr.Tab("Test the limits", id="limits"):
                filled += limits_tab(actions, session)
        with gr.Accordion("How it works", open=False):
            gr.HTML(HOW_IT_WORKS)
        gr.HTML(HONEST_USE)
        strip.click(
            actions.load_example,
            [strip, session],
            filled,
            api_name="load_example",
            show_progress="hidden",
        )
    return page


def launch(page: gr.Blocks, port: int, **options: Any) -> str:
    """Serve the page; returns its address."""
    # Tools without a session work as they should: they read each photo anew.
    warnings.filterwarnings("ignore", message="This MCP server includes a tool that has a gr.State")
    _, url, _ = page.queue(default_concurrency_limit=2).launch(
        server_port=port,
        theme=theme(),
        css_paths=CSS,
        favicon_path=ICON,
        footer_links=["api"],
        run_history=False,
        enable_monitoring=False,
        mcp_server=True,
        max_file_size="60mb",
        **options,
    )
    return url


def main() -> int:
    """Serve the page on http://127.0.0.1:7860; ``PORT`` or ``GRADIO_SERVER_PORT`` changes that."""
    # A polite kill ends like Ctrl-C, so that what visitors uploaded is deleted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="gfr-page-") as files:
        os.environ["GRADIO_TEMP_DIR"] = files
        try:
            launch(build(Restorer.load()), read_port())
        except (InputError, OSError) as error:
            print(error, file=sys.stderr)
            return 2
    return 0


def read_port() -> int:
    """The port that the environment asks for.

    Raises:
        InputError: it is not a number from 1 to 65535.
    """
    port = os.environ.get("PORT") or os.environ.get("GRADIO_SERVER_PORT") or "7860"
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"PORT must be a number from 1 to 65535, not {port}.")
    return int(port)


if __name__ == "__main__":
    sys.exit(main())
