"""Maps of interior, boundary and distance -> one label a grain."""

import heapq
import math
from dataclasses import replace

import cv2
import numpy as np
from skimage.segmentation import relabel_sequential, watershed

from .errors import MeasurementError
from .label_image import has_other_label, touching
from .label_settings import DEFAULT_SETTINGS, LabelSettings
from .typical_grain import typical_area

INTERIOR, BOUNDARY, DISTANCE = 0, 1, 2
# Seeds are local maxima of the distance map in a window of this many px; too many do no harm, they are merged below.
SEED_WINDOW = 7
# Two neighbours are one grain where the mean boundary evidence along their common border is below this, at a boundary
# sensitivity of 0.5. Chosen once for all materials.
MERGE_BELOW = 0.575
# A piece smaller than this share of the image's typical grain is a fragment, unless its borders are all but certain
# and it is at least a quarter of that. Typical: half of the grains' area lies in larger grains, half in smaller ones.
FRAGMENT_SHARE = 0.08
CERTAIN_BORDER = 0.9
# A smaller piece is kept, too, if it has LEAST_GRAIN px, all its borders are certain, and half of their length is
# shared with pieces of at most ALIKE times its area: fine grains lie among fine grains, particles do not.
LEAST_GRAIN = 20
ALIKE = 4.0
# Where regions are carried over to larger maps, their rims of this width (px of the smaller maps) are drawn anew.
REDRAWN_RIM = 2.0


def label_grains(
    probabilities: np.ndarray, settings: LabelSettings = DEFAULT_SETTINGS, *, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Separate the grains and draw the boundaries between them.

    Which pieces are one grain is decided on the maps as they are, since enlarged maps smear the evidence along a
    border; the outlines then follow the maps at the size that is asked for.

    Args:
        probabilities: As in `grain_regions`.
        settings: As in `grain_regions`, but that the smallest grain is in px of the labels.
        size: Height and width of the labels; that of the maps if left out.

    Returns:
        int32 (H, W), grains 1..n without gaps, 0 = boundary (a thin line between touching grains), gap or not a grain;
        and float32 (n,), the confidence in each grain, 0 to 1.

    Raises:
        MeasurementError: If the arguments do not fit.
    """
    _check(probabilities, size)
    maps = np.asarray(probabilities, np.float32)
    own = maps.shape[1:]
    size = own if size is None else tuple(size)
    # Pixels of the maps for one of the labels.
    density = math.prod(own) / math.prod(size)
    is_enlarged = size != own and density <= 1
    if is_enlarged and settings.method == "components":
        maps, density, is_enlarged = resample(maps, size), 1.0, False
    if settings.min_grain_area is not None:
        settings = replace(settings, min_grain_area=settings.min_grain_area * density)
    regions = grain_regions(maps, settings)
    if is_enlarged:
        maps = resample(maps, size)
        regions = _redraw(regions, maps)
    labels, *_ = relabel_sequential(_cut_touching(regions))
    confidence = grain_confidence(labels, maps)
    if labels.shape != size:
        # Reduced maps would lose thin boundaries, so the labels are reduced.
        labels = _cut_touching(cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
        labels, _, former = relabel_sequential(labels)
        confidence = confidence[np.asarray(former)[1:] - 1]
    return labels, confidence


def resample(channels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring float (C, H, W) to another (height, width); pixel areas stay aligned, and the type becomes float32."""
    channels = np.asarray(channels, np.float32)
    if channels.shape[1:] == tuple(size):
        return channels
    method = cv2.INTER_AREA if size[1] < channels.shape[2] else cv2.INTER_LINEAR
    return np.stack([cv2.resize(channel, size[::-1], interpolation=method) for channel in channels])


def _check(probabilities: np.ndarray, size: tuple[int, int] | None = None) -> None:
    """Refuse what are no maps, or no size of labels."""
    if probabilities.ndim != 3 or len(probabilities) < 2:
        raise MeasurementError(
            f"The probability maps have the shape {probabilities.shape}: expected (C, H, W) with interior and boundary "
            "first, so C of at least 2. Pass the sigmoid of the model's logits."
        )
    if not np.isfinite(probabilities).all():
        raise MeasurementError(
            "The probability maps hold NaN or infinity, as a network gives whose training diverged. Expected are "
            "numbers from 0 to 1. Use another checkpoint."
        )
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise MeasurementError(
            f"The size of the labels is {tuple(size)}: expected a height and a width of at least 1 px. Leave it out to "
            "keep that of the maps."
        )


def grain_regions(probabilities: np.ndarray, settings: LabelSettings = DEFAULT_SETTINGS) -> np.ndarray:
    """Separate the grains; grains that touch share a border without a line between them.

    `"watershed"` floods from many seeds over the boundary map and then joins neighbours again whose common border
    shows too little boundary in the mean. A gap in a boundary therefore joins two grains only if the rest of the
    boundary is faint as well, and a line that ends inside a grain does not cut it. `"components"` labels the connected
    components of the thresholded interior map.

    Args:
        probabilities: float (C, H, W) in [0, 1]: interior, boundary and, where the model gives it, relative distance.
        settings: How; the smallest grain in px of the maps.

    Returns:
        int32 (H, W), grains 1..n without gaps, 0 = gap or not a grain.

    Raises:
        MeasurementError: If the arguments do not fit.
    """
    _check(probabilities)
    maps = np.asarray(probabilities, np.float32)
    separate = _components if settings.method == "components" else _flood_and_merge
    return separate(maps, settings.boundary_sensitivity, settings.min_grain_area)


def _components(maps: np.ndarray, sensitivity: float, min_area: float | None) -> np.ndarray:
    mask = (maps[INTERIOR] > sensitivity).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4, ltype=cv2.CV_32S)
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    areas[0] = 0
    kept = np.where(areas >= _smallest(areas[1:], min_area), np.arange(len(areas), dtype=np.int32), 0)
    return relabel_sequential(kept[labels])[0]


def _flood_and_merge(maps: np.ndarray, sensitivity: float, min_area: float | None) -> np.ndarray:
    basins, evidence = flood(maps)
    if basins.max() == 0:
        return basins
    regions = _merge_weak_borders(basins, evidence, 2 * (1 - sensitivity) * MERGE_BELOW)
    return _drop_fragments(np.where(_foreground(maps), regions, 0), maps[INTERIOR], evidence, min_area)


def flood(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut maps into the pieces that grains are put together from.

    Gaps and wide boundaries are flooded too, to be left out at the end: the border of two grains is all that lies
    between them, and not only the narrow places where they touch.

    Args:
        maps: float32 (C, H, W), as the probabilities of `grain_regions`.

    Returns:
        int32 (H, W), pieces 1..n that cover everything, or only 0 where no grain is seen; and float32 (H, W), 0 to 1,
        the evidence that a pixel parts two grains, whose mean along a border decides whether it stays.
    """
    distance, evidence = _distance(maps), _evidence(maps)
    seeds = _seeds(distance, maps[INTERIOR], _foreground(maps))
    if seeds.max() == 0:
        return seeds, evidence
    return watershed(_height(evidence, distance), seeds).astype(np.int32), evidence


def _redraw(regions: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Carry regions over to larger maps, int32 at their size; the rims follow what these maps show."""
    _, height, width = maps.shape
    coarse = cv2.resize(regions, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    reach = max(round(REDRAWN_RIM * width / regions.shape[1]), 1)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    cores = np.where(has_other_label(coarse, around), 0, coarse)
    # Grains that are nothing but rim stay as they are.
    whole = np.bincount(cores.ravel(), minlength=int(regions.max()) + 1) == 0
    cores = np.where(whole[coarse], coarse, cores)
    # The flood starts from the cores' edges only: their insides would be queued for nothing.
    reached = cv2.dilate((coarse > 0).astype(np.uint8), around) > 0
    rim = ((cores == 0) & reached).astype(np.uint8)
    rim = (cv2.dilate(rim, np.ones((3, 3), np.uint8)) > 0) & reached
    flooded = watershed(_height(_evidence(maps), _distance(maps)), np.where(rim, cores, 0), mask=rim)
    return np.where(_foreground(maps), np.where(cores > 0, cores, flooded), 0).astype(np.int32)


def _foreground(maps: np.ndarray) -> np.ndarray:
    """Bool (H, W): the grains' insides, grown by the rim of one pixel that the maps leave out.

    So touching grains meet and gaps stay open.
    """
    return cv2.dilate((maps[INTERIOR] > 0.5).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _evidence(maps: np.ndarray) -> np.ndarray:
    """Whatever is not the inside of a grain parts two grains, a seen boundary or a gap; float32 (H, W) in [0, 1]."""
    return np.maximum(maps[BOUNDARY], 1 - maps[INTERIOR])


def _height(evidence: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """What is flooded, int32 (H, W); the distance breaks ties where no boundary was seen."""
    return np.round((evidence + 0.5 * (1 - distance)) * 255).astype(np.int32)


def _distance(maps: np.ndarray) -> np.ndarray:
    """Relative distance to the boundary, float32 (H, W): the model's own, or taken from the interior."""
    if len(maps) > DISTANCE:
        return maps[DISTANCE]
    distance = cv2.distanceTransform((maps[INTERIOR] > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    return distance / max(float(distance.max()), 1.0)


def _seeds(distance: np.ndarray, interior: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    smooth = cv2.GaussianBlur(distance, (0, 0), 1.0)
    highest = cv2.dilate(smooth, np.ones((SEED_WINDOW, SEED_WINDOW), np.uint8))
    peaks = (smooth >= highest - 1e-3) & foreground & (interior > 0.5) & (smooth > 0.1)
    _, seeds = cv2.connectedComponents(peaks.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    return seeds


def _borders(regions: np.ndarray, boundary: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbouring regions, the length of their common border in px and the boundary probability summed along it."""
    n = int(regions.max()) + 1
    keys, values = [], []
    for here, there, touch in touching(regions):
        a, b = regions[here][touch], regions[there][touch]
        keys.append(np.minimum(a, b).astype(np.int64) * n + np.maximum(a, b))
        values.append(np.maximum(boundary[here][touch], boundary[there][touch]))
    pairs, index = np.unique(np.concatenate(keys), return_inverse=True)
    length = np.bincount(index, minlength=len(pairs)).astype(np.float64)
    total = np.bincount(index, np.concatenate(values), len(pairs))
    return np.stack([pairs // n, pairs % n], axis=1), length, total


def _merge_weak_borders(regions: np.ndarray, boundary: np.ndarray, threshold: float) -> np.ndarray:
    """Join neighbours, the weakest border first, until every border is at least `threshold` strong in the mean."""
    pairs, length, total = _borders(regions, boundary)
    graph: dict[int, dict[int, tuple[float, float]]] = {}
    heap = []
    for (a, b), size, value in zip(pairs.tolist(), length.tolist(), total.tolist(), strict=True):
        graph.setdefault(a, {})[b] = graph.setdefault(b, {})[a] = (size, value)
        if value < threshold * size:
            heap.append((value / size, size, a, b))
    heapq.heapify(heap)
    parent = np.arange(int(regions.max()) + 1)
    while heap:
        strength, size, a, b = heapq.heappop(heap)
        border = graph.get(a, {}).get(b)
        if border is None or border[0] != size or border[1] / size != strength:
            continue  # one of the two has grown since
        if len(graph[a]) < len(graph[b]):
            a, b = b, a
        parent[b] = a
        del graph[a][b]
        for c, (size_c, value_c) in graph.pop(b).items():
            if c == a:
                continue
            del graph[c][b]
            known = graph[a].get(c, (0.0, 0.0))
            joined = (known[0] + size_c, known[1] + value_c)
            graph[a][c] = graph[c][a] = joined
            if joined[1] < threshold * joined[0]:
                heapq.heappush(heap, (joined[1] / joined[0], joined[0], a, c))
    return _resolve(parent)[regions]


def _resolve(parent: np.ndarray) -> np.ndarray:
    """Follow every chain of parents to its end."""
    while True:
        further = parent[parent]
        if np.array_equal(further, parent):
            return parent.astype(np.int32)
        parent = further


def _smallest(areas: np.ndarray, min_area: float | None) -> float:
    if min_area is not None:
        return float(min_area)
    return FRAGMENT_SHARE * typical_area(areas) if len(areas) else 0.0


def _drop_fragments(
    regions: np.ndarray, interior: np.ndarray, boundary: np.ndarray, min_area: float | None
) -> np.ndarray:
    """Give fragments to the neighbour behind their weakest border; drop those without neighbours and non-grains."""
    n = int(regions.max()) + 1
    areas = np.bincount(regions.ravel(), minlength=n).astype(np.float64)
    areas[0] = 0
    inside = np.bincount(regions.ravel(), interior.ravel(), n) / np.maximum(areas, 1)
    smallest = _smallest(areas[areas > 0], min_area)
    fragment = (areas > 0) & (areas < smallest)
    # A basin without interior is a stretch of gap or boundary.
    is_gap = (areas > 0) & (inside < 0.2)
    parent = np.arange(n, dtype=np.int32)
    if fragment.any():
        pairs, length, total = _borders(regions, boundary)
        strength = total / np.maximum(length, 1)
        if min_area is None:
            around, seen = (np.bincount(pairs.ravel(), np.repeat(w, 2), n) for w in (length, total))
            certain = (around > 0) & (seen >= CERTAIN_BORDER * around)
            beside_alike = np.zeros(n)
            for one, other in (pairs.T, pairs.T[::-1]):
                alike = (areas[other] <= ALIKE * areas[one]) & ~is_gap[other]
                beside_alike += np.bincount(one, length * alike, n)
            is_grain = (areas >= 0.25 * smallest) | ((areas >= LEAST_GRAIN) & (beside_alike >= 0.5 * around))
            fragment &= ~(certain & is_grain)
        best: dict[int, tuple[float, int]] = {}
        for (a, b), value in zip(pairs.tolist(), strength.tolist(), strict=True):
            for one, other in ((a, b), (b, a)):
                if fragment[one] and not fragment[other] and not is_gap[other] and value < best.get(one, (2.0, 0))[0]:
                    best[one] = (value, other)
        for one, (_, other) in best.items():
            parent[one] = other
        parent[fragment & (parent == np.arange(n))] = 0
    parent[is_gap & (parent == np.arange(n))] = 0
    return relabel_sequential(parent[regions])[0]


def _cut_touching(regions: np.ndarray) -> np.ndarray:
    """Set a line of one pixel between touching grains to 0, so that not even corners of two grains touch."""
    line = np.zeros(regions.shape, bool)
    for here, _, touch in touching(regions, corners=True):
        line[here] |= touch
    return np.where(line, 0, regions)


def grain_confidence(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Mean certainty inside a grain, times the mean boundary evidence along its rim.

    Args:
        labels: int32 (H, W), grains 1..n without gaps.
        probabilities: float (C, H, W) in [0, 1]: interior, boundary and more.

    Returns:
        float32 (n,), 0 to 1.
    """
    maps = np.asarray(probabilities, np.float32)
    n = int(labels.max()) + 1
    areas = np.maximum(np.bincount(labels.ravel(), minlength=n), 1)
    inside = np.bincount(labels.ravel(), np.maximum(maps[INTERIOR], maps[BOUNDARY]).ravel(), n) / areas
    kernel = np.ones((3, 3), np.uint8)
    # The highest beside each rim pixel.
    evidence = cv2.dilate(_evidence(maps), kernel)
    rim = (labels > 0) & has_other_label(labels, kernel)
    length = np.bincount(labels[rim], minlength=n)
    strength = np.bincount(labels[rim], evidence[rim], n) / np.maximum(length, 1)
    strength[length == 0] = 1.0
    return np.clip(inside * strength, 0, 1)[1:].astype(np.float32)
