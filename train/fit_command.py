"""`python -m train fit`: train once, stage by stage as a configuration says, or on a labelled folder of one's own."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from train.fine_tune import DEFAULTS, fine_tune
from train.fit import fit
from train.fit_options import (
    FitOptionError,
    FitOptions,
    add_options,
    as_typed,
    is_labelled_folder,
    parse_config,
    read_config,
    write_config,
)
from train.saving import writing_run
from train.self_label import SOURCES, label_micrographs

# Options of `fine_tune` alone.
OF_FINE_TUNING = ("check_every", "patience")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fit`."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoint, curves, model/")
    parser.add_argument(
        "--config",
        type=Path,
        help="JSON with any of the options below, or with a list of stages that have them; what is typed wins",
    )
    add_options(parser)
    own = ", ".join(f"--{name.replace('_', '-')} {as_typed(value)}" for name, value in DEFAULTS.items())
    parser.epilog = f"With your own micrographs the defaults are --init embedded, {own}."


def run(args: argparse.Namespace) -> int:
    """Train, write curves and checkpoints, and save the averaged model, once or stage by stage.

    A run keeps its options in `options.json`, and `--resume` reads them there; what is typed wins.

    Raises:
        FitError: If the options do not fit together, a file of theirs cannot be used, the folder cannot be written to
            or holds another run, or the loss is no number any more.
        KeyboardInterrupt: After Ctrl-C, when the step in progress has ended and is saved.
        LabelledDataError: If the data are not laid out as expected.
        ModelError: If the model to start from cannot be loaded.
    """
    typed = {k: v for k, v in vars(args).items() if k not in ("run", "command", "config")}
    refuse_unwritable_folder(args.out)
    saved = args.out / "options.json"
    source = args.config
    if "resume" in typed and (saved.exists() or source is None):
        source = saved
    config = read_config(source) if source else {}
    config.pop("about", None)
    if source == saved:
        # Where the run was told to stop is no option to keep.
        config.pop("stop_at", None)
    has_stages = "stages" in config
    given = {} if has_stages else {**parse_config(config, source), **typed}
    is_own = is_labelled_folder(given.get("data"))
    if "resume" not in typed:
        refuse_used_folder(args.out, can_resume=not is_own)
    if has_stages:
        run_stages(config, typed, source)
    elif not is_own:
        _refuse_of_fine_tuning(given)
        options = FitOptions(**given)
        _check_layout(options.data)
        fit(options)
    else:
        start = {} if any(map(given.get, ("init", "backbone", "no_detail"))) else {"init": "embedded"}
        fine_tune(FitOptions(**{**DEFAULTS, **given, **start}))
    return 0


def _check_layout(data: Path | None) -> None:
    """Raise a FitOptionError where there is a folder of data that holds nothing to train on."""
    if data is None or any((data / name).is_dir() for name in ("316l", "tbm")):
        return
    if is_labelled_folder(data):
        raise FitOptionError(
            f"{data} holds your own micrographs, which a configuration with stages does not train on. Expected is a "
            "folder with 316l/ and tbm/, or no stages. Leave out --config, or name another --data."
        )
    raise FitOptionError(
        f"{data} {'is laid out otherwise' if data.is_dir() else 'does not exist'}. Expected is a folder of your own "
        "micrographs, in images/ beside instances/ or masks/, or one with 316l/ and tbm/. Check the path."
    )


def refuse_unwritable_folder(out: Path) -> None:
    """Raise a FitOptionError where a run's folder cannot be made or written to; it is not made yet."""
    nearest = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise FitOptionError(
            f"--out {out} cannot be used: {nearest} is a file. A folder is expected. Name another one."
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise FitOptionError(
            f"--out {out} cannot be used: there is no right to write to {nearest}. A folder with that right is "
            "expected. Name another one."
        )


def refuse_used_folder(out: Path, *, can_resume: bool = True) -> None:
    """Raise a FitOptionError where a run has left a checkpoint or a model, which a new one would mix with its own."""
    # A run of stages has a folder for each.
    results = [found for name in ("checkpoint.pt", "model") for found in (*out.glob(name), *out.glob(f"*/{name}"))]
    if results:
        expected, remedy = (", or --resume to go on with that run", ", or add --resume") if can_resume else ("", "")
        raise FitOptionError(
            f"{out} holds a run already ({results[0].relative_to(out)}). Expected is a new folder{expected}. Name "
            f"another folder with --out{remedy}."
        )


def _refuse_of_fine_tuning(given: Mapping[str, object]) -> None:
    """Raise a FitOptionError where an option was given that only training on one's own micrographs heeds."""
    default = {name: getattr(FitOptions, name) for name in OF_FINE_TUNING}
    if unused := [name for name in OF_FINE_TUNING if given.get(name, default[name]) != default[name]]:
        raise FitOptionError(
            f"--{unused[0].replace('_', '-')} is for training on your own micrographs. "
            "Expected is --data with images/ in it. Add that, or leave the option out."
        )


@dataclass(frozen=True)
class Stage:
    """One stage of a configuration, trained in a folder of its own.

    Attributes:
        options: All of its options.
        labeller: Model that labels real micrographs for it, None where none are labelled.
        sources: What is labelled, each with its boundary sensitivity.
    """

    options: FitOptions
    labeller: Path | None = None
    sources: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        """Whether its model is saved, and the run goes on."""
        return self.options.resume and (self.options.out / "model").is_dir()

    def label(self) -> None:
        """Label the real micrographs that it trains on, unless a run that goes on has done so."""
        folder = self.options.self_trained
        if self.labeller is None or (self.options.resume and folder.is_dir()):
            return
        # Under another name until all are labelled, so that no run goes on with a part of them.
        part = folder.with_suffix(".part")
        for old in (part, folder):
            shutil.rmtree(old, ignore_errors=True)
        for kind, sensitivity in self.sources.items():
            label_micrographs(
                self.labeller,
                self.options.data,
                kind,
                part,
                boundary_sensitivity=sensitivity,
                device=self.options.device,
            )
        part.rename(folder)

    def train(self) -> bool:
        """Train it, or go on where its run stopped; returns whether its schedule is over."""
        goes_on = self.options.resume and (self.options.out / "checkpoint.pt").exists()
        return fit(replace(self.options, resume=goes_on)).share_done >= 1


def run_stages(config: dict, typed: dict, source: Path) -> None:
    """Run the stages of a configuration, one after another; with `--resume`, finished ones are passed over.

    Args:
        config: Options of all stages, and `stages`, whose options win over those; see `read_stage`.
        typed: Options that win over both. They are kept in the run's folder with the others.
        source: The configuration's file, for error messages.

    Raises:
        FitError: If a stage cannot start or go on; see `fit`.
    """
    out, described = typed["out"], config["stages"]
    if not (isinstance(described, list) and described and all(isinstance(stage, dict) for stage in described)):
        raise FitOptionError(
            f'{source}: the stages are no list of objects. Expected is at least one, such as [{{"name": "one", '
            '"steps": 1000}]. Correct "stages", or leave it out to train once.'
        )
    common = {name: value for name, value in config.items() if name != "stages"}
    stages: dict[str, Stage] = {}
    for own in described:
        name, stage = read_stage(own, common, typed, source, earlier=list(stages))
        stages[name] = stage
    for stage in stages.values():
        _check_layout(stage.options.data)
    kept = {name: value for name, value in typed.items() if name not in ("out", "resume", "stop_at")}
    saved = {**common, "stages": [{**own, **kept} for own in described]}
    with writing_run(out):
        out.mkdir(parents=True, exist_ok=True)
        write_config(saved, out / "options.json")
    for stage in stages.values():
        if stage.is_finished:
            continue
        stage.label()
        if not stage.train():
            break  # stopped on the way, to be resumed


def read_stage(stage: dict, common: dict, typed: dict, source: Path, earlier: Sequence[str]) -> tuple[str, Stage]:
    """Check one stage of a configuration and gather its options.

    Args:
        stage: Its options; besides those, `name`, `start_from` (an earlier stage whose model it starts from) and
            `self_label` (`model`: an earlier stage; `sources`: what its model labels for `--self-trained`, each with
            its boundary sensitivity).
        common: Options of all stages.
        typed: Options that win over both.
        source: The configuration's file, for error messages.
        earlier: Names of the stages before it.

    Returns:
        Its name, and the stage.

    Raises:
        FitError: If something is missing or does not fit.
    """
    own, out = dict(stage), typed["out"]
    name, start, labelling = own.pop("name", None), own.pop("start_from", None), own.pop("self_label", None)
    if not (isinstance(name, str) and name):
        raise FitOptionError(
            f"{source}: a stage has no name that is text. Expected is one for its folder. Give the stage a "
            '"name", such as "one".'
        )
    if name in earlier:
        raise FitOptionError(f"{source}: two stages are called {name!r}. Expected is a name for each. Rename one.")
    options = {**parse_config({**common, **own}, source), **typed, "out": out / name}
    _refuse_of_fine_tuning(options)
    if start:
        options["init"] = _model_of(start, name, earlier, out, source)
    if labelling is None:
        return name, Stage(FitOptions(**options))
    sources = labelling.get("sources") if isinstance(labelling, dict) else None
    has_sources = isinstance(sources, dict) and sources and all(isinstance(s, int | float) for s in sources.values())
    if not (has_sources and "model" in labelling):
        raise FitOptionError(
            f'{source}: self_label of stage {name!r} is incomplete. Expected is an object with "model" and "sources", '
            'the latter with a boundary sensitivity each, such as {"316l": 0.5}. Add them.'
        )
    if unknown := [kind for kind in sources if kind not in SOURCES]:
        raise FitOptionError(
            f"{source}: self_label of stage {name!r} knows no source {unknown[0]!r}. Expected are "
            f"{', '.join(SOURCES)}. Choose of these."
        )
    if options.get("data") is None:
        raise FitOptionError(f"Stage {name!r} labels real micrographs, but no data folder is given. Add --data FOLDER.")
    options["self_trained"] = out / name / "self-labelled"
    labeller = _model_of(labelling["model"], name, earlier, out, source)
    return name, Stage(FitOptions(**options), Path(labeller), sources)


def _model_of(wanted: str, name: str, earlier: Sequence[str], out: Path, source: Path) -> str:
    """Folder of the model of the stage that stage `name` wants, which must come before it."""
    if wanted not in earlier:
        known = f"one of {', '.join(earlier)}" if earlier else "none, since it is the first"
        raise FitOptionError(
            f"{source}: stage {name!r} wants the model of stage {wanted!r}, which does not come before it. Expected is "
            f"{known}. Correct the name or the order."
        )
    return str(out / wanted / "model")
