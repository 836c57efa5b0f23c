"""Fine-tuning on a user's own labelled micrographs.

Some of them are kept back: they say when to stop, which step was the best, and what the training was worth on them.
Since the step was chosen by them, that flatters a little; what it is worth elsewhere, other pictures say.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from skimage.segmentation import expand_labels

from grain_model.canonical_scale import SMALLEST_SIDE, factor_for_grains
from grain_model.counting import count_grains
from grain_model.modeling_grain import GrainForInstanceSegmentation
from train.datasets import Mixture, RealMicrograph, count_ids_through
from train.device import find_device
from train.fit import Trainer, build_model, refuse_rate_of_frozen_backbone
from train.fit_options import FitError, FitOptionError, FitOptions
from train.instance_protocol import score_labels
from train.labelled import UNKNOWN, find_labelled_micrographs
from train.markdown import markdown_table
from train.matching import SMALLEST_GRAIN_PX, tell_unscored
from train.saving import save_trained_model, writing_run

# What differs from training from scratch: a short schedule that starts from a model that knows grains already.
DEFAULTS = {
    "steps": 300,
    "batch": 6,
    "sizes": (224,),
    "reuse": 1,
    "pool": 24,
    "lr": 5e-4,
    "backbone_lr": 5e-5,
    "warmup": 10,
    "ema": 0.95,
    "workers": 0,
}
# Options without effect here: only the labelled folder is trained on, and a run is too short to be resumed.
FOR_OTHER_RUNS = (
    *("start_share", "self_trained", "weak_share", "pseudo_only", "real_only", "no_detail"),
    *("save_minutes", "stop_at", "resume"),
)
SHARE_KEPT_BACK, MOST_KEPT_BACK = 0.2, 6
COUNTS, SCORES = ("grains", "count_before", "count_after"), ("f1_before", "f1_after")
# Lines between grains are up to this many px wide; what is wider is a gap.
WIDEST_LINE = 7


@dataclass
class BestStep:
    """Looks at the kept-back micrographs from time to time, remembers the best step and tells when to stop.

    Args:
        kept_back: Micrographs with their true labels, by name.
        options: Give `check_every` and `patience`.
    """

    kept_back: dict[str, RealMicrograph]
    options: FitOptions
    step: int = 0
    score: float = -math.inf
    scores: pd.DataFrame | None = field(default=None, repr=False)
    model: GrainForInstanceSegmentation | None = field(default=None, repr=False)
    looks_without_gain: int = 0

    def look(self, model: GrainForInstanceSegmentation, step: int) -> None:
        """Score a model by its mean panoptic quality, which is finer than F1 where there are few grains."""
        scores = score_micrographs(model, self.kept_back)
        score = float(scores["panoptic_quality"].mean())
        self.looks_without_gain += 1
        if score > self.score:
            self.step, self.score, self.scores, self.model = step, score, scores, deepcopy(model)
            self.looks_without_gain = 0

    def __call__(self, trainer: Trainer) -> bool:
        """Look every `check_every` steps and at the last; true after `patience` looks that saw nothing better."""
        if trainer.progress.step % self.options.check_every == 0 or trainer.is_over():
            self.look(trainer.averaged_model(), trainer.progress.step)
        return self.looks_without_gain >= self.options.patience


def fine_tune(options: FitOptions) -> pd.DataFrame:
    """Train on the labelled micrographs in `options.data`, save the best step's model and a table of what it gained.

    The folder of the run gets `model/`, `fine_tuning.csv`, the curves and the options. Where no step is better than the
    model at the start, that one is saved. Where the training breaks off, the best step until then is saved all the
    same.

    Args:
        options: As for every run; `data` holds `images/` beside `instances/` or `masks/`.

    Returns:
        One row a kept-back micrograph: `picture`, `grains`, `count_before`, `count_after`, `f1_before`, `f1_after`.

    Raises:
        FitError: If there are fewer than two labelled micrographs, none kept back has grains to judge by, an option is
            for another kind of run, the loss is no number any more, or the run's folder cannot be written to.
        KeyboardInterrupt: After Ctrl-C.
        LabelledDataError: If the folder is not laid out so.
        ModelError: If the model to start from cannot be loaded.
    """
    _refuse_options_of_other_runs(options)
    find_device(options.device)  # before anything takes its time
    micrographs = read_labelled_folder(options.data)
    training, kept_back = keep_back(micrographs, options.seed)
    start = build_model(options)
    was_frozen = start.config.freeze_backbone
    if not options.train_backbone:
        start.freeze_backbone()
    refuse_rate_of_frozen_backbone(start, options, FitOptions.backbone_lr, DEFAULTS["backbone_lr"])
    best = BestStep({name: micrographs[name] for name in kept_back}, options)
    if not any([tell_unscored(name, micrograph.labels) for name, micrograph in best.kept_back.items()]):
        raise FitError(
            f"The micrographs that are kept back ({', '.join(kept_back)}) have no grain of {SMALLEST_GRAIN_PX} px or "
            "more to judge by. Some are expected. Enlarge the pictures and their labels, or label others."
        )
    best.look(start, 0)
    before = best.scores
    trainer = _trainer(options, start, [micrographs[name] for name in training])
    with writing_run(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
        options.save()
    broken_off = _train(trainer, best)
    best.model.config.freeze_backbone = was_frozen
    save_trained_model(best.model, options.out / "model")
    table = compare(before, best.scores)
    with writing_run(options.out):
        table.to_csv(options.out / "fine_tuning.csv", index=False)
    print(
        f"trained on {len(training)} micrographs; kept back {len(kept_back)}, by which the step was chosen, which "
        f"flatters a little:\n\n{as_text(table)}\n"
    )
    if best.step == 0:
        print("No step was better than the model at the start, which is what was saved.")
    print(f"model of step {best.step} saved to {options.out / 'model'}")
    if broken_off:
        raise broken_off
    return table


def _refuse_options_of_other_runs(options: FitOptions) -> None:
    """Raise a FitOptionError where an option is set that has no effect here."""
    if ignored := [name for name in FOR_OTHER_RUNS if getattr(options, name) != getattr(FitOptions, name)]:
        flags = " and ".join("--" + name.replace("_", "-") for name in ignored)
        raise FitOptionError(
            f"{flags} would be ignored: with your own micrographs in {options.data}, training is on them alone, is "
            f"short and starts anew. Leave out {flags}."
        )


def _trainer(options: FitOptions, start: GrainForInstanceSegmentation, training: list[RealMicrograph]) -> Trainer:
    """Prepare training on micrographs, each at the scale at which the network will see it."""
    at_its_scale = [at_known_scale(micrograph) for micrograph in training]
    # Neither samples nor cuts are larger than the smallest micrograph: they would have to be enlarged.
    side = min(options.side, *(min(micrograph.labels.shape) for micrograph in at_its_scale))
    sizes = tuple(min(size, side) for size in options.sizes)
    mixture = Mixture({"own": at_its_scale}, {"own": 1.0})
    return Trainer(replace(options, side=side, sizes=sizes), start, mixture, keeps_checkpoints=False)


def _train(trainer: Trainer, best: BestStep) -> KeyboardInterrupt | FitError | None:
    """Train to the end; return what broke it off, to be raised when the best step is saved."""
    try:
        trainer.train(watch=best)
        if trainer.is_interrupted:
            raise KeyboardInterrupt
    except (KeyboardInterrupt, FitError) as error:
        how = "Stopped" if isinstance(error, FitError) else "Interrupted"
        print(f"{how} at step {trainer.progress.step}: the best one until then is saved.", file=sys.stderr)
        return error
    return None


def read_labelled_folder(folder: Path) -> dict[str, RealMicrograph]:
    """Read every labelled micrograph of a folder; lines drawn between grains belong to the grain that is nearest.

    Args:
        folder: Holds `images/` beside `instances/` or `masks/`.

    Returns:
        Micrographs by the stem of their file, with ids, 0 in gaps and -1 where it is not known.

    Raises:
        LabelledDataError: If the folder is not laid out so.
        ImageError: If a micrograph cannot be read.
    """
    read = {}
    for source in find_labelled_micrographs(folder):
        pixels, labels = source.read()
        read[source.name] = RealMicrograph(pixels, count_ids_through(without_lines(labels)))
    return read


def without_lines(labels: np.ndarray) -> np.ndarray:
    """Give the lines between grains to the grain that is nearest and leave gaps as they are.

    Args:
        labels: int32 (H, W), 0 on lines and in gaps, -1 where it is not known.

    Returns:
        int32 (H, W), 0 in gaps alone, -1 as before.
    """
    empty = (labels == 0).astype(np.uint8)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (WIDEST_LINE + 2, WIDEST_LINE + 2))
    gaps = cv2.morphologyEx(empty, cv2.MORPH_OPEN, disk) > 0
    grown = np.where(gaps, 0, expand_labels(np.maximum(labels, 0), distance=WIDEST_LINE))
    return np.where(labels == UNKNOWN, UNKNOWN, grown).astype(np.int32)


def keep_back(names: Collection[str], seed: int) -> tuple[list[str], list[str]]:
    """Choose at random what is trained on and what is kept back to judge by.

    Args:
        names: Of the micrographs, at least two.
        seed: Of the choice.

    Returns:
        Names for training and names kept back: a fifth, at least one, at most `MOST_KEPT_BACK`.

    Raises:
        FitError: If there are fewer than two.
    """
    if len(names) < 2:
        raise FitError(
            f"There is {len(names)} labelled micrograph. Expected are at least two, one of which is kept back to "
            "judge by; five are a good start. Label another, or cut this one in two."
        )
    shuffled = np.random.default_rng(seed).permutation(sorted(names)).tolist()
    number = min(max(round(SHARE_KEPT_BACK * len(names)), 1), MOST_KEPT_BACK)
    return sorted(shuffled[number:]), sorted(shuffled[:number])


def at_known_scale(micrograph: RealMicrograph) -> RealMicrograph:
    """Resample a micrograph as `count_grains` does before the network sees it, judged by its true grains."""
    areas = np.bincount(micrograph.labels[micrograph.labels > 0])
    height, width = micrograph.labels.shape
    factor = max(factor_for_grains(areas[areas > 0]), min(SMALLEST_SIDE / min(height, width), 1))
    if factor == 1:
        return micrograph
    size = round(width * factor), round(height * factor)
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return RealMicrograph(
        cv2.resize(micrograph.image, size, interpolation=method),
        cv2.resize(micrograph.labels, size, interpolation=cv2.INTER_NEAREST_EXACT),
    )


def score_micrographs(model: GrainForInstanceSegmentation, micrographs: dict[str, RealMicrograph]) -> pd.DataFrame:
    """Score a model: a row a micrograph, by its name, with the columns of `score_labels`."""
    rows = {
        name: score_labels(micrograph.labels, count_grains(micrograph.image, model=model).labels)
        for name, micrograph in micrographs.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def compare(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Set what `score_micrographs` gave of two models side by side; the columns are those of `fine_tune`."""
    return pd.DataFrame(
        {
            "picture": before.index,
            "grains": before["n_true"],
            "count_before": before["n_pred"],
            "count_after": after["n_pred"],
            "f1_before": before["f1"],
            "f1_after": after["f1"],
        }
    )


def as_text(table: pd.DataFrame) -> str:
    """Write the table of `fine_tune` with its means for reading."""
    means = {"picture": "mean", **table.mean(numeric_only=True)}
    header = ("picture", "grains", "count before", "count after", "F1 before", "F1 after")
    rows = [
        (row["picture"], *(f"{row[c]:.0f}" for c in COUNTS), *(f"{row[c]:.3f}" for c in SCORES))
        for row in [*table.to_dict("records"), means]
    ]
    return markdown_table(header, rows)
