"""A grid of pictures with titles, as one image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 4
TITLE = 24


def picture_grid(
    rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], names: Sequence[str] = ()
) -> np.ndarray:
    """Lay pictures out in rows under column titles.

    Args:
        rows: equally long rows of H×W×3 uint8 RGB pictures, all of one size.
        titles: one per column.
        names: one per row, written into its first picture's lower left corner; empty for none.

    Returns:
        H×W×3 uint8 RGB on white.

    Raises:
        ValueError: there is no row, or the pictures or titles do not fill a grid.
    """
    if not rows or any(len(row) != len(titles) for row in rows):
        raise ValueError(f"Every row needs {len(titles)} pictures, one per title.")
    if len({picture.shape for row in rows for picture in row}) != 1:
        raise ValueError("The pictures of a grid must have one size.")
    height, width = rows[0][0].shape[:2]
    size = (len(titles) * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP + TITLE)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(15)
    for column, title in enumerate(titles):
        x = column * (width + GAP) + width / 2
        draw.text((x, TITLE / 2), title, "black", font, anchor="mm")
    for i, row in enumerate(rows):
        y = TITLE + i * (height + GAP)
        for column, picture in enumerate(row):
            canvas.paste(Image.fromarray(picture), (column * (width + GAP), y))
    for i, name in enumerate(names):
        y = TITLE + i * (height + GAP) + height - 5
        draw.text((5, y), name, "white", font, anchor="ls", stroke_width=2, stroke_fill="black")
    return np.asarray(canvas)
