"""What five labelled micrographs are worth: colonies that training never drew, before and after fine-tuning on five.

    python -m benchmarks.fine_tuning

The style is that of lamellar colonies (pearlite, lamellar titanium): no lines, no steps in brightness, only the
direction of the lamellae tells one colony from the next.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from grain_model.png_file import write_png
from train.cli import main as run_train
from train.fine_tune import as_text, compare, read_labelled_folder, score_micrographs
from train.synthesis.fields import smooth_noise
from train.synthesis.instrument import record
from train.synthesis.polycrystal import Polycrystal, polycrystal
from train.synthesis.recipe import Recipe

SIDE = 320
TRAINING, TEST = 5, 20
# Colonies that touch differ in the direction of their lamellae by at least this much.
SMALLEST_TURN = np.deg2rad(35)


def draw_colonies(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a micrograph of lamellar colonies.

    Args:
        seed: Of every random choice.

    Returns:
        uint8 (SIDE, SIDE, 3), RGB, and int32 (SIDE, SIDE), ids from 1.
    """
    rng = np.random.default_rng(seed)
    crystal = polycrystal(rng, (SIDE, SIDE), rng.uniform(45, 75), spread=0.25, waviness=0.1)
    recipe = Recipe(rng, "bse", (60.0, 60.0))
    recipe.invert, recipe.colour, recipe.overlay, recipe.blur = False, False, False, 0.6
    directions = _turned_apart(rng, crystal)
    frequency = 2 * np.pi / rng.uniform(5.0, 8.0)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    angle = directions[crystal.labels]
    phase = (x * np.cos(angle) + y * np.sin(angle)) * frequency + 0.7 * smooth_noise(rng, (SIDE, SIDE), 14)
    grey = 0.5 + rng.uniform(0.12, 0.25) * np.sin(phase + rng.uniform(0, 2 * np.pi, crystal.n_seeds)[crystal.labels])
    _, labels = np.unique(crystal.labels, return_inverse=True)
    image, _ = record(rng, recipe, grey.astype(np.float32), None)
    return image, labels.reshape(SIDE, SIDE).astype(np.int32) + 1


def _turned_apart(rng: np.random.Generator, crystal: Polycrystal) -> np.ndarray:
    """Directions of the lamellae, float32 (n_seeds,), drawn again where neighbours are too much alike."""
    directions = rng.uniform(0, np.pi, crystal.n_seeds).astype(np.float32)
    near = crystal.distance < 1
    pairs = np.unique(np.stack([crystal.labels[near], crystal.neighbours[near]], axis=1), axis=0)
    for _ in range(50):
        turn = np.abs(directions[pairs[:, 0]] - directions[pairs[:, 1]])
        alike = pairs[np.minimum(turn, np.pi - turn) < SMALLEST_TURN, 0]
        directions[alike] = rng.uniform(0, np.pi, len(alike))
    return directions


def write_labelled(folder: Path, seeds: range) -> Path:
    """Write micrographs with their ids as a folder that `python -m train fit --data` takes."""
    for part in ("images", "instances"):
        (folder / part).mkdir(parents=True)
    for seed in seeds:
        image, labels = draw_colonies(seed)
        write_png(folder / "images" / f"{seed}.png", image)
        write_png(folder / "instances" / f"{seed}.png", labels.astype(np.uint16))
    return folder


def main() -> int:
    """Fine-tune the embedded weights on five micrographs, and print F1 and counts of twenty others."""
    # Imported late, so that `--help` does not wait for torch.
    from grain_model.loading import load_model

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        training = write_labelled(Path(folder) / "training", range(TRAINING))
        others = read_labelled_folder(write_labelled(Path(folder) / "others", range(1000, 1000 + TEST)))
        out = Path(folder) / "run"
        if code := run_train(["fit", "--data", str(training), "--init", "embedded", "--out", str(out)]):
            return code
        table = compare(*(score_micrographs(load_model(start), others) for start in (None, out / "model")))
        print(f"\n{TEST} other micrographs of the same style:\n\n{as_text(table)}")
        print(f"\nF1 gained: {(table['f1_after'] - table['f1_before']).mean():+.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
