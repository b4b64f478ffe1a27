"""The drawings tell the truth: direction, scale and place of arrows and grid on known warps."""

import threading
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from gfr.flow import flow_arrows, motion
from gfr.visualize import (
    FlowStyle,
    colour_wheel,
    deformed_grid,
    difference_map,
    direction_colours,
    draw_landmarks,
    panels,
    quiver,
)
from gfr.warpnet import identity_grid, warp

SHIFT = (12, -7)  # how the guide's pixels move: to the right and up


def shift_flow(dx: float, dy: float, size: int = 256) -> np.ndarray:
    """The sampling grid of a guide moved by (dx, dy): at p it is read at p - (dx, dy)."""
    grid = identity_grid(size, size)[0].numpy()
    return grid - np.array([dx, dy], np.float32).reshape(2, 1, 1) * 2 / (size - 1)


def black(size: int = 256) -> np.ndarray:
    return np.zeros((size, size, 3), np.uint8)


def test_identity_moves_nothing():
    assert np.abs(motion(identity_grid(256, 256)[0].numpy())).max() < 1e-4


def test_motion_agrees_with_the_models_warp():
    """A bright dot of the guide lands where its arrow says."""
    guide = torch.zeros(1, 3, 256, 256)
    guide[..., 100, 80] = 1
    flow = shift_flow(*SHIFT)
    warped = warp(guide, torch.from_numpy(flow)[None])
    y, x = divmod(int(warped[0, 0].argmax()), 256)
    assert (x, y) == (80 + SHIFT[0], 100 + SHIFT[1])
    assert motion(flow)[:, y, x] == pytest.approx(SHIFT, abs=1e-3)


def test_arrows_end_where_the_pixels_land():
    tips, moves = flow_arrows(shift_flow(*SHIFT), 16)
    assert tips.shape == moves.shape == (256, 2)
    assert np.allclose(moves, SHIFT, atol=1e-3)
    assert tips.min() == 8
    assert tips.max() == 248


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("shift", [SHIFT, (-20, 0), (0, 15)])
def test_rendered_arrow_has_the_true_place_length_and_direction(shift, size):
    """Ink of one isolated arrow in the picture: from tip - shift to tip, head at the tip."""
    style = FlowStyle(spacing=64, colour="white", size=size, legend=False)
    ink = quiver(black(), shift_flow(*shift), style)[..., 0].astype(float)
    scale = size / 256
    tip = (np.array([96, 160]) + 0.5) * scale - 0.5
    around = slice(int(tip[1] - 30 * scale), int(tip[1] + 30 * scale))
    across = slice(int(tip[0] - 30 * scale), int(tip[0] + 30 * scale))
    y, x = np.nonzero(ink[around, across] > 60)
    points = np.stack([x + across.start, y + around.start], axis=1) - tip
    length = np.hypot(*shift) * scale
    unit = np.array(shift) / np.hypot(*shift)
    along, aside = points @ unit, points @ np.array([-unit[1], unit[0]])
    assert along.max() == pytest.approx(0, abs=2.5)
    assert along.min() == pytest.approx(-length, abs=2.5)
    near_tip, near_tail = along > -length / 2, along <= -length / 2
    assert np.abs(aside).max() < 8 * scale
    assert np.abs(aside[near_tip]).max() > np.abs(aside[near_tail]).max()  # the head


def test_no_motion_leaves_the_photo_visible():
    photo = np.full((256, 256, 3), 120, np.uint8)
    still = quiver(photo, identity_grid(256, 256)[0].numpy(), FlowStyle(size=256, legend=False))
    moved = quiver(photo, shift_flow(*SHIFT), FlowStyle(size=256, legend=False))
    assert (still != photo).any(axis=2).mean() < 0.02
    assert (moved != photo).any(axis=2).mean() > 0.05
    assert (photo == 120).all()


def test_drawings_repeat_exactly_after_other_flows():
    """The kept figure carries nothing over from the flow before."""
    flow, style = shift_flow(*SHIFT), FlowStyle()
    first = quiver(black(), flow, style)
    quiver(black(), shift_flow(-30, 30), style)
    assert (quiver(black(), flow, style) == first).all()


def test_threads_draw_at_once_without_mixing():
    shifts = [(12, -7), (-12, 7), (20, 20), (0, -25)]
    expected = [quiver(black(), shift_flow(*s)) for s in shifts]
    wrong: list[tuple[int, int]] = []

    def work(index: int) -> None:
        for _ in range(5):
            if (quiver(black(), shift_flow(*shifts[index])) != expected[index]).any():
                wrong.append(shifts[index])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(shifts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_deformed_grid_lies_where_the_flow_carries_it():
    still = deformed_grid(
        black(), identity_grid(256, 256)[0].numpy(), FlowStyle(32, "white", 256, legend=False)
    )
    moved = deformed_grid(black(), shift_flow(*SHIFT), FlowStyle(32, "white", 256, legend=False))
    back = np.roll(moved, (-SHIFT[1], -SHIFT[0]), axis=(0, 1))
    inner = (slice(40, 216), slice(40, 216))
    assert np.abs(back[inner].astype(int) - still[inner]).max() <= 4
    assert set(np.flatnonzero(still[8, :, 0] > 180)) >= {16, 48, 80, 112, 144, 176, 208, 240}


def test_colour_wheel_explains_the_arrows():
    wheel = colour_wheel(101)
    for moves in [(30, 0), (-30, 0), (0, 30), (0, -30), (20, -20)]:
        unit = np.array(moves) / np.hypot(*moves)
        x, y = np.rint(50 + unit * 50 * 0.82).astype(int)
        colour = direction_colours(np.array(moves, float).reshape(2, 1))[0] * 255
        assert np.abs(wheel[y, x, :3] - colour).max() < 25
    assert wheel[0, 0, 3] == 0
    assert wheel[50, 50, 3] == 255


def test_opposite_motions_differ_in_colour():
    right, left = direction_colours(np.array([[20.0, -20.0], [0.0, 0.0]]))
    assert np.abs(right - left).max() > 0.5


@pytest.mark.parametrize("size", [None, 512])
def test_landmarks_are_marked_in_place(size):
    points = np.array([[40.5, 60.5], [200.25, 128.5]], np.float32)
    picture = draw_landmarks(black(), points, size, colour="white")
    scale = 1 if size is None else size / 256
    mask = (picture[..., 0] > 127).astype(np.uint8)
    count, _, _, centres = cv2.connectedComponentsWithStats(mask)
    assert count == 3  # the background and two marks
    expected = points * scale - 0.5
    assert np.allclose(sorted(centres[1:].tolist()), expected, atol=0.6)


def test_difference_map_is_black_only_where_equal():
    a, b = black(), black()
    b[100:150, 100:150] = 80
    heat = difference_map(a, b).astype(int).sum(axis=2)
    assert heat[125, 125] > 400
    assert heat[20, 20] < 15


@pytest.mark.parametrize("with_guide", [True, False])
def test_panels_show_the_four_steps_in_order(with_guide):
    colours = {"aligned": 50, "guide": 100, "warped": 150, "restored": 200}
    face = SimpleNamespace(
        **{name: np.full((256, 256, 3), v, np.uint8) for name, v in colours.items()},
        flow=identity_grid(256, 256)[0].numpy(),
    )
    if not with_guide:
        face.guide = None
    row = panels(face, size=240)
    assert row.dtype == np.uint8
    assert row.shape[1] > 3.5 * row.shape[0]
    centre = row.shape[0] - 5 - 120
    seen = [int(row[centre + 4, 5 + 120 + i * 245 + 4, 0]) for i in range(4)]
    assert seen == ([50, 100, 150, 200] if with_guide else [50, 40, 50, 200])


def test_bad_arguments_say_what_is_wrong():
    with pytest.raises(ValueError, match="spacing"):
        FlowStyle(spacing=2)
    with pytest.raises(ValueError, match="no such colour"):
        FlowStyle(colour="no such colour")
    with pytest.raises(ValueError, match="x first"):
        motion(np.zeros((256, 256, 2)))
    with pytest.raises(ValueError, match="uint8"):
        quiver(np.zeros((256, 256, 3)), shift_flow(0, 0))
    with pytest.raises(ValueError, match="differ in size"):
        difference_map(black(256), black(128))
