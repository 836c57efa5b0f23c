"""`python -m train pseudo-label`: the seed's notebook as a reproducible pipeline from micrographs to binary masks.

Contrast-limited equalisation, Gaussian blur, threshold, closing, dilation, opening, removal of small components. Masks
made so are weak labels: they count specks and miss boundaries.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from grain_model.arguments import kernel_side, natural_number, positive_integer, positive_number
from grain_model.errors import GrainError, ImageError
from grain_model.image_listing import IMAGE_SUFFIXES, images_in
from grain_model.micrograph import read_micrograph
from grain_model.png_file import write_png
from grain_model.result_folder import make_output
from train.contenders import to_grey
from train.labelled import refuse_filled_folder

# Larger disks and windows would take minutes a picture, or more memory than there is.
MOST_PX = 999


@dataclass(frozen=True)
class PseudoLabelSettings:
    """Parameters of the pipeline.

    Attributes:
        threshold: `"otsu"` for one threshold an image, `"adaptive"` for one against the local mean.
        clip_limit: Contrast limit of the equalisation, > 0.
        tiles: Tiles of the equalisation along each side, >= 1.
        blur: Side of the Gaussian kernel in px, odd.
        window: Side of the adaptive threshold's neighbourhood in px, odd, >= 3.
        offset: Grey levels by which a grain's pixel may lie under the local mean.
        closing: Diameter of the closing's disk in px; 1 does nothing, as in the two after it.
        dilation: Diameter of the dilation's disk in px.
        opening: Diameter of the opening's disk in px.
        min_area: Smallest component kept in px.
        dark_grains: Whether grains are darker than what separates them.
    """

    threshold: str = "otsu"
    clip_limit: float = 2.0
    tiles: int = 8
    blur: int = 5
    window: int = 51
    offset: float = 2.0
    closing: int = 3
    dilation: int = 3
    opening: int = 5
    min_area: int = 30
    dark_grains: bool = False


def pseudo_label_steps(grey: np.ndarray, settings: PseudoLabelSettings) -> dict[str, np.ndarray]:
    """Run the pipeline and keep what every step gives.

    Args:
        grey: uint8 (H, W).
        settings: The pipeline's parameters.

    Returns:
        Step names in order, each with its picture, uint8 (H, W). From `threshold` on they are masks, 255 in grains and
        0 elsewhere; the last, `mask`, is the result.
    """
    steps = {"grey": grey}
    equalise = cv2.createCLAHE(settings.clip_limit, (settings.tiles, settings.tiles))
    steps["clahe"] = equalise.apply(grey)
    steps["blur"] = cv2.GaussianBlur(steps["clahe"], (settings.blur, settings.blur), 0)
    steps["threshold"] = _threshold(steps["blur"], settings)
    steps["closing"] = cv2.morphologyEx(steps["threshold"], cv2.MORPH_CLOSE, _disk(settings.closing))
    steps["dilation"] = cv2.dilate(steps["closing"], _disk(settings.dilation))
    steps["opening"] = cv2.morphologyEx(steps["dilation"], cv2.MORPH_OPEN, _disk(settings.opening))
    steps["mask"] = 255 * drop_components(steps["opening"], settings.min_area)[0].astype(np.uint8)
    return steps


def drop_components(mask: np.ndarray, min_area: int) -> tuple[np.ndarray, int]:
    """Drop connected components under `min_area` px and count the others; eight neighbours connect, as in the seed.

    Args:
        mask: bool or uint8 (H, W), 0 outside the components.
        min_area: Smallest component kept in px.

    Returns:
        The mask without them, bool (H, W), and the number of components left.
    """
    _, components, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    kept = statistics[:, cv2.CC_STAT_AREA] >= min_area
    kept[0] = False
    return kept[components], int(kept.sum())


def count_components(mask: np.ndarray) -> int:
    """Count the connected components of a mask, bool or uint8 (H, W), as `drop_components` does."""
    return drop_components(mask, 0)[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `pseudo-label`."""
    defaults = PseudoLabelSettings()
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of micrographs")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets masks/ and counts.csv")
    parser.add_argument("--steps", action="store_true", help="also write each step's picture to steps/")
    parser.add_argument("--threshold", choices=("otsu", "adaptive"), default=defaults.threshold)
    parser.add_argument("--dark-grains", action="store_true", help="grains are darker than what separates them")
    numbers = {
        "clip_limit": (positive_number, "contrast limit of the equalisation"),
        "tiles": (_bounded(positive_integer), "tiles of the equalisation along each side"),
        "blur": (_bounded(kernel_side), "side of the Gaussian kernel in px, odd"),
        "window": (_bounded(kernel_side), "neighbourhood of the adaptive threshold in px, odd"),
        "offset": (float, "grey levels that a grain may lie under the local mean, for the adaptive threshold"),
        "closing": (_bounded(positive_integer), "diameter of the closing in px, 1 for none"),
        "dilation": (_bounded(positive_integer), "diameter of the dilation in px, 1 for none"),
        "opening": (_bounded(positive_integer), "diameter of the opening in px, 1 for none"),
        "min_area": (natural_number, "smallest component kept in px"),
    }
    for name, (kind, text) in numbers.items():
        default = getattr(defaults, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{text} (default {default})"
        )


def run(args: argparse.Namespace) -> int:
    """Write a mask for every micrograph of a folder, and all counts.

    Returns:
        0, or 1 if some files could not be used; each is named on stderr with the reason.

    Raises:
        ImageError: If the folder has no image.
        UsageError: If `--out` is a file, cannot be written to or holds the masks of another run.
    """
    settings = PseudoLabelSettings(**{name: getattr(args, name) for name in asdict(PseudoLabelSettings())})
    names = _output_names(args.folder)
    make_output(args.out, ())
    refuse_filled_folder(args.out / "masks")
    (args.out / "masks").mkdir(exist_ok=True)
    rows, failed = [], 0
    for path, name in tqdm(names.items(), desc="labelling", unit="picture"):
        try:
            steps = pseudo_label_steps(to_grey(read_micrograph(path).pixels), settings)
        except GrainError as error:
            failed += 1
            tqdm.write(f"{path}: {error}", file=sys.stderr)
            continue
        write_png(args.out / "masks" / f"{name}.png", steps["mask"])
        if args.steps:
            _write_steps(args.out / "steps" / name, steps)
        covered = np.count_nonzero(steps["mask"]) / steps["mask"].size
        rows.append((path.name, count_components(steps["mask"]), f"{covered:.4f}"))
    with (args.out / "counts.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "components", "grain_fraction"), *rows])
    print(f"{len(rows)} masks and their counts: {args.out}")
    return 1 if failed else 0


def _bounded(kind: Callable[[str], int]) -> Callable[[str], int]:
    """Make a kind of argument that is at most `MOST_PX`."""

    def read(text: str) -> int:
        number = kind(text)
        if number > MOST_PX:
            raise argparse.ArgumentTypeError(f"{text} is too large, at most {MOST_PX} is expected")
        return number

    return read


def _output_names(folder: Path) -> dict[Path, str]:
    """Name the mask of every image: by its stem, or by the whole file name where two share a stem."""
    paths = images_in(folder)
    if not paths:
        raise ImageError(
            f"{folder} {'has no image' if folder.is_dir() else 'is no folder'}. Expected is a folder of micrographs "
            f"({', '.join(IMAGE_SUFFIXES)}). Check the path that was given."
        )
    stems = Counter(path.stem for path in paths)
    return {path: path.stem if stems[path.stem] == 1 else path.name for path in paths}


def _threshold(grey: np.ndarray, settings: PseudoLabelSettings) -> np.ndarray:
    bright = 255 - grey if settings.dark_grains else grey
    if settings.threshold == "otsu":
        return cv2.threshold(bright, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1]
    return cv2.adaptiveThreshold(
        bright, 255, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY, settings.window, settings.offset
    )


def _disk(diameter: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))


def _write_steps(folder: Path, steps: Mapping[str, np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, (step, picture) in enumerate(steps.items()):
        write_png(folder / f"{number}_{step}.png", picture)
