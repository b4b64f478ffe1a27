"""Pictures of what the networks did: flow arrows, deformed grid, landmarks, the row of panels.

Images are H×W×3 uint8 RGB, flows as in ``gfr.flow``. Every drawing shows how the guide's pixels
move.

Nothing here uses pyplot: figures belong to the thread that draws on them, so that several people
can be served at once.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import hsv_to_rgb, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont

from gfr.flow import arrow_grid, flow_arrows, motion, source_pixels

if TYPE_CHECKING:
    from gfr.restorer import FaceResult

BY_DIRECTION = "direction"
_FULL_COLOUR = 16.0  # pixels of motion at 256×256 at which a direction's colour is fully saturated


@dataclass(frozen=True)
class FlowStyle:
    """How a flow is drawn.

    ``spacing`` is the distance of arrows or grid lines in pixels of the flow (4…64), ``colour`` is
    ``"direction"`` (hue by the colour wheel) or any matplotlib colour, ``size`` the side of the
    drawing in pixels, ``legend`` adds the colour wheel. Out-of-range values raise ``ValueError``.
    """

    spacing: int = 16
    colour: str = BY_DIRECTION
    size: int = 512
    legend: bool = True

    def __post_init__(self) -> None:
        if not 4 <= self.spacing <= 64:
            raise ValueError(f"The arrows' spacing must lie in 4…64 pixels, not {self.spacing}.")
        if not 64 <= self.size <= 4096:
            raise ValueError(f"The drawing's size must lie in 64…4096 pixels, not {self.size}.")
        if self.colour != BY_DIRECTION:
            to_rgb(self.colour)


def direction_colours(moves: np.ndarray, full: float = _FULL_COLOUR) -> np.ndarray:
    """Colour of each motion on the wheel: hue its direction, saturation its length.

    Args:
        moves: 2×… motions in pixels, x right, y down.
        full: length from which on the colour is fully saturated.

    Returns:
        …×3 float RGB in [0, 1].
    """
    dx, dy = moves
    hue = (np.arctan2(-dy, dx) / (2 * np.pi)) % 1.0
    saturation = np.clip(np.hypot(dx, dy) / full, 0, 1) * 0.9
    return hsv_to_rgb(np.stack([hue, saturation, np.ones_like(hue)], axis=-1))


@lru_cache(maxsize=8)
def colour_wheel(size: int) -> np.ndarray:
    """The legend: a disc whose colour at each point is that of a motion pointing there.

    Returns:
        size×size×4 uint8 RGBA, transparent outside the disc; read-only, since it is shared.
    """
    big = size * 4
    axis = (np.arange(big, dtype=np.float32) + 0.5) / big * 2 - 1
    x, y = np.meshgrid(axis, axis)
    radius = np.hypot(x, y)
    rgb = direction_colours(np.stack([x, y]), full=0.9) * 255
    rgb[radius > 0.88] = 25
    rgba = np.dstack([rgb, np.where(radius <= 0.98, 255, 0)]).astype(np.uint8)
    rgba = cv2.resize(rgba, (size, size), interpolation=cv2.INTER_AREA)
    rgba.setflags(write=False)
    return rgba


def quiver(image: np.ndarray, flow: np.ndarray, style: FlowStyle | None = None) -> np.ndarray:
    """Draw the flow's arrows over the warped guide.

    Args:
        image: H×W×3 uint8, the warped guide.
        flow: 2×H×W, the sampling grid that warped it.
        style: look of the arrows; their length is true to scale.

    Returns:
        size×size×3 uint8, size from ``style``.
    """
    style = style or FlowStyle()
    _check_image(image)
    tips, moves = flow_arrows(flow, style.spacing)
    if style.colour == BY_DIRECTION:
        colours = direction_colours(moves.T, _FULL_COLOUR * flow.shape[2] / 256)
    else:
        colours = np.broadcast_to(to_rgb(style.colour), (len(tips), 3))
    ink = _canvas(*flow.shape[1:], style.spacing, style.size).draw(moves, colours)
    picture = _blend(_resize(image, style.size), ink)
    return _with_wheel(picture) if _wants_wheel(style) else picture


def deformed_grid(
    image: np.ndarray, flow: np.ndarray, style: FlowStyle | None = None
) -> np.ndarray:
    """Draw the guide's square grid where the flow carries it: arguments as in :func:`quiver`.

    A grid line x = k of the guide lies, after the warp, where flow_x(p) = k: no inverse is needed.
    """
    style = style or FlowStyle()
    _check_image(image)
    # The distance to the nearest line, in pixels, is |value - line| / |gradient of the value|.
    ratio = style.size / flow.shape[2]
    cover = np.zeros((style.size, style.size), np.float32)
    for value in source_pixels(flow):
        slope = np.hypot(*np.gradient(value)) + 1e-6
        value = cv2.resize(value - style.spacing / 2, (style.size, style.size)) / style.spacing
        slope = cv2.resize(slope, (style.size, style.size)) / (ratio * style.spacing)
        distance = np.abs(value - np.rint(value)) / slope
        np.maximum(cover, 0.5 + max(0.6, style.size / 512) - distance, out=cover)
    cover = np.minimum(cover, 1)
    if style.colour == BY_DIRECTION:
        colour = direction_colours(motion(flow), _FULL_COLOUR * flow.shape[2] / 256) * 255
        colour = cv2.resize(colour.astype(np.float32), (style.size, style.size))
    else:
        colour = np.array(to_rgb(style.colour), np.float32) * 255
    base = _resize(image, style.size).astype(np.float32)
    picture = base + (colour - base) * (0.85 * cover[..., None])
    picture = np.rint(picture).astype(np.uint8)
    return _with_wheel(picture) if _wants_wheel(style) else picture


def draw_landmarks(
    image: np.ndarray, landmarks: np.ndarray, size: int | None = None, colour: str = "#5eead4"
) -> np.ndarray:
    """Mark landmarks on a copy of the image.

    Args:
        image: H×W×3 uint8.
        landmarks: N×2 (x, y) in pixels of ``image``, continuous as in ``gfr.faces``: the centre
            of the first pixel is (0.5, 0.5).
        size: side of the copy; without it the image keeps its shape.
        colour: any matplotlib colour.
    """
    _check_image(image)
    if landmarks.ndim != 2 or landmarks.shape[1] != 2:
        raise ValueError(f"Landmarks must be N×2 pixels (x, y), not {landmarks.shape}.")
    height, width = image.shape[:2]
    picture = image.copy() if size is None else _resize(image, size)
    ratio = np.array([picture.shape[1] / width, picture.shape[0] / height])
    # OpenCV counts from pixel centres, in 1/16 pixels through `shift`.
    points = np.rint((landmarks * ratio - 0.5) * 16).astype(int)
    radius = max(14, round(22 * picture.shape[1] / 512))
    rgb = tuple(round(255 * c) for c in to_rgb(colour))
    for x, y in points:
        cv2.circle(picture, (int(x), int(y)), radius, rgb, -1, cv2.LINE_AA, shift=4)
    return picture


def difference_map(a: np.ndarray, b: np.ndarray, full: float = 64.0) -> np.ndarray:
    """Heat map of how far two images differ: H×W×3 uint8, black (equal) to white.

    Args:
        a, b: H×W×3 uint8 of equal size.
        full: mean absolute difference of the channels, in levels of 255, drawn as white.
    """
    if a.shape != b.shape:
        raise ValueError(f"The two images differ in size: {a.shape} and {b.shape}.")
    delta = np.abs(a.astype(np.float32) - b.astype(np.float32)).mean(axis=2)
    delta = cv2.GaussianBlur(delta, (0, 0), max(1.0, a.shape[1] / 256))
    level = np.clip(delta / full * 255, 0, 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


PANEL_TITLES = ("Degraded input", "Guide", "Warped guide + flow", "Restored")


def panels(face: FaceResult, size: int = 512, style: FlowStyle | None = None) -> np.ndarray:
    """The four panels of one restored face in a row, each with its title.

    Args:
        face: a face of ``Restorer.restore``; ``.guide`` may be None.
        size: side of one panel in pixels.

    Returns:
        uint8 RGB, four panels wide: degraded input, guide, warped guide with its flow, restored.
    """
    style = style or FlowStyle(size=size)
    if face.guide is None:
        guide = np.full((size, size, 3), 40, np.uint8)
        warped = _resize(face.aligned, size)
        titles = (PANEL_TITLES[0], "No guide", "Input in its place", PANEL_TITLES[3])
    else:
        guide = _resize(face.guide, size)
        warped = quiver(face.warped, face.flow, style)
        titles = PANEL_TITLES
    pictures = [_resize(face.aligned, size), guide, warped, _resize(face.restored, size)]
    gap, band = round(size / 48), round(size / 9)
    row = Image.new("RGB", (4 * size + 5 * gap, size + band + gap), "white")
    draw = ImageDraw.Draw(row)
    font = ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans")), round(size / 20))
    for i, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        left = gap + i * (size + gap)
        row.paste(Image.fromarray(_resize(picture, size)), (left, band))
        draw.text((left + size / 2, band / 2), title, "#1f2937", font, anchor="mm")
    return np.asarray(row)


class _QuiverCanvas:
    """A figure that stays alive, so that a new flow costs only the drawing of its arrows."""

    def __init__(self, height: int, width: int, spacing: int, size: int) -> None:
        figure = Figure(figsize=(1, 1), dpi=size)
        figure.patch.set_alpha(0)
        self.canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        # Data units are the flow's pixels, y down, pixel centres on whole numbers.
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="auto")
        x, y = arrow_grid(height, width, spacing).T
        self.arrows = axes.quiver(
            x,
            y,
            np.zeros_like(x),
            np.zeros_like(y),
            angles="xy",
            scale_units="xy",
            scale=1,
            pivot="tip",
            units="dots",
            width=max(1.2, size / 512 * min(2.4, 0.15 * spacing)),
            headwidth=4.2,
            headlength=4.6,
            headaxislength=4.0,
            minlength=0.6,
            linewidth=0.35 * 72 / size * max(1.0, size / 256),
            edgecolor=(0.05, 0.05, 0.1),
        )

    def draw(self, moves: np.ndarray, colours: np.ndarray) -> np.ndarray:
        self.arrows.set_UVC(*moves.T)
        self.arrows.set_facecolor(colours)
        self.canvas.draw()
        return np.asarray(self.canvas.buffer_rgba())


_thread = threading.local()


def _canvas(height: int, width: int, spacing: int, size: int) -> _QuiverCanvas:
    """This thread's canvas for these sizes: matplotlib figures must not be shared by threads."""
    if not hasattr(_thread, "canvas"):
        _thread.canvas = lru_cache(maxsize=4)(_QuiverCanvas)
    return _thread.canvas(height, width, spacing, size)


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape[:2] == (size, size):
        return image.copy()
    grows = size > image.shape[1]
    return cv2.resize(
        image, (size, size), interpolation=cv2.INTER_CUBIC if grows else cv2.INTER_AREA
    )


def _blend(base: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """RGBA over RGB. Only the inked pixels are touched: they are few."""
    rows, columns = np.nonzero(ink[..., 3])
    over = ink[rows, columns].astype(np.float32)
    under = base[rows, columns].astype(np.float32)
    alpha = over[:, 3:] / 255
    base[rows, columns] = np.rint(under + (over[:, :3] - under) * alpha).astype(np.uint8)
    return base


def _wants_wheel(style: FlowStyle) -> bool:
    return style.legend and style.colour == BY_DIRECTION


def _with_wheel(picture: np.ndarray) -> np.ndarray:
    size = picture.shape[0]
    side, margin = round(size / 7), round(size / 40)
    corner = picture[size - side - margin : size - margin, size - side - margin : size - margin]
    corner[:] = _blend(corner.copy(), colour_wheel(side))
    return picture


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"An H×W×3 uint8 image is needed, not {image.shape} {image.dtype}.")
