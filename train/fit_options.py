"""The options of `python -m train fit`: typed, read from a JSON file, or left at their defaults."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NoReturn

from grain_model.arguments import natural_number, non_negative_number, positive_integer, positive_number, share
from grain_model.errors import GrainError, UsageError

# Share of the tinted alloy among the samples where its folder is given.
TBM_SHARE = 0.02


class FitError(GrainError, ValueError):
    """A training run cannot start or go on with the options, data or disk that it has."""


class FitOptionError(FitError, UsageError):
    """Options that do not fit together, or that the run has no use for."""


@dataclass(frozen=True)
class FitOptions:
    """What a training run depends on; `add_options` says what each option means."""

    out: Path
    data: Path | None = None
    self_trained: Path | None = None
    self_trained_share: float = 0.15
    weak_share: float = 0.0
    pseudo_only: bool = False
    real_only: bool = False
    no_detail: bool = False
    backbone: str | None = None
    train_backbone: bool = False
    init: str | None = None
    start_share: float = 0.0
    steps: int = 20000
    minutes: float | None = None
    batch: int = 32
    sizes: tuple[int, ...] = (224, 252, 280, 308)
    side: int = 320
    reuse: int = 4
    pool: int = 2048
    lr: float = 1e-3
    backbone_lr: float = 4e-4
    weight_decay: float = 0.05
    warmup: int = 400
    ema: float = 0.9995
    keep_statistics: bool = False
    border_weight: float = 0.0
    seed: int = 0
    workers: int = 2
    device: str = "auto"
    save_minutes: float = 5.0
    stop_at: int | None = None
    check_every: int = 25
    patience: int = 4
    resume: bool = False

    def __post_init__(self) -> None:
        if (self.pseudo_only or self.weak_share > 0) and self.data is None:
            raise FitOptionError(
                "Pseudo masks are asked for, but no data folder is given. Expected is a folder with 316l/ in it. "
                "Add --data FOLDER."
            )
        if self.real_only and self.data is None and not (self.self_trained and self.self_trained_share > 0):
            raise FitOptionError(
                "--real-only leaves nothing to train on: no real micrographs are given. Expected is at least one "
                "source. Add --data FOLDER or --self-trained FOLDER."
            )
        if self.init and (self.backbone or self.no_detail):
            raise FitOptionError(
                "--init brings a whole model, so --backbone and --no-detail would be ignored. Expected is one start. "
                "Leave out either --init or the other two."
            )
        if self.pseudo_only and (self.self_trained or self.weak_share > 0 or self.real_only or self.border_weight > 0):
            raise FitOptionError(
                "--pseudo-only trains on the pseudo masks alone and by their loss alone, so --self-trained, "
                "--weak-share, --real-only and --border-weight would be ignored. Expected is it without them. "
                "Leave them out."
            )
        if self.keep_statistics and not self.init:
            raise FitOptionError(
                "--keep-statistics keeps the batch statistics of a model, but none is given. Expected is a model to "
                "start from. Add --init, or leave out --keep-statistics."
            )
        if self.start_share and not self.init:
            raise FitOptionError(
                "--start-share keeps a share of the weights at the start, but none are given. Expected is a model to "
                "start from. Add --init, or leave out --start-share."
            )
        if self.train_backbone and not (self.init or self.backbone):
            raise FitOptionError(
                "--train-backbone lets a backbone learn that would be frozen, but none is given, and a new one learns "
                "anyway. Expected is a model to start from. Add --init or --backbone, or leave out --train-backbone."
            )
        if self.self_trained is None and self.self_trained_share != type(self).self_trained_share:
            raise FitOptionError(
                "--self-trained-share is the share of what an earlier model labelled, but none of that is given. "
                "Expected is its folder. Add --self-trained FOLDER, or leave out --self-trained-share."
            )
        shares = {} if self.pseudo_only or self.real_only else self.real_shares
        if (total := sum(shares.values())) > 1:
            listed = ", ".join(f"{name} {share:g}" for name, share in shares.items())
            raise FitOptionError(
                f"The shares of real micrographs add up to {total:g} ({listed}). Expected is at most 1, of which "
                "synthetic micrographs take the rest. Lower --weak-share or --self-trained-share."
            )

    @property
    def real_shares(self) -> dict[str, float]:
        """Share of each source of real micrographs that is given; synthetic ones take the rest."""
        shares = {}
        if self.data and not is_labelled_folder(self.data):
            shares["tbm"] = TBM_SHARE
        if self.weak_share > 0:
            shares["316l"] = self.weak_share
        if self.self_trained:
            shares["self-trained"] = self.self_trained_share
        return shares

    def save(self) -> None:
        """Write the options to `options.json` in the run's folder, in the form that `read_config` reads."""
        write_config({k: v for k, v in asdict(self).items() if k != "resume"}, self.out / "options.json")


def is_labelled_folder(data: Path | None) -> bool:
    """Whether a folder holds a user's own micrographs, and not the sources that the embedded weights learnt from."""
    return data is not None and (data / "images").is_dir()


def as_typed(value: object) -> str:
    """Write an option's value as it is typed."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare every option of `FitOptions`; what is not typed is absent from the parsed namespace."""
    defaults = {field.name: field.default for field in fields(FitOptions)}

    def add(name: str, text: str, **settings: object) -> None:
        default = defaults[name[2:].replace("-", "_")]
        if settings.get("action") != "store_true" and default is not None:
            shown = as_typed(default)
            text += f" (default {shown})"
        parser.add_argument(name, help=text, default=argparse.SUPPRESS, **settings)

    add(
        "--data",
        "your own micrographs in images/ beside instances/ (one number a grain) or masks/ (of either polarity); or a "
        "folder with 316l/ and tbm/ (weak labels)",
        type=Path,
    )
    add("--self-trained", "folder with images/ and instances/ labelled by an earlier model", type=Path)
    add("--self-trained-share", "share of what an earlier model labelled, where it is given", type=share)
    add("--weak-share", "share of 316l/ with its weak labels", type=share)
    add("--pseudo-only", "train on the pseudo masks of 316l/ alone, as the seed project did", action="store_true")
    add("--real-only", "no synthetic micrographs (for the ablation)", action="store_true")
    add("--no-detail", "no detail branch (for the ablation)", action="store_true")
    add("--backbone", "Hub id or folder of a Dinov2 model: its weights, frozen")
    add("--train-backbone", "train the backbone, too, where it would be frozen", action="store_true")
    add("--init", "model folder or Hub id to start from, or 'embedded' (which your own micrographs start from)")
    add("--start-share", "share of the --init weights mixed into the saved model: it forgets less", type=share)
    add("--steps", "length of the schedule", type=positive_integer)
    add("--minutes", "end the schedule after this time if that comes first; not reproducible", type=positive_number)
    add("--batch", "pictures a step", type=positive_integer)
    add("--sizes", "sides of the cuts in px, one drawn for each step", type=positive_integer, nargs="+")
    add("--side", "side in px of the samples that are cut", type=positive_integer)
    add("--reuse", "how often a sample is cut on average, at most --batch times", type=positive_integer)
    add("--pool", "samples kept for reuse, 4 times --batch at least", type=positive_integer)
    add("--lr", "peak learning rate of the decoder", type=positive_number)
    add("--backbone-lr", "peak learning rate of the backbone", type=positive_number)
    add("--weight-decay", "decay of matrices and kernels", type=non_negative_number)
    add("--warmup", "steps of linear warm-up", type=natural_number)
    add("--ema", "decay of the averaged weights, which are those that are saved", type=share)
    add("--keep-statistics", "leave batch statistics as --init brings them: for small batches", action="store_true")
    add("--border-weight", "weight of the loss over whole borders, for the end of a training", type=non_negative_number)
    add("--seed", "seed of every random choice", type=natural_number)
    add("--workers", "processes that draw samples, 0 for none", type=natural_number)
    add("--device", "cpu, cuda or auto; computes in bfloat16 where the device is made for it")
    add("--save-minutes", "time between checkpoints", type=positive_number)
    add("--stop-at", "stop after this step of the schedule, to go on later with --resume", type=positive_integer)
    add("--check-every", "steps between looks at the micrographs kept back of your own", type=positive_integer)
    add("--patience", "looks without gain after which training on your own ends", type=positive_integer)
    add(
        "--resume",
        "go on with the run in --out and its options; what is typed wins, what --config says does not",
        action="store_true",
    )


def read_config(path: Path) -> dict:
    """Read a JSON object.

    Raises:
        FitError: If there is no such file or it holds anything else.
    """
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FitOptionError(
            f"{path} could not be read ({error}). Expected is a JSON object of options. Check the path and the commas."
        ) from error
    if not isinstance(config, dict):
        raise FitOptionError(
            f"{path} holds no JSON object. Expected is {{option: value, ...}}. Put the options in braces."
        )
    return config


def write_config(config: Mapping[str, object], path: Path) -> None:
    """Write options, paths among them, in the form that `read_config` reads."""
    path.write_text(json.dumps(config, indent=2, default=str) + "\n")


def parse_config(config: Mapping[str, object], source: Path) -> dict[str, object]:
    """Check and convert options from JSON as if they had been typed.

    Args:
        config: Names as in `FitOptions` (or with hyphens) and values.
        source: The file, for error messages.

    Raises:
        FitError: If an option is unknown or its value is of the wrong kind.
    """
    words = []
    for name, value in config.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool) or value is None:
            words += [flag] if value else []
        else:
            words += [flag, *map(str, value)] if isinstance(value, list) else [flag, str(value)]
    parser = _ConfigParser(source)
    add_options(parser)
    parser.add_argument("--out", type=Path, default=argparse.SUPPRESS)
    return vars(parser.parse_args(words))


class _ConfigParser(argparse.ArgumentParser):
    """A parser whose errors name the file that the words come from."""

    def __init__(self, source: Path) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self.source = source

    def error(self, message: str) -> NoReturn:
        raise FitOptionError(
            f"{self.source}: {message}. Expected are the options of `python -m train fit` with values of their kind. "
            "Correct the file."
        )
