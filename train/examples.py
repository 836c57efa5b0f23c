"""`python -m train.examples`: draw the pictures of examples/ with their true counts."""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from grain_model.png_file import write_png

from .single_thread import use_one_thread
from .synthesis import SyntheticMicrograph, synthesize_micrograph

FOLDER = Path(__file__).parent.parent / "examples"
SHAPE = (300, 400)
DIAMETER_PX = (34.0, 50.0)
# Name, family and seed; chosen for variety before any model had seen them.
EXAMPLES = (
    ("etched_steel", "etched", 9008),
    ("twinned_steel", "etched", 9278),
    ("sintered_metal", "gaps", 9001),
    ("electron_contrast", "bse", 9010),
    ("tinted_alloy", "tinted", 9001),
    ("grooved_ceramic", "grooved", 9000),
    ("particles", "decorated", 9006),
)


def draw_examples() -> dict[str, SyntheticMicrograph]:
    """Draw every example, by its name."""
    return {
        name: synthesize_micrograph(seed, SHAPE, family=family, diameter=DIAMETER_PX) for name, family, seed in EXAMPLES
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write every example as PNG and `counts.csv` beside them."""
    argparse.ArgumentParser(prog="python -m train.examples", description=__doc__).parse_args(arguments)
    # As `synthesize` draws them: the number of threads decides over the last bit.
    use_one_thread()
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "counts.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "count", "family", "seed"])
        for (name, family, seed), drawn in zip(EXAMPLES, draw_examples().values(), strict=True):
            write_png(FOLDER / f"{name}.png", drawn.image)
            rows.writerow([f"{name}.png", int(drawn.labels.max()), family, seed])


if __name__ == "__main__":
    main()
