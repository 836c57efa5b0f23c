"""`python -m train fit`: train once, stage by stage as a configuration says, or on a labelled folder of one's own."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from train.fine_tune import DEFAULTS, fine_tune
from train.fit import fit
from train.fit_options import FitError, FitOptions, add_options, as_typed, is_labelled_folder, parse_config, read_config
from train.self_label import label_micrographs


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

    Raises:
        FitError: If the options do not fit together or a file of theirs cannot be used.
        LabelledDataError: If the data are not laid out as expected.
        ModelError: If the model to start from cannot be loaded.
    """
    typed = {k: v for k, v in vars(args).items() if k not in ("run", "command", "config")}
    source = args.config
    if source is None and typed.get("resume"):
        source = args.out / "options.json"
    config = read_config(source) if source else {}
    config.pop("about", None)
    if "stages" in config:
        return run_stages(config.pop("stages"), config, typed, source)
    chosen = parse_config(config, source)
    if args.config is None:
        # A resumed run keeps its options, but not where it was told to stop.
        chosen.pop("stop_at", None)
    given = {**chosen, **typed}
    if not is_labelled_folder(given.get("data")):
        fit(FitOptions(**given))
    elif given.get("init") or given.get("backbone"):
        fine_tune(FitOptions(**{**DEFAULTS, **given}))
    else:
        fine_tune(FitOptions(**{**DEFAULTS, **given, "init": "embedded"}))
    return 0


def run_stages(stages: list[dict], common: dict, typed: dict, source: Path) -> int:
    """Run the stages of a configuration, each in a folder of its own; with `--resume`, finished ones are passed over.

    Args:
        stages: Options of each stage; besides those, `name`, `start_from` (an earlier stage whose model it starts from)
            and `self_label` (`model`: an earlier stage; `sources`: what its model labels for `--self-trained`, each
            with its boundary sensitivity).
        common: Options of all stages.
        typed: Options that win over both.
        source: The configuration's file, for error messages.
    """
    out = typed["out"]
    for stage in stages:
        own = dict(stage)
        if "name" not in own:
            raise FitError(f'{source}: a stage has no name. Expected is one for its folder. Add "name" to the stage.')
        name, earlier, labelling = own.pop("name"), own.pop("start_from", None), own.pop("self_label", None)
        if labelling and not ("model" in labelling and isinstance(labelling.get("sources"), dict)):
            raise FitError(
                f'{source}: self_label of stage {name!r} is incomplete. Expected are "model" and "sources", the latter '
                'with a boundary sensitivity each, such as {"316l": 0.5}. Add them.'
            )
        options = {**parse_config({**common, **own}, source), **typed, "out": out / name}
        if earlier:
            options["init"] = str(out / earlier / "model")
        if labelling:
            options["self_trained"] = out / name / "self-labelled"
        chosen = FitOptions(**options)
        if chosen.resume and (chosen.out / "model" / "config.json").exists():
            continue
        if labelling and not (chosen.resume and chosen.self_trained.is_dir()):
            if chosen.data is None:
                raise FitError(
                    f"Stage {name!r} labels real micrographs, but no data folder is given. Add --data FOLDER."
                )
            # Under another name until all are labelled, so that no run goes on with a part of them.
            part = chosen.self_trained.with_suffix(".part")
            for folder in (part, chosen.self_trained):
                shutil.rmtree(folder, ignore_errors=True)
            for kind, sensitivity in labelling["sources"].items():
                label_micrographs(
                    out / labelling["model"] / "model",
                    chosen.data,
                    kind,
                    part,
                    boundary_sensitivity=sensitivity,
                    device=chosen.device,
                )
            part.rename(chosen.self_trained)
        trainer = fit(replace(chosen, resume=chosen.resume and (chosen.out / "checkpoint.pt").exists()))
        if trainer.done < 1:
            break  # stopped on the way, to be resumed
    return 0
