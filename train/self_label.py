"""`python -m train self-label`: labels from a trained model for unlabelled micrographs, to train on."""

import argparse
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from grain_model.image_processing_grain import standardize
from grain_model.instances import grain_confidence, grain_regions
from grain_model.loading import load_model
from grain_model.micrograph import read_micrograph
from grain_model.modeling_grain import GrainForInstanceSegmentation
from train.datasets import split_of
from train.labelled import UNKNOWN_STORED, files_by_stem

# Crops of these pictures are validation data.
HELD_OUT = {"SUS304_200_1", "SUS304_500_1"}
# Grains that the model is less sure of than this are left unknown.
CONFIDENT = 0.55


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--model", required=True, help="folder or Hub id of the trained model, or 'embedded'")
    parser.add_argument("--data", type=Path, required=True, help="folder with 316l/ or steel-optical/")
    parser.add_argument("--source", choices=("316l", "steel-optical"), required=True)
    parser.add_argument("--boundary-sensitivity", type=float, default=0.5, help="as in count_grains (default 0.5)")
    parser.add_argument(
        "--views", type=int, choices=(1, 2, 4, 8), default=8, help="turns and flips averaged (default 8)"
    )
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
        views=args.views,
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
    views: int = 8,
    device: str = "auto",
) -> None:
    """Label every micrograph that may be trained on, and write it beside its ids.

    Args:
        model: Folder or Hub id of the trained model, or 'embedded'.
        data: Folder with `316l/` or `steel-optical/`.
        source: `"316l"`, without the seed's test tiles, or `"steel-optical"`, without `HELD_OUT`.
        out: Gets `images/` and `instances/`, uint16 ids with 65535 where the model is not sure.
        boundary_sensitivity: As in `count_grains`.
        views: Turns and flips that are averaged: 1, 2, 4 or 8.
        device: `"cpu"`, `"cuda"` or `"auto"`.

    Raises:
        LabelledDataError: If the data are not laid out as expected.
        ModelError: If the model cannot be loaded.
    """
    pictures = files_by_stem(data / source / "images")
    stems = split_of(data / source, ("train", "val")) if source == "316l" else sorted(pictures)
    pictures = [pictures[stem] for stem in stems if stem not in HELD_OUT]
    network = deepcopy(load_model(None if str(model) == "embedded" else model))
    network = network if device == "auto" else network.to(device)
    for name in ("images", "instances"):
        (out / name).mkdir(parents=True, exist_ok=True)
    shares = []
    for path in tqdm(pictures, desc="self-label", unit="picture", mininterval=5):
        rgb = read_micrograph(path).pixels
        maps = turned_mean(network, standardize(rgb), views)
        regions = grain_regions(maps, boundary_sensitivity=boundary_sensitivity)
        doubtful = np.concatenate([[False], grain_confidence(regions, maps) < CONFIDENT])[regions]
        ids = np.where(doubtful, UNKNOWN_STORED, regions).astype(np.uint16)
        shares.append(float(doubtful.mean()))
        cv2.imwrite(str(out / "images" / f"{path.stem}.png"), rgb[..., ::-1])
        cv2.imwrite(str(out / "instances" / f"{path.stem}.png"), ids)
    print(f"{len(pictures)} pictures labelled, {np.mean(shares):.1%} of their area left unknown")


@torch.inference_mode()
def turned_mean(model: GrainForInstanceSegmentation, image: np.ndarray, views: int = 8) -> np.ndarray:
    """Mean of the maps over turns and flips of the picture; float32 (3, H, W) in, (C, H, W) out."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(model.device)[None]
    total = 0
    for view in range(views):
        turns, flip = view // 2, view % 2 == 1
        turned = torch.rot90(pixels, turns, (2, 3))
        turned = turned.flip(3) if flip else turned
        with torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda"):
            maps = model(turned).logits.float().sigmoid()
        maps = maps.flip(3) if flip else maps
        total = total + torch.rot90(maps, -turns, (2, 3))
    return (total[0] / views).cpu().numpy()
