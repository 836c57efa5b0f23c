"""What disturbs the count: `python -m benchmarks.disturbances`.

Draws synthetic micrographs, adds one disturbance at a time as it happens to pictures of microscopes and to pictures of
such pictures, and counts them through the whole pipeline. Prints a Markdown table: F1 and the mean difference of the
count, in the field that was counted, beside those of the same pictures undisturbed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from skimage.measure import label as connected_components
from tqdm import tqdm

from grain_model.arguments import positive_integer
from grain_model.counting import count_grains
from grain_model.errors import GrainError
from grain_model.loading import load_model
from train.markdown import markdown_table
from train.matching import match_labels, prepare_labels
from train.synthesis import SyntheticMicrograph, synthesize_micrograph
from train.synthesis.fields import smooth_noise

SIDE = 400
FAMILIES = ("etched", "bse", "tinted", "gaps", "grooved")
DIAMETERS = (20.0, 60.0)
FIRST_SEED = 7_400_000
DISTURBED = ("beyond_edge", "vignetting", "falloff", "overlay", "eyepiece", "seam", "motion", "impulses", "pores")

Disturbed = tuple[np.ndarray, np.ndarray]
"""A picture, float32 (H, W, 3) in grey levels that may leave 0..255, and its labels, int32 (H, W)."""


def covered(
    image: np.ndarray, labels: np.ndarray, cover: np.ndarray, level: float, rng: np.random.Generator
) -> Disturbed:
    """Lay something without grains over a part of the picture, bool (H, W)."""
    flat = np.float32(level) + 4 * rng.standard_normal((*cover.shape, 1), dtype=np.float32)
    left = connected_components(np.where(cover, 0, labels), background=0, connectivity=1)
    return np.where(cover[..., None], flat, image), left.astype(np.int32)


def warped(image: np.ndarray, labels: np.ndarray, matrix: np.ndarray) -> Disturbed:
    """Map the picture to other places; what comes from outside is black and no grain."""
    size = labels.shape[::-1]
    moved = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_CUBIC)
    nearest = cv2.warpPerspective(labels.astype(np.float32), matrix, size, flags=cv2.INTER_NEAREST)
    return moved, nearest.astype(np.int32)


def turned(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Disturbed:
    """A picture turned by 30 degrees, with black corners."""
    height, width = labels.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 30, 1)
    return warped(image, labels, np.vstack([matrix, [0, 0, 1]]))


def seen_aslant(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Disturbed:
    """A photograph of a print that was not taken from straight above."""
    height, width = labels.shape
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    inwards = rng.uniform(0, 0.12, (4, 2)) * (width, height) * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    return warped(image, labels, cv2.getPerspectiveTransform(corners, corners + np.float32(inwards)))


def on_a_page(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Disturbed:
    """White margins all around, a quarter of the side each."""
    width = SIDE // 4
    return (
        np.pad(image, ((width, width), (width, width), (0, 0)), constant_values=255),
        np.pad(labels, width),
    )


def in_resin(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Disturbed:
    """Mounting resin over half of the picture, beyond a slightly wavy edge."""
    row, column = np.indices(labels.shape)
    return covered(image, labels, row > SIDE / 2 + 0.02 * SIDE * np.sin(column / 40), rng.uniform(5, 120), rng)


def with_pores(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Disturbed:
    """Four black pores of one to two grains' size."""
    cover = np.zeros(labels.shape, np.uint8)
    for _ in range(4):
        centre, radius = rng.integers(0, SIDE, 2).tolist(), int(rng.integers(20, 60))
        cv2.ellipse(cover, centre, (radius, int(0.7 * radius)), rng.uniform(0, 180), 0, 360, 1, -1)
    return covered(image, labels, cover > 0, 12, rng)


def annotated(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Disturbed:
    """A figure's letter, a scale bar in a box, and five arrows with words."""
    drawn = image.astype(np.uint8)
    for number in range(5):
        tip = rng.integers(30, SIDE - 80, 2)
        tail = tip + rng.integers(-60, 60, 2)
        cv2.arrowedLine(drawn, tip.tolist(), tail.tolist(), (255, 0, 0), 3)
        cv2.putText(drawn, f"grain {number}", tip.tolist(), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 0), 2)
    cv2.putText(drawn, "(a)", (8, 40), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (255, 255, 255), 3)
    cv2.rectangle(drawn, (SIDE - 140, SIDE - 40), (SIDE - 10, SIDE - 10), (255, 255, 255), -1)
    cv2.line(drawn, (SIDE - 130, SIDE - 20), (SIDE - 20, SIDE - 20), (0, 0, 0), 4)
    return drawn.astype(np.float32), labels


def scratched(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Disturbed:
    """Six scratches of 4 px, black or white, from one side to another."""
    drawn = np.ascontiguousarray(image)
    for _ in range(6):
        grey = float(rng.choice([20, 235]))
        start, end = rng.integers(0, SIDE, (2, 2)).tolist()
        cv2.line(drawn, start, end, (grey, grey, grey), 4, cv2.LINE_AA)
    return drawn, labels


def stained(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Disturbed:
    """Five dried drops with dark rims."""
    row, column = np.indices(labels.shape, np.float32)
    for _ in range(5):
        (y, x), radius = rng.uniform(0, SIDE, 2), rng.uniform(30, 90)
        inwards = np.float32(radius) - np.hypot(row - np.float32(y), column - np.float32(x))
        light = 1 - 0.3 * rng.random(dtype=np.float32) * (inwards > 0)
        image = image * light[..., None] - 40 * np.exp(-((inwards / 2) ** 2))[..., None]
    return image, labels


def light(share: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., Disturbed]:
    """Multiply by a pattern of row and column, both float (H, W) in -1..1."""

    def lit(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Disturbed:
        row, column = (2 * axis / SIDE - 1 for axis in np.indices(labels.shape, np.float32))
        return image * share(row, column)[..., None], labels

    return lit


def pixels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Disturbed]:
    """Change the picture and not its labels."""
    return lambda image, labels, rng: (change(image), labels)


def as_jpeg(image: np.ndarray) -> np.ndarray:
    """The picture after a JPEG file of quality 15."""
    coded = cv2.imencode(".jpg", image.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 15])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.float32)


def noisy(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Disturbed:
    """Noise with a standard deviation of 25 grey levels."""
    return image + 25 * smooth_noise(rng, labels.shape, 1.0)[..., None], labels


DISTURBANCES: dict[str, Callable[..., Disturbed]] = {
    "none": pixels(lambda image: image),
    "an eighth of the contrast": pixels(lambda image: 128 + (image - 128) / 8),
    "a fifth of the light": pixels(lambda image: image / 5),
    "inverted": pixels(lambda image: 255 - image),
    "defocus, 2 px": pixels(lambda image: cv2.GaussianBlur(image, (0, 0), 2)),
    "motion blur, 7 px": pixels(lambda image: cv2.blur(image, (7, 1))),
    "JPEG of quality 15": pixels(as_jpeg),
    "noise, 25 grey levels": noisy,
    "corners lose 60 % of the light": light(lambda row, column: 1 - 0.3 * (row**2 + column**2)),
    "bands of light, 25 %": light(lambda row, column: 1 + 0.25 * np.sin(9 * np.pi * row)),
    "moire of a screen": light(
        lambda row, column: 1 + 0.15 * np.sin(420 * column + 20 * row) + 0.12 * np.sin(380 * row - 10 * column)
    ),
    "turned by 30 degrees, black corners": turned,
    "photographed aslant": seen_aslant,
    "white margins": on_a_page,
    "half of it resin": in_resin,
    "four black pores": with_pores,
    "letters, arrows and a scale bar": annotated,
    "six coarse scratches": scratched,
    "dried drops": stained,
}


def undisturbed_pictures() -> Iterator[tuple[int, SyntheticMicrograph]]:
    """Endless pictures with their seeds, the families in turn, without what the synthesiser itself disturbs."""
    for seed in itertools.count(FIRST_SEED):
        drawn = synthesize_micrograph(seed, SIDE, family=FAMILIES[seed % len(FAMILIES)], diameter=DIAMETERS)
        if not any(drawn.parameters[name] for name in DISTURBED) and drawn.parameters["reduction"] == 1:
            yield seed, drawn


def main(arguments: list[str] | None = None) -> int:
    """Count and print.

    Args:
        arguments: As typed; `None` takes those of the process.

    Returns:
        Exit code: 0.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disturbances", description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=positive_integer, default=25, help="default: 25")
    parser.add_argument("--model", help="folder or Hub id; default: the embedded weights")
    parser.add_argument("--out", type=Path, help="file that the table is written to as well")
    options = parser.parse_args(arguments)
    try:
        model = load_model(options.model)
        if options.out:
            # Told before the counting, which takes long.
            options.out.open("a").close()
    except GrainError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"--out {options.out} cannot be written to: {error.strerror}. Name another file.")
    rows = []
    pictures = itertools.islice(undisturbed_pictures(), options.pictures)
    for seed, drawn in tqdm(pictures, total=options.pictures, unit="picture", disable=None):
        for name, disturb in DISTURBANCES.items():
            image, labels = disturb(drawn.image.astype(np.float32), drawn.labels, np.random.default_rng(seed))
            counted = count_grains(np.clip(np.rint(image), 0, 255).astype(np.uint8), model=model)
            true = labels[counted.micrograph.field_slices]
            result = match_labels(prepare_labels(true), prepare_labels(counted.field_labels))
            rows.append((name, result.f1, 100 * (result.n_pred - result.n_true) / max(result.n_true, 1)))
    means = pd.DataFrame(rows, columns=["disturbance", "f1", "bias"]).groupby("disturbance", sort=False).mean()
    text = markdown_table(
        ["disturbance", "F1", "count"],
        [(row.Index, f"{row.f1:.3f}", f"{row.bias:+.0f} %") for row in means.itertuples()],
    )
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
