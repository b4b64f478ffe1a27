"""The page's looks: a Gradio theme, one style sheet, the header and the explanations."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes.utils import sizes

CSS = Path(__file__).with_name("page.css")
ICON = Path(__file__).with_name("icon.png")

_TEAL = gr.themes.Color(
    *("#effcf9", "#d3f6ef", "#a8ebdf", "#72d9c9", "#3fbfae", "#1fa391"),
    *("#138375", "#136960", "#13544e", "#134641", "#052a28"),
    name="gfr-teal",
)
_STONE = gr.themes.Color(
    *("#fafaf8", "#f4f3ef", "#e7e5df", "#d4d2ca", "#a3a29b", "#76766f"),
    *("#575853", "#43443f", "#272a29", "#191c1c", "#0f1213"),
    name="gfr-stone",
)


def theme() -> gr.themes.Base:
    """Warm paper by day, ink by night; system fonts, so that nothing is fetched from elsewhere."""
    look = gr.themes.Base(
        primary_hue=_TEAL,
        secondary_hue=_TEAL,
        neutral_hue=_STONE,
        radius_size=sizes.radius_lg,
        spacing_size=sizes.spacing_md,
        text_size=sizes.text_md,
        font=["ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif"],
        font_mono=["ui-monospace", "SF Mono", "Consolas", "Liberation Mono", "monospace"],
    )
    return look.set(
        body_background_fill="*neutral_100",
        body_background_fill_dark="*neutral_950",
        body_text_color="*neutral_800",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="white",
        background_fill_primary_dark="*neutral_900",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_400",
        block_label_text_weight="600",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_300",
        block_title_text_weight="600",
        border_color_primary="*neutral_200",
        border_color_primary_dark="*neutral_800",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_950",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover_dark="*primary_400",
        button_primary_text_color="white",
        button_primary_text_color_dark="*neutral_950",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_50",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px",
        slider_color="*primary_500",
        slider_color_dark="*primary_400",
        panel_border_width="0px",
    )


HEADER = """
<header class="gfr-header">
  <svg class="gfr-logo" viewBox="0 0 48 48" aria-hidden="true">
    <defs><clipPath id="gfr-l"><rect x="0" y="0" width="24" height="48"/></clipPath>
    <clipPath id="gfr-r"><rect x="24" y="0" width="24" height="48"/></clipPath></defs>
    <rect width="48" height="48" rx="12" class="gfr-logo-back"/>
    <g clip-path="url(#gfr-l)" class="gfr-logo-rough">
      <rect x="12" y="9" width="6" height="6"/><rect x="18" y="9" width="6" height="6"/>
      <rect x="9" y="15" width="6" height="6"/><rect x="15" y="15" width="9" height="9"/>
      <rect x="9" y="21" width="6" height="9"/><rect x="15" y="24" width="9" height="6"/>
      <rect x="12" y="30" width="6" height="6"/><rect x="18" y="30" width="6" height="9"/>
    </g>
    <g clip-path="url(#gfr-r)"><ellipse cx="24" cy="24" rx="14" ry="16" class="gfr-logo-fine"/>
    <circle cx="30" cy="21" r="2" class="gfr-logo-eye"/>
    <path d="M24 31 q6 0 8 -4" class="gfr-logo-mouth"/></g>
  </svg>
  <div><h1>Guided face restoration</h1>
  <p>A blurry photo, and one good picture of the same person: the good one guides the repair.</p>
  </div>
</header>
"""

HOW_IT_WORKS = """
<div class="gfr-how">
  <ol class="gfr-pipeline">
    <li><b>Find and align</b><span>A face mesh of 478 points cuts both faces out upright,
      256&nbsp;×&nbsp;256 pixels.</span></li>
    <li><b>WarpNet</b><span>compares the two faces and says, for every pixel, where in the guide to
      read: the flow field. It bends the guide into the pose of the bad photo.</span></li>
    <li><b>RecNet</b><span>reads the bad face and the bent guide together and paints the restored
      face.</span></li>
    <li><b>Paste back</b><span>The face goes back into your photo, its edge blended
      in.</span></li>
  </ol>
  <p>The arrows show how the guide's pixels move: each ends where its pixel lands, its length is
  true to scale, and its colour is that of its direction on the wheel. The bad photos under
  <em>Test the limits</em> are made as in the paper: blur, then downsampling, noise and JPEG, then
  back up to size. After Li, Liu, Ye, Zuo, Lin and Yang, <em>Learning Warped Guidance for Blind
  Face Restoration</em>, ECCV 2018.</p>
</div>
"""

HONEST_USE = """
<p class="gfr-honest"><b>Use it honestly.</b> Restored detail is inferred from the guide and from
other faces, not recovered from your photo: it is no evidence of who somebody is.
Photos are deleted from this server within about an hour, and sent nowhere else.
The people in the examples do not exist.</p>
"""
