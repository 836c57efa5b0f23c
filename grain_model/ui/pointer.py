"""Clicks without a mouse: a pointer that the arrow keys move over a picture and that Enter clicks with."""

from __future__ import annotations

CSS = """
#picture-pointer { position: fixed; z-index: 1000; width: 25px; height: 25px; margin: -12px 0 0 -12px;
  pointer-events: none; border: 1px solid #ffe600; filter: drop-shadow(0 0 1px #000) drop-shadow(0 0 1px #000);
  background: linear-gradient(#ffe600, #ffe600) center / 1px 100% no-repeat,
    linear-gradient(#ffe600, #ffe600) center / 100% 1px no-repeat; }
/* Told to those who came with the tab key: gradio's pictures are buttons. */
.clicked .image-container > button:focus-visible::after {
  content: "Arrow keys move the pointer, with Shift pixel by pixel; Enter clicks";
  position: absolute; left: .5rem; bottom: .5rem; padding: .25rem .5rem; border-radius: var(--radius-md);
  background: #000c; color: #fff; font-size: .85rem; }
"""

SCRIPT = """<script>
(() => {
  const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const LEAPS = 50;  // from one side to the other
  const places = {};  // column and row of each picture's pointer, px of the picture that is shown
  const mark = document.createElement("div");
  mark.id = "picture-pointer";
  let following = false;

  function pictureOf(element) {
    const button = element?.closest?.(".image-container > button");
    const block = button?.closest(".clicked");
    return block && { block: block.id, image: button.querySelector("img") };
  }

  // Where the picture's pixels lie in the window: it is shown in the middle of its element, never enlarged.
  function toWindow(image, [column, row]) {
    const box = image.getBoundingClientRect();
    const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight, 1);
    return [
      box.left + box.width / 2 + (column + 0.5 - image.naturalWidth / 2) * scale,
      box.top + box.height / 2 + (row + 0.5 - image.naturalHeight / 2) * scale,
    ];
  }

  // The page moves under the pointer, so its place is looked up anew for every frame.
  function follow() {
    const picture = pictureOf(document.activeElement);
    const place = picture && places[picture.block];
    following = Boolean(place);
    if (!following) return mark.remove();
    mark.hidden = !picture.image?.naturalWidth;  // the next picture is still loading
    if (!mark.hidden) {
      const [x, y] = toWindow(picture.image, place);
      mark.style.left = `${x}px`;
      mark.style.top = `${y}px`;
    }
    if (!mark.isConnected) document.body.append(mark);
    requestAnimationFrame(follow);
  }

  addEventListener("keydown", (event) => {
    const picture = pictureOf(event.target);
    const direction = DIRECTIONS[event.key];
    const isOther = event.ctrlKey || event.altKey || event.metaKey || !(direction || event.key === "Enter");
    if (isOther || !picture?.image?.naturalWidth) return;
    event.preventDefault();
    const { block, image } = picture;
    const size = [image.naturalWidth, image.naturalHeight];
    const place = (places[block] ??= size.map((length) => Math.floor(length / 2)));
    if (direction) {
      const step = event.shiftKey ? 1 : Math.max(1, Math.round(Math.max(...size) / LEAPS));
      places[block] = place.map((at, axis) => Math.min(Math.max(at + step * direction[axis], 0), size[axis] - 1));
    }
    const [clientX, clientY] = toWindow(image, places[block]);
    if (!direction) image.dispatchEvent(new MouseEvent("click", { clientX, clientY, bubbles: true }));
    else if (clientY < 0 || clientY > innerHeight) scrollBy(0, clientY - innerHeight / 2);
    if (!following) follow();
  });
  addEventListener("focusin", () => following || follow());
})();
</script>"""
