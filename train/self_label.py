"""`python -m train self-label`: labels from a trained model for unlabelled micrographs, to train on."""

import argparse
from copy import deepcopy
from pathlib import Path

import numpy as np
from skimage.segmentation import expand_labels
from tqdm import tqdm

from grain_model.arguments import share
from grain_model.counting import count_grains
from grain_model.loading import load_model
from grain_model.png_file import write_png
from grain_model.result_folder import make_output
from train.datasets import training_tiles
from train.device import find_device
from train.labelled import UNKNOWN_STORED, LabelledDataError, files_by_stem

SOURCES = ("316l", "steel-optical")
# Crops of these pictures are validation data.
HELD_OUT = {"SUS304_200_1", "SUS304_500_1"}
# Grains that the model is less sure of than this are left unknown.
CONFIDENT = 0.55


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--model", required=True, help="folder or Hub id of the trained model, or 'embedded'")
    parser.add_argument("--data", type=Path, required=True, help="folder with 316l/ or steel-optical/")
    parser.add_argument("--source", choices=SOURCES, required=True)
    parser.add_argument("--boundary-sensitivity", type=share, default=0.5, help="as in count_grains (default 0.5)")
    parser.add_argument("--out", type=Path, required=True, help="folder for images/ and instances/")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")


def run(args: argparse.Namespace) -> int:
    """Label the micrographs that are asked for; see `label_micrographs`."""
    label_micrographs(
        args.model,
        args.data,
        args.source,
        args.out,
        boundary_sensitivity=args.boundary_sensitivity,
        device=args.device,
    )
    return 0


def label_micrographs(
    model: str | Path,
    data: Path,
    source: str,
    out: Path,
    *,
    boundary_sensitivity: float = 0.5,
    device: str = "auto",
) -> None:
    """Label every micrograph that may be trained on, as `count_grains` does, and write it beside its ids.

    Args:
        model: Folder or Hub id of the trained model, or 'embedded'.
        data: Folder with `316l/` or `steel-optical/`.
        source: `"316l"`, without the seed's test tiles, or `"steel-optical"`, without `HELD_OUT`.
        out: Gets `images/` and `instances/`, uint16 ids with 65535 where the model is not sure.
        boundary_sensitivity: As in `count_grains`.
        device: `"cpu"`, `"cuda"` or `"auto"`.

    Raises:
        LabelledDataError: If the data are not laid out as expected, or all pictures are held out.
        ModelError: If the model cannot be loaded.
        UsageError: If `out` is a file or cannot be written to.
    """
    pictures = files_by_stem(data / source / "images")
    stems = training_tiles(data / source) if source == "316l" else sorted(pictures)
    if missing := [stem for stem in stems if stem not in pictures]:
        raise LabelledDataError(
            f"{len(missing)} tiles of {data / source / 'split.csv'} have no picture in images/, the first is "
            f"{missing[0]!r}. Every tile needs one. Copy the data again."
        )
    pictures = [pictures[stem] for stem in stems if stem not in HELD_OUT]
    if not pictures:
        raise LabelledDataError(
            f"All pictures in {data / source / 'images'} are held out for validation. Expected is at least one other. "
            "Add pictures to label."
        )
    make_output(out, ())
    # A copy, because loaded models are kept for the next caller.
    network = deepcopy(load_model(model))
    network = network if device == "auto" else network.to(find_device(device))
    for name in ("images", "instances"):
        (out / name).mkdir(parents=True, exist_ok=True)
    shares = []
    for path in tqdm(pictures, desc="self-label", unit="picture", mininterval=5):
        analysis = count_grains(path, model=network, boundary_sensitivity=boundary_sensitivity)
        # Touching grains meet again where a line was drawn between them; 0 would say that there is a gap.
        labels = expand_labels(analysis.labels, 1)
        unsure = np.concatenate([[False], analysis.confidence < CONFIDENT])[labels]
        ids = np.where(unsure, UNKNOWN_STORED, labels).astype(np.uint16)
        shares.append(float(unsure.mean()))
        write_png(out / "images" / f"{path.stem}.png", analysis.micrograph.pixels)
        write_png(out / "instances" / f"{path.stem}.png", ids)
    print(f"{len(pictures)} pictures labelled, {np.mean(shares):.1%} of their area left unknown")
