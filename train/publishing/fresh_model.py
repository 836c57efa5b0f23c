"""Run by itself in a new process: load a model folder as a stranger would, and label a picture."""

import sys


def main(folder: str, picture: str, out: str) -> None:
    """Try every auto class, and save the labels that the pipeline gives.

    Args:
        folder: The model folder.
        picture: The picture.
        out: Where the labels go, `.npy`.
    """
    # As if the package were not installed: the folder has to bring its own code.
    sys.modules.update(dict.fromkeys(("grain_model", "train")))
    import numpy as np
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoModelForImageSegmentation, pipeline

    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
    inputs = processor(picture, return_tensors="pt")
    logits = []
    for auto_class in (AutoModel, AutoModelForImageSegmentation):
        model = auto_class.from_pretrained(folder, trust_remote_code=True)
        with torch.inference_mode():
            outputs = model(**inputs)
        logits.append(outputs.logits)
    if not torch.equal(*logits):
        raise SystemExit("AutoModel and AutoModelForImageSegmentation give different logits.")
    processor.post_process_instance_segmentation(outputs)
    np.save(out, pipeline("grain-counting", model=folder, trust_remote_code=True, device="cpu")(picture)["labels"])


if __name__ == "__main__":
    main(*sys.argv[1:])
