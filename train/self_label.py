"""`python -m train self-label`: labels for unlabelled micrographs from a trained model, for another round of training."""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from grain_model.image_processing_grain import standardize
from grain_model.instances import grain_confidence, grain_regions
from grain_model.modeling_grain import GrainForInstanceSegmentation

from .datasets import UNKNOWN_STORED, by_stem, read_rgb, split_of

# Crops of these pictures are validation data.
HELD_OUT = {"SUS304_200_1", "SUS304_500_1"}
# Grains that the model is less sure of than this are left unknown.
CONFIDENT = 0.55


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--model", type=Path, required=True, help="folder of the trained model")
    parser.add_argument("--data", type=Path, required=True, help="folder with 316l/ or steel-optical/")
    parser.add_argument("--source", choices=("316l", "steel-optical"), required=True)
    parser.add_argument("--boundary-sensitivity", type=float, default=0.5, help="as in count_grains (default 0.5)")
    parser.add_argument("--views", type=int, choices=(1, 2, 4, 8), default=8, help="turns and flips averaged (default 8)")
    parser.add_argument("--out", type=Path, required=True, help="folder for images/ and instances/")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def run(args: argparse.Namespace) -> int:
    """Label every training picture and write ids, 65535 where the model is not sure."""
    model = GrainForInstanceSegmentation.from_pretrained(args.model, dtype=torch.float32).to(args.device).eval()
    for name in ("images", "instances"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    pictures = by_stem(args.data / args.source / "images")
    stems = split_of(args.data / "316l", ("train", "val")) if args.source == "316l" else sorted(pictures)
    pictures = [pictures[stem] for stem in stems if stem not in HELD_OUT]
    shares = []
    for path in tqdm(pictures, desc="self-label", unit="picture", mininterval=5):
        rgb = read_rgb(path)
        maps = turned_mean(model, standardize(rgb), args.views)
        regions = grain_regions(maps, boundary_sensitivity=args.boundary_sensitivity)
        doubtful = np.concatenate([[False], grain_confidence(regions, maps) < CONFIDENT])[regions]
        ids = np.where(doubtful, UNKNOWN_STORED, regions).astype(np.uint16)
        shares.append(float(doubtful.mean()))
        cv2.imwrite(str(args.out / "images" / f"{path.stem}.png"), rgb[..., ::-1])
        cv2.imwrite(str(args.out / "instances" / f"{path.stem}.png"), ids)
    print(f"{len(pictures)} pictures labelled, {np.mean(shares):.1%} of their area left unknown")
    return 0


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
