"""Learning curves as a table and as a picture."""

import csv
from collections.abc import Sequence
from pathlib import Path

from grain_model.paths import replacing

COLUMNS = ("step", "seconds", "loss", "lr")


def write_curves(rows: Sequence[dict[str, float]], folder: Path) -> None:
    """Write `curves.csv`, and `curves.png` as soon as there is a line to draw.

    Args:
        rows: One dict a point, with the keys `step`, `seconds` since the start, `loss` (mean since the row before) and
            `lr` (of the first group of weights).
        folder: Where the two files go.
    """
    with replacing(folder / "curves.csv") as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if len(rows) > 1:
        draw_curves(rows, folder / "curves.png")


def draw_curves(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Draw loss and learning rate over the steps.

    Args:
        rows: As `write_curves` takes them.
        path: The PNG file.
    """
    # Imported late and without pyplot: a training run needs neither a window nor its global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    steps = [row["step"] for row in rows]
    top.plot(steps, [row["loss"] for row in rows])
    bottom.plot(steps, [row["lr"] for row in rows])
    top.set(ylabel="loss", yscale="log")
    bottom.set(ylabel="learning rate", xlabel="step")
    figure.savefig(path, dpi=110)
