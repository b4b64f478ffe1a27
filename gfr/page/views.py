"""The page's own views: images and figures as HTML that is updated in place, without flicker.

The live pictures travel inside the event's answer as JPEG data URIs: four panels need no file on
the server's disk, no further request, and about 100 kB. Each view is a ``gr.HTML`` whose value is
plain data, so that the same endpoint serves the page and the API.
"""

from __future__ import annotations

import base64
import html
import json
from typing import Any

import cv2
import gradio as gr
import numpy as np
from gradio.components.imageslider import SliderData
from gradio.data_classes import ImageData

from gfr.visualize import PANEL_TITLES

_PANELS = ("degraded", "guide", "warped", "restored")
_ALT = (
    "The degraded face that goes into the networks",
    "The guide: a sharp photo of the same person, aligned",
    "The guide bent onto the degraded face, with the flow field drawn over it",
    "The face as the network restored it",
)


def to_uri(image: np.ndarray, quality: int = 90) -> str:
    """H×W×3 uint8 RGB to a JPEG data URI, colours at full resolution: thin arrows need it."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not ok:
        raise ValueError(f"OpenCV could not encode a {image.shape} image as JPEG.")
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def panels_view(value: dict[str, Any] | None, **options: Any) -> gr.HTML:
    """The four panels; the value is that of :func:`gfr.page.studio.panels_value`."""
    figures = "".join(map(_figure, _PANELS, PANEL_TITLES, _ALT))
    return _view(
        value,
        f'<div class="gfr-panels">{figures}</div>',
        {f"{n}{s}": {"type": "string"} for n in _PANELS for s in ("", "_note")},
        "the four panels as JPEG data URIs (degraded, guide, warped, restored), each with a note",
        **options,
    )


def scores_view(value: dict[str, Any] | None, **options: Any) -> gr.HTML:
    """Figures where the truth is known; the value is ``Scores.value``."""
    cell = (
        '<div class="gfr-score"><span class="gfr-score-name">{name}</span>'
        '<span class="gfr-score-pair">{{{{value.{key}_input}}}} <i>→</i> '
        "<b>{{{{value.{key}_output}}}}</b></span>"
        '<span class="gfr-score-gain {{{{value.{key}_class}}}}">{{{{value.{key}_gain}}}}</span>'
        "</div>"
    )
    cells = cell.format(name="PSNR, dB", key="psnr") + cell.format(name="SSIM", key="ssim")
    timing = '<div class="gfr-timing">{{value.timing}}</div>'
    keys = [f"{k}_{p}" for k in ("psnr", "ssim") for p in ("input", "output", "gain", "class")]
    return _view(
        value,
        f'<div class="gfr-scores" role="status">{cells}{timing}</div>',
        {k: {"type": "string"} for k in [*keys, "timing"]},
        "PSNR and SSIM of the degraded input and of the output against the sharp original",
        **options,
    )


def guide_test_view(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """The output with this guide, without one and with a stranger's, side by side."""
    names = {
        "right": ("This guide", "The face restored with the chosen guide"),
        "none": ("No guide", "The face restored without any guide"),
        "wrong": ("Stranger's guide", "The face restored with another person's photo"),
        "heat": ("Difference", "Heat map of the difference the guide makes"),
    }
    figures = "".join(_figure(k, title, alt) for k, (title, alt) in names.items())
    template = (
        '{{#if value}}<p class="gfr-verdict" role="status"><b>{{value.number}}</b> '
        f'{{{{value.sentence}}}}</p><div class="gfr-panels">{figures}</div>{{{{/if}}}}'
    )
    keys = [f"{k}{s}" for k in names for s in ("", "_note")]
    return _view(
        value,
        template,
        {k: {"type": "string"} for k in [*keys, "number", "sentence"]},
        "outputs with this guide, with none, with a stranger's, and their difference",
        **options,
    )


def curve_view(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """The robustness curve: a picture, and its points for the API."""
    template = (
        '{{#if value}}<figure class="gfr-curve"><img src="{{value.image}}" alt="{{value.alt}}">'
        "</figure>{{/if}}"
    )
    properties = {k: {"type": "string"} for k in ("image", "alt")}
    properties["points"] = {"type": "array", "items": {"type": "object"}}
    return _view(value, template, properties, "the robustness curve and its points", **options)


def examples_view(thumbnails: list[np.ndarray], **options: Any) -> gr.HTML:
    """Buttons with the examples' thumbnails; the value is the index of the one chosen."""
    names = [f"Example person {i + 1}" for i in range(len(thumbnails))]
    faces = [f'<img src="{to_uri(picture)}" alt="">' for picture in thumbnails]
    choices = list(zip(range(len(names)), names, faces, strict=True))
    schema = {"type": "integer", "description": "which example, from 0"}
    return _buttons("gfr-examples", "Try an example", choices, schema, **options)


def presets_view(names: list[str], **options: Any) -> gr.HTML:
    """A button for each preset; the value is the name of the one chosen."""
    choices = [(name, name, html.escape(name)) for name in names]
    schema = {"type": "string", "enum": names, "description": "which preset"}
    return _buttons("gfr-presets", "Presets", choices, schema, **options)


def _buttons(
    kind: str,
    label: str,
    choices: list[tuple[Any, str, str]],
    schema: dict[str, Any],
    **options: Any,
) -> gr.HTML:
    """A row of buttons (value, name, content): a click sets the view's value and is its event."""
    buttons = "".join(
        f'<button type="button" data-value="{html.escape(json.dumps(value))}" '
        f'title="{html.escape(name)}" aria-label="{html.escape(name)}">{content}</button>'
        for value, name, content in choices
    )
    view = gr.HTML(
        choices[0][0],
        html_template=(
            f'<div class="{kind}" data-chosen="${{value}}"><span>{label}</span>'
            f"<div>{buttons}</div></div>"
        ),
        js_on_load="""
            element.addEventListener("click", (event) => {
                const button = event.target.closest("button[data-value]");
                if (!button) return;
                props.value = JSON.parse(button.dataset.value);
                trigger("click");
            });
        """,
        apply_default_css=False,
        **options,
    )
    view.api_info = lambda: schema
    view.example_payload = view.example_value = lambda: choices[0][0]
    return view


def live_compare(pair: tuple[np.ndarray, np.ndarray], **options: Any) -> gr.ImageSlider:
    """A before/after slider whose updates, like the panels, travel inside the answer."""
    slider = gr.ImageSlider(pair, interactive=False, **options)

    def inline(pair: tuple[np.ndarray, np.ndarray] | None) -> SliderData | None:
        if pair is None:
            return None
        return SliderData(root=tuple(ImageData(url=to_uri(image)) for image in pair))

    slider.postprocess = inline
    return slider


def photo_input(**options: Any) -> gr.Image:
    """An upload that hands over the path: ``gfr.images`` reads more formats than Gradio, turns
    photos upright, and says in a sentence what is wrong with a file."""
    image = gr.Image(type="filepath", image_mode=None, **options)
    image.preprocess = lambda payload: None if payload is None else payload.path
    return image


def _figure(name: str, title: str, alt: str) -> str:
    """One panel's template: a square picture, or a word where there is none, and its caption."""
    return (
        f'<figure class="gfr-panel" data-panel="{name}"><div class="gfr-frame">'
        f'{{{{#if value.{name}}}}}<img src="{{{{value.{name}}}}}" alt="{alt}" width="256" '
        'height="256" decoding="sync">'
        '{{else}}<div class="gfr-empty">no guide</div>{{/if}}</div>'
        f"<figcaption><b>{title}</b><span>{{{{value.{name}_note}}}}</span></figcaption></figure>"
    )


def _view(
    value: Any, template: str, properties: dict[str, Any], description: str, **options: Any
) -> gr.HTML:
    view = gr.HTML(
        value, html_template=template, js_on_load=None, apply_default_css=False, **options
    )
    schema = {"type": "object", "properties": properties, "description": description}
    view.api_info = lambda: schema
    view.example_payload = view.example_value = dict
    return view
