"""What the browser does by itself once the page has laid out a part of it."""


def _once_there(find: str, act: str) -> str:
    """JavaScript that waits up to five seconds until an expression finds something, and acts on it as `found`."""
    return f"""() => {{
      const look = (tries) => setTimeout(() => {{
        const found = {find};
        if (found) {act}
        else if (tries) look(tries - 1);
      }}, 100);
      look(50);
    }}"""


def _bring_into_view(ids: list[str], lowest: str) -> str:
    """Scrolls to the first of the parts that is seen at all, where its top lies below `lowest` or its end above."""
    part = f"{ids}.map((id) => document.getElementById(id)).find((part) => part?.checkVisibility())"
    return _once_there(
        part,
        f"""{{
          const {{top, bottom}} = found.getBoundingClientRect();
          if (top > {lowest} || bottom < 100) found.scrollIntoView();
        }}""",
    )


SHOW_RESULTS = _bring_into_view(["question", "results"], "innerHeight / 2")
SHOW_OVERLAY = _bring_into_view(["overlay", "compare"], "innerHeight / 2")
SHOW_MICROGRAPH = _bring_into_view(["micrograph"], "innerHeight - 200")

NAME_EXAMPLES = _once_there(
    'document.querySelector("#examples button .caption-label")?.closest("#examples")',
    """for (const caption of found.querySelectorAll("button .caption-label")) {
      caption.closest("button").ariaLabel = caption.textContent.trim();
    }""",
)
"""Names the examples for screen readers by their captions, where gradio numbers them."""

CLOSE_ERRORS = """() => {
  for (const close of document.querySelectorAll(".toast-body.error .toast-close")) close.click();
}"""
"""Closes the errors of what was asked before; they stay until then, so that they can be read in peace."""

RELEASE_SLIDERS = """<script>
{
  let held = false;
  addEventListener("pointerdown", () => { held = true; }, true);
  for (const end of ["pointerup", "pointercancel"])
    addEventListener(end, () => setTimeout(() => { held = false; }, 100), true);
  addEventListener("change", ({ target }) => {
    if (!held && target.matches?.("input[type=range]"))
      target.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
  }, true);
}
</script>"""
"""Lets a slider go that was moved by keys or a screen reader; gradio heeds a pointer that leaves it alone."""

TYPE_NUMBERS = """<script>
addEventListener("pointerdown", ({ target }) => {
  if (target.matches?.(".typed-number input")) target.inputMode = "decimal";
}, true);
</script>"""
"""Has a phone show its keyboard of numbers, with the decimal sign of its language; gradio has no option for it."""
