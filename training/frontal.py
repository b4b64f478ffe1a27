"""How frontal a face is, from its mesh: the best guide of a person looks into the camera."""

from __future__ import annotations

import numpy as np

NOSE_TIP = 1
FACE_SIDES = (234, 454)
MOUTH_CORNERS = (61, 291)
EYE_CORNERS = (33, 133, 362, 263)
# Upper lid, lower lid, outer corner, inner corner.
EYES = ((159, 145, 33, 133), (386, 374, 263, 362))
# The nose tip's place between eyes (0) and mouth (1) in the frontal photos of a studio set.
LEVEL_NOSE = 0.58
# Below this height of the lids' opening over its width an eye is closing (studio: 0.25 to 0.41).
OPEN_EYE = 0.2


def frontality(points: np.ndarray) -> float:
    """How far a face is from looking straight into the camera; 0 is perfect.

    Three parts are added. Turned sideways: the nose tip's distance from the middle between the
    face's sides, over the face's width (a frontal photo stays below 0.06, a profile reaches 0.5).
    Nodding: half the nose tip's deviation from its usual place between eyes and mouth. Closed
    eyes: five times what the lids' opening lacks.

    Args:
        points: 468×2 (x, y) mesh points of an upright, aligned face, in any unit of length.
    """
    p = np.asarray(points, np.float64)
    left, right = p[list(FACE_SIDES)]
    eyes, mouth = p[list(EYE_CORNERS)].mean(0), p[list(MOUTH_CORNERS)].mean(0)
    nose = p[NOSE_TIP]
    turn = abs(nose[0] - (left[0] + right[0]) / 2) / abs(right[0] - left[0])
    nod = abs((nose[1] - eyes[1]) / (mouth[1] - eyes[1]) - LEVEL_NOSE)
    opening = np.mean([(p[b, 1] - p[t, 1]) / np.hypot(*(p[o] - p[i])) for t, b, o, i in EYES])
    return float(turn + nod / 2 + 5 * max(0.0, OPEN_EYE - opening))
