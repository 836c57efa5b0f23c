"""Micrographs that browsers do not know as pictures by their ending: the image input takes them all the same."""

from __future__ import annotations

import json

from ..image_listing import IMAGE_SUFFIXES

# Gradio's image input takes what the browser calls an image, which of LSM, STK and SVS files none does, and of PGM and
# TIFF files not all do.
SCRIPT = """<script>
(() => {
  const ENDINGS = SUFFIXES;
  const endingOf = (file) => file.name.toLowerCase().match(/\\.[^.]+$/)?.[0];
  const isUnknown = (file) => !file.type.startsWith("image/") && ENDINGS.includes(endingOf(file));
  const inputOf = (event) => event.target.closest?.("#micrograph");

  function makeKnown(files) {
    const known = new DataTransfer();
    for (const file of files) {
      const type = `image/x-${endingOf(file)?.slice(1)}`;
      known.items.add(isUnknown(file) ? new File([file], file.name, { type }) : file);
    }
    return known;
  }

  addEventListener("click", (event) => {
    const field = inputOf(event)?.querySelector("input[type=file]");
    if (field) field.accept = ["image/*", ...ENDINGS].join();
  }, true);
  addEventListener("change", (event) => {
    const { files } = event.target;
    if (inputOf(event) && files && [...files].some(isUnknown)) event.target.files = makeKnown(files).files;
  }, true);
  addEventListener("drop", (event) => {
    const files = event.dataTransfer?.files ?? [];
    if (!inputOf(event) || ![...files].some(isUnknown)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const again = { dataTransfer: makeKnown(files), bubbles: true, cancelable: true };
    event.target.dispatchEvent(new DragEvent("drop", again));
  }, true);
})();
</script>""".replace("SUFFIXES", json.dumps(IMAGE_SUFFIXES))
