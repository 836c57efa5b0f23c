"""Run by itself in a new process: serve the page of a Space's folder, fetch it, and label a picture."""

import sys
import urllib.request
from pathlib import Path


def main(folder: str, picture: str, out: str) -> None:
    """Fetch the page, and save the labels that the Space's own package gives.

    Args:
        folder: The Space's folder.
        picture: The picture.
        out: Where the labels go, `.npy`.
    """
    sys.path.insert(0, folder)
    import numpy as np

    import app
    import grain_model
    from grain_model.ui import launch_page

    if not Path(grain_model.__file__).is_relative_to(folder):
        raise SystemExit(f"The package came from {grain_model.__file__}, not from the Space's folder.")
    _, address, _ = launch_page(app.demo, app.EXAMPLES, prevent_thread_lock=True, quiet=True)
    with urllib.request.urlopen(address) as answer:
        if b"gradio" not in answer.read():
            raise SystemExit("The address of the page does not answer with the page.")
    np.save(out, grain_model.count_grains(picture).labels)
    app.demo.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
