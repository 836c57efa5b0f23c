"""What brings into view what has changed, where a small screen does not show it."""

# The page lays out what an event brings a little later, the first time after up to a second.
_SHOW = """() => {
  const show = (tries) => setTimeout(() => {
    const part = [%s].map((name) => document.querySelector(name)).find((found) => found?.checkVisibility());
    if (!part) return tries && show(tries - 1);
    const {top, bottom} = part.getBoundingClientRect();
    if (top > %s || bottom < 100) part.scrollIntoView();
  }, 100);
  show(20);
}"""

SHOW_RESULTS = _SHOW % ('"#question", "#results"', "innerHeight / 2")
SHOW_OVERLAY = _SHOW % ('"#overlay", "#compare"', "innerHeight / 2")
SHOW_MICROGRAPH = _SHOW % ('"#micrograph"', "innerHeight - 200")
