"""`python -m train synthesize`: a folder of synthetic micrographs with their truth, and a contact sheet."""

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from skimage.segmentation import mark_boundaries
from tqdm import tqdm

from grain_model.arguments import natural_number, positive_integer, positive_number
from grain_model.errors import UsageError
from grain_model.image_file import MIN_SIDE
from grain_model.png_file import write_png
from grain_model.result_folder import make_output
from train.labelled import UNKNOWN_STORED, LabelledDataError, refuse_filled_folder
from train.single_thread import use_one_thread
from train.synthesis import SyntheticMicrograph, synthesize_micrograph
from train.synthesis.recipe import FAMILIES

SHEET_COLUMNS = 8
SHEET_PICTURES = 40
SHEET_SIDE = 200
# Smallest mean diameter in px; see `train.synthesis.polycrystal`.
SMALLEST_DIAMETER = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--n", type=positive_integer, required=True, help="number of micrographs")
    parser.add_argument("--out", type=Path, required=True, help="folder for images/, instances/, boundaries/ and more")
    parser.add_argument("--size", type=positive_integer, default=256, help="side in px (default 256)")
    parser.add_argument("--seed", type=natural_number, default=0, help="seed of the first micrograph (default 0)")
    parser.add_argument("--family", choices=sorted(FAMILIES), help="draw only this kind of appearance")
    parser.add_argument(
        "--diameter",
        type=positive_number,
        nargs=2,
        default=(12.0, 120.0),
        metavar=("MIN", "MAX"),
        help="range of the mean grain diameter in px (default 12 120)",
    )
    parser.add_argument("--workers", type=positive_integer, default=2, help="processes (default 2)")


def run(args: argparse.Namespace) -> int:
    """Draw the micrographs, write them and say how fast it went.

    The folder gets `images/` (RGB), `instances/` (uint16 ids), `boundaries/` (0 or 255), all PNG named by seed,
    `parameters.jsonl` with a line a micrograph in the same order, and `contact_sheet.png`.

    Raises:
        LabelledDataError: If a picture gets more grains than its label image can hold, or `--out` holds the pictures
            of another run.
        UsageError: If the pictures or grains would be too small, the diameters are in the wrong order, or `--out` is a
            file or cannot be written to.
    """
    if args.size < MIN_SIDE:
        raise UsageError(
            f"--size {args.size} is too small. At least {MIN_SIDE} px are expected, or the pictures could not be "
            "counted. Make it larger."
        )
    smallest, largest = args.diameter
    if smallest > largest:
        raise UsageError(
            f"--diameter {smallest:g} {largest:g} starts with the larger one. The smallest mean diameter is expected "
            "first, then the largest. Swap them."
        )
    if smallest < SMALLEST_DIAMETER:
        raise UsageError(
            f"--diameter {smallest:g} is too small for exact labels. Mean diameters of at least {SMALLEST_DIAMETER} px "
            "are expected. Make it larger."
        )
    make_output(args.out, ())
    refuse_filled_folder(args.out / "images")
    for name in ("images", "instances", "boundaries"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    draw = partial(_draw_and_write, args.out, args.size, args.family, tuple(args.diameter))
    seeds = range(args.seed, args.seed + args.n)
    # Fresh processes: a copy of one that has started threads may wait for them for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers, context, initializer=use_one_thread) as pool:
        bar = tqdm(pool.map(draw, seeds, chunksize=8), total=args.n, desc="synthesize", unit="picture")
        parameters = list(bar)
        rate = bar.format_dict["n"] / max(bar.format_dict["elapsed"], 1e-9)
        redraw = partial(synthesize_micrograph, size=args.size, family=args.family, diameter=tuple(args.diameter))
        shown = list(pool.map(redraw, seeds[:SHEET_PICTURES]))
    with (args.out / "parameters.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in parameters)
    write_png(args.out / "contact_sheet.png", contact_sheet(shown))
    print(f"{args.n} micrographs of {args.size} px in {args.out}, {rate:.3g} a second")
    return 0


def _draw_and_write(
    out: Path, size: int, family: str | None, diameter: tuple[float, float], seed: int
) -> dict[str, float | int | str | bool]:
    """Draw and write one micrograph; return its parameters."""
    drawn = synthesize_micrograph(seed, size, family=family, diameter=diameter)
    if drawn.labels.max() >= UNKNOWN_STORED:
        raise LabelledDataError(
            f"Micrograph {seed} has {drawn.labels.max()} grains. Label images of 16 bits hold {UNKNOWN_STORED - 1}. "
            "Draw smaller micrographs (--size) or larger grains (--diameter)."
        )
    name = f"{seed:06d}.png"
    write_png(out / "images" / name, drawn.image)
    write_png(out / "instances" / name, drawn.labels.astype(np.uint16))
    write_png(out / "boundaries" / name, drawn.boundary.astype(np.uint8) * 255)
    return drawn.parameters


def contact_sheet(micrographs: list[SyntheticMicrograph]) -> np.ndarray:
    """Lay micrographs out in pairs of rows: pictures above, the same with their true boundaries below.

    Args:
        micrographs: What to show.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    rows = []
    for start in range(0, len(micrographs), SHEET_COLUMNS):
        part = micrographs[start : start + SHEET_COLUMNS]
        tiles = [[cv2.resize(m.image, (SHEET_SIDE, SHEET_SIDE), interpolation=cv2.INTER_AREA) for m in part]]
        truth = []
        for m in part:
            drawn = (mark_boundaries(m.image / 255, m.labels, color=(1, 0.9, 0), mode="inner") * 255).astype(np.uint8)
            drawn[m.labels == 0] = (150, 0, 0)
            truth.append(cv2.resize(drawn, (SHEET_SIDE, SHEET_SIDE), interpolation=cv2.INTER_AREA))
        tiles.append(truth)
        for line in tiles:
            blank = [np.full((SHEET_SIDE, SHEET_SIDE, 3), 255, np.uint8)] * (SHEET_COLUMNS - len(line))
            rows.append(np.hstack(line + blank))
    return np.vstack(rows)
