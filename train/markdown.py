"""Tables in Markdown that can be read as plain text too."""

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Set a Markdown table with aligned columns, the first to the left and the others to the right.

    Args:
        header: Headings of the columns.
        rows: Cells of each row, as many as there are headings.

    Returns:
        The table's lines, the last one without a line break.
    """
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]

    def set_line(line: Sequence[str]) -> str:
        first = line[0].ljust(widths[0])
        others = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        return "| " + " | ".join([first, *others]) + " |"

    rule = "| " + " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]) + " |"
    return "\n".join([set_line(lines[0]), rule, *map(set_line, lines[1:])])
