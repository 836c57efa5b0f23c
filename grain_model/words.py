"""Wording that messages, page and reports share."""


def plural(count: float, noun: str) -> str:
    """A number with its noun: 1 grain, 45.5 grains."""
    return f"{count:.10g} {noun}" if count == 1 else f"{count:.10g} {noun}s"
