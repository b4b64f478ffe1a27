"""What two face meshes say about each other: the flow between them, and where the features are.

RecNet can only learn to read a guide that is in place. Until WarpNet is good, the flow interpolated
from the true mesh points stands in for it.
"""

from __future__ import annotations

import cv2
import numpy as np

# MediaPipe face-mesh indices, about evenly spread, denser on eyes, brows, nose and mouth.
CONTROL = np.array(
    "10 338 297 332 284 251 389 356 454 323 361 288 397 365 379 378 400 377 152 148 176 149 150 "
    "136 172 58 132 93 234 127 162 21 54 103 67 109 33 160 158 133 153 144 362 385 387 263 373 "
    "380 70 105 107 336 334 300 46 52 55 285 282 276 168 6 195 5 4 1 2 98 327 48 278 115 344 61 "
    "40 37 0 267 270 291 321 314 17 84 91 78 81 13 311 308 402 14 178 50 280 205 425 101 330 118 "
    "347 187 411 207 427 9 151 8 69 299 104 333".split(),
    dtype=np.int64,
)
FEATURES = {
    "left eye": "33 246 161 160 159 158 157 173 133 155 154 153 145 144 163 7",
    "right eye": "263 466 388 387 386 385 384 398 362 382 381 380 374 373 390 249",
    "left brow": "70 63 105 66 107 55 65 52 53 46",
    "right brow": "300 293 334 296 336 285 295 282 283 276",
    "nose": "168 122 174 198 49 48 115 220 45 4 275 440 344 278 279 420 399 351 2 98 327",
    "mouth": "61 185 40 39 37 0 267 269 270 409 291 375 321 405 314 17 84 181 91 146",
}
REGIONS = {k: np.array(v.split(), dtype=np.int64) for k, v in FEATURES.items()}
OVAL = CONTROL[:36]


def mesh_flow(points: np.ndarray, guide_points: np.ndarray, side: int = 32) -> np.ndarray:
    """The thin-plate-spline flow that takes mesh points to the guide's mesh points.

    Args:
        points: 468×2 pixels (x, y) of the 256×256 face.
        guide_points: 468×2 pixels of the 256×256 guide.
        side: resolution of the answer.

    Returns:
        2×side×side float32 absolute grid in [-1, 1], x first, ``align_corners=True``.
        (Bookstein 1989; slightly smoothed, so that a fold in the mesh cannot tear it.)
    """
    a = (points[CONTROL] / 127.5 - 1).astype(np.float64)
    b = (guide_points[CONTROL] / 127.5 - 1).astype(np.float64)
    n = len(a)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _tps(a, a) + 1e-3 * np.eye(n)
    system[:n, n:] = np.c_[np.ones(n), a]
    system[n:, :n] = system[:n, n:].T
    weights = np.linalg.solve(system, np.r_[b, np.zeros((3, 2))]).astype(np.float32)
    line = np.linspace(-1, 1, side, dtype=np.float32)
    q = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    basis = np.c_[_tps(q, a.astype(np.float32)), np.ones(len(q), np.float32), q]
    flow = (basis @ weights).T.reshape(2, side, side).astype(np.float32)
    return np.clip(flow, -1.5, 1.5)


def _tps(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The kernel r² log r² between M×2 and N×2 points: M×N."""
    square = (p**2).sum(1)[:, None] + (q**2).sum(1) - 2 * p @ q.T
    square = np.maximum(square, 1e-9)
    return square * np.log(square)


def feature_weights(points: np.ndarray, side: int = 64) -> np.ndarray:
    """Weights of a pixel loss: 1 background, 2 face, 4 eyes, brows, nose and mouth.

    Args:
        points: 468×2 pixels of the 256×256 face.

    Returns:
        1×side×side float32 of mean 1.
    """
    weight = np.ones((side, side), np.float32)
    scaled = (points * (side / 256)).astype(np.int32)
    cv2.fillConvexPoly(weight, cv2.convexHull(scaled[OVAL]), 2.0)
    for indices in REGIONS.values():
        cv2.fillConvexPoly(weight, cv2.convexHull(scaled[indices]), 4.0)
    weight = cv2.GaussianBlur(weight, (0, 0), side / 64)
    return (weight / weight.mean())[None]
