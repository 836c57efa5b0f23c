"""Where a visitor of the count tab is, and how their page stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .clicks import Point
from .counted import CountedMicrograph
from .settings import PageSettings
from .typed_numbers import read_number

# Each holds the maps of a picture.
MOST_LEFT = 4


@dataclass
class Visit:
    """Where a visitor is: one object for as long as the page is open, so that a handler still at work sees it change.

    Attributes:
        picture: Path of the file that the page shows, as it was uploaded; empty if there is none, `None` if that is not
            known: before the first upload, and after a restart of the server under an open page.
        shown: The count that the page shows, which may have changed since a handler that is still at work began.
        shown_by: The settings that it was first shown by.
        left: The last MOST_LEFT corrected counts of other pictures, by path (and page) of the picture, to be shown
            again when the visitor comes back to it.
    """

    picture: str | None = None
    shown: CountedMicrograph | None = None
    shown_by: PageSettings | None = None
    left: dict[str, CountedMicrograph] = field(default_factory=dict)

    def leave(self, counted: CountedMicrograph) -> None:
        """Keep a count that the page goes on from; it takes the place of an earlier one of its picture."""
        self.left.pop(counted.source, None)
        self.left[counted.source] = counted
        if len(self.left) > MOST_LEFT:
            del self.left[next(iter(self.left))]

    def has_left(self, picture: str) -> bool:
        """Whether the page has gone on from a picture."""
        return self.picture not in (None, picture)

    def has_corrected(self, before: CountedMicrograph | None) -> bool:
        """Whether grains of the picture have been corrected since the page showed the count `before`."""
        return self.shown is not None and self.shown is not before and bool(self.shown.analysis.edits)


@dataclass(frozen=True)
class Stand:
    """How a visitor's page stands, as the handlers of a count take it.

    Attributes:
        visit: Where the visitor is.
        counted: The count that the page shows.
        chosen: Label of the grain that is marked.
        tool: Of the correction by hand.
        pending: Points on the way to a correction.
        scale: As it was typed; `read_scale` reads and checks it where it is used.
        settings: With a scale that may be out of range, or nan for what is no number.
    """

    visit: Visit
    counted: CountedMicrograph | None
    chosen: int | None
    tool: str
    pending: tuple[Point, ...]
    scale: str | None
    settings: PageSettings

    @classmethod
    def of(
        cls,
        visit: Visit,
        counted: CountedMicrograph | None,
        chosen: int | None,
        tool: str,
        pending: tuple[Point, ...],
        scale: str | None,
        *settings: Any,
    ) -> Stand:
        """From the components' values; those of the settings come in the order of `PageSettings`."""
        return cls(visit, counted, chosen, tool, pending, scale, PageSettings(read_number(scale), *settings))
