"""`python -m train.model_card`: put the table of the last evaluation into model_card.md and README.md."""

import json
import re
from pathlib import Path

from .instance_protocol import ALL_PICTURES, MEAN_OF_MATERIALS
from .report import table

ROOT = Path(__file__).parent.parent
PAGES = ("model_card.md", "README.md")
REPORT = Path(__file__).parent / "reports" / "instances.json"
MARKED = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)


def results_table(report: Path = REPORT) -> str:
    """Set F1 at IoU 0.5 and count error by method and material as a Markdown table.

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
    return table(header, rows)


def main() -> None:
    """Rewrite the results of both pages."""
    results = results_table()
    for name in PAGES:
        page = ROOT / name
        page.write_text(MARKED.sub(lambda mark: f"{mark[1]}{results}\n{mark[2]}", page.read_text()))


if __name__ == "__main__":
    main()
