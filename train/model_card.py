"""`python -m train.model_card`: what model_card.md and README.md show of the model.

The tables of the last evaluations, and a picture of the examples that the embedded weights do best and worst. The
results are those of `python -m train evaluate --protocol instances --out train/reports --method watershed --method
components --baselines otsu adaptive distance --gallery 0 --data` with the four folders that the card names; a gallery
would bring pictures of others into the tree.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

from .instance_protocol import ALL_PICTURES, MEAN_OF_MATERIALS
from .markdown import markdown_table
from .paths import REPORT, REPORTS, ROOT

PAGES = ("model_card.md", "README.md")


def results_table(report: Path) -> str:
    """Set F1 at IoU 0.5, panoptic quality and count error by method and material as a Markdown table.

    Args:
        report: `instances.json` as `python -m train evaluate --protocol instances` writes it.
    """
    summary = json.loads(report.read_text())["summary"]
    materials = [name for name in next(iter(summary.values())) if name not in (ALL_PICTURES, MEAN_OF_MATERIALS)]
    header = ["method", *(f"{name}: F1, PQ, count err." for name in materials)]
    rows = [
        [
            method,
            *(
                f"{scores[name]['f1']:.3f}, {scores[name]['panoptic_quality']:.3f}, {scores[name]['count_error']:.1%}"
                for name in materials
            ),
        ]
        for method, scores in summary.items()
    ]
    return markdown_table(header, rows)


# What fills a table, by its mark.
TABLES = {
    "results": lambda: results_table(REPORT),
    "ablation": lambda: results_table(REPORTS / "ablation" / REPORT.name),
    "disturbances": (REPORTS / "disturbances.md").read_text,
    "expected_accuracy": (REPORTS / "expected_accuracy.md").read_text,
}


def draw_best_and_worst(path: Path) -> None:
    """Draw the errors on the two best and the two worst examples, best first."""
    # Imported late: only this needs torch and matplotlib.
    from grain_model.counting import count_grains

    from .examples import draw_examples
    from .gallery import GalleryEntry, draw_gallery
    from .instance_protocol import score_labels
    from .matching import prepare_labels

    entries = []
    for name, drawn in draw_examples().items():
        found = count_grains(drawn.image).labels
        score = score_labels(drawn.labels, found)
        title = f"{name.replace('_', ' ')}: F1 {score['f1']:.2f}, {score['n_pred']} of {score['n_true']} grains"
        grown = prepare_labels(drawn.labels), prepare_labels(found)
        entries.append((score["f1"], GalleryEntry(title, drawn.image, *grown)))
    ranked = [entry for _, entry in sorted(entries, key=lambda scored: -scored[0])]
    draw_gallery([*ranked[:2], *ranked[-2:]], path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Rewrite the tables of both pages and the picture."""
    argparse.ArgumentParser(prog="python -m train.model_card", description=__doc__).parse_args(arguments)
    draw_best_and_worst(ROOT / "assets" / "best_and_worst.jpg")
    for name in PAGES:
        page = ROOT / name
        page.write_text(fill_tables(page.read_text()))


def fill_tables(text: str) -> str:
    """Put the tables of the reports between their marks, where a page has them."""
    for mark, read in TABLES.items():
        between = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
        text = between.sub(lambda marks, read=read: f"{marks[1]}{read().strip()}\n{marks[2]}", text)
    return text


if __name__ == "__main__":
    main()
