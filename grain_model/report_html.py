"""A report as one HTML page."""

from __future__ import annotations

import base64
import os
from html import escape
from pathlib import Path

from .report_content import RULE_COLUMNS, Picture, Report

_CSS = """
body{font:15px/1.45 system-ui,sans-serif;color:#1c2228;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{margin:0 0 .3rem}h2{border-top:2px solid #dde1e6;padding-top:1.2rem;margin-top:2.2rem;overflow-wrap:anywhere}
.headline{font-size:1.2rem;font-weight:600}table{border-collapse:collapse;margin:1rem 0;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #dde1e6;vertical-align:top}
th{color:#5b6470;font-weight:600}.facts th{width:10rem}.warnings{
  border-left:4px solid #c8102e;padding:.2rem 1rem .2rem 2rem}
.notes{color:#5b6470;font-size:.9rem}.figures{display:flex;gap:1rem;margin:1rem 0;break-inside:avoid}
figure{margin:0;min-width:0}img{width:100%}figcaption{color:#5b6470;font-size:.85rem}
@media(max-width:36rem){.figures{flex-direction:column}}
.signature{display:flex;gap:2rem;margin-top:4rem}.signature span{flex:1;border-top:1px solid #1c2228;color:#5b6470}
.scroll{overflow-x:auto}@media print{section{break-before:page}}
"""


def write_html(report: Report, path: str | os.PathLike) -> None:
    """Write a report as one HTML page that needs no other file and no network."""
    Path(path).write_text(_render(report), encoding="utf-8")


def _render(report: Report) -> str:
    sections = []
    for field in report.fields:
        sections.append(
            f"<section><h2>{escape(field.counted.file)}</h2>{_html_facts(field.facts)}{_html_rules(field.rules)}"
            f"{_html_warnings(field.warnings)}{''.join(map(_html_pictures, field.pictures))}</section>"
        )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(report.title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_CSS}</style></head><body>'
        f"<h1>{escape(report.title)}</h1><p class=headline>{escape(report.headline)}</p>"
        f"{_html_facts(report.facts)}{_html_rules(report.rules)}{_html_warnings(report.warnings)}"
        f"<ul class=notes>{''.join(f'<li>{escape(note)}</li>' for note in report.notes)}</ul>"
        f"<p class=signature><span>Checked</span><span>Date</span><span>Signature</span></p>"
        f"{''.join(sections)}</body></html>\n"
    )


def _html_facts(facts: list[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts)
    return f"<table class=facts>{rows}</table>"


def _html_rules(rules: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in RULE_COLUMNS)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rules)
    return f"<div class=scroll><table><tr>{head}</tr>{body}</table></div>"


def _html_pictures(row: list[Picture]) -> str:
    """A row of pictures of one height; a single one takes half of the width."""
    figures = "".join(
        f'<figure style="flex:{picture.aspect:.3f}"><img src="{_data_uri(picture)}" '
        f'alt="{escape(picture.caption)}"><figcaption>{escape(picture.caption)}</figcaption></figure>'
        for picture in row
    )
    rest = f'<div style="flex:{row[0].aspect:.3f}"></div>' if len(row) == 1 else ""
    return f"<div class=figures>{figures}{rest}</div>"


def _html_warnings(warnings: list[str]) -> str:
    if not warnings:
        return ""
    return f"<ul class=warnings>{''.join(f'<li>{escape(text)}</li>' for text in warnings)}</ul>"


def _data_uri(picture: Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")
