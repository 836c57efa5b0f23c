"""Where the project keeps its pages, pictures and reports."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
REPORTS = Path(__file__).parent / "reports"
REPORT = REPORTS / "instances.json"
