"""`python -m train evaluate`: score checkpoints beside classical methods and write the report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from grain_model.arguments import natural_number, positive_integer, positive_number
from grain_model.errors import UsageError
from grain_model.image_file import MAX_PIXELS, MIN_SIDE
from grain_model.label_settings import METHODS
from grain_model.result_folder import make_output
from train.baselines import BASELINES
from train.contenders import DEFAULT_LABEL_METHOD, MASK_METHOD, MODEL_ROW, Contender, baseline, model_contender
from train.instance_protocol import ScoredPicture, score_pictures, summarize
from train.labelled import LabelledDataError, LabelledMicrograph, find_labelled_micrographs
from train.matching import tell_unscored

EMBEDDED = "embedded"
# Options that say something of models alone; and those of the protocol of instances, and what it does without them.
OF_MODELS = ("model", "method", "enlarge")
OF_INSTANCES = ("enlarge", "gallery", "baselines")
DEFAULT_GALLERY, DEFAULT_BASELINES = 3, ("otsu", "adaptive")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `evaluate`."""
    parser.add_argument(
        "--protocol",
        choices=("instances", "seed"),
        required=True,
        help="instances: against true grains; seed: the seed project's masks and counts on its 49 test tiles",
    )
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="instances: folders with images/ and instances/; seed: the folder of the 316L tiles",
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="[NAME=]FOLDER",
        help=f"checkpoint folder, Hub id or file of export-onnx, {EMBEDDED!r} for the embedded weights (default); "
        "repeat for more rows",
    )
    parser.add_argument(
        "--method",
        action="append",
        choices=(*METHODS, MASK_METHOD),
        help=f"how probabilities become labels; {MASK_METHOD!r}, for the seed's protocol only, is the map of interiors "
        "as it is; repeat for more rows "
        f"(default {DEFAULT_LABEL_METHOD})",
    )
    parser.add_argument(
        "--baselines",
        nargs="*",
        choices=tuple(BASELINES),
        help="classical methods beside the model (default otsu adaptive); the seed's protocol has plain Otsu instead",
    )
    parser.add_argument("--no-model", action="store_true", help="score the classical methods alone")
    parser.add_argument(
        "--enlarge",
        type=positive_number,
        nargs="+",
        default=[],
        metavar="FACTOR",
        help="also measure how the model's count changes when every picture is rescaled so, for instance 2.0 0.7; not "
        "in the seed's protocol",
    )
    parser.add_argument("--limit", type=positive_integer, metavar="N", help="only the first N pictures of each folder")
    parser.add_argument(
        "--gallery",
        type=natural_number,
        metavar="N",
        help="show the N worst pictures of each material (default 3); not in the seed's protocol",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/evaluation"),
        help="folder of the report (default runs/evaluation)",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate by the chosen protocol, print the tables and write the report.

    Raises:
        LabelledDataError: If the data are not laid out as the protocol expects, or have no labelled grain.
        ModelError: If a model cannot be loaded.
        UsageError: If options do not fit together, or `--out` is a file or cannot be written to.
    """
    if args.protocol == "instances" and MASK_METHOD in (args.method or []):
        raise UsageError(
            f"--method {MASK_METHOD} leaves one mask, but --protocol instances matches single grains. Expected are "
            "watershed or components. Choose one of these, or --protocol seed."
        )
    if args.protocol == "seed" and (unused := [name for name in OF_INSTANCES if getattr(args, name)]):
        raise UsageError(
            f"--{unused[0]} says nothing in --protocol seed, which has tables of its own. Expected is --protocol "
            "instances. Choose that, or leave the option out."
        )
    if args.no_model and (unused := [name for name in OF_MODELS if getattr(args, name)]):
        raise UsageError(
            f"--no-model leaves all models out, so --{unused[0]} would say nothing. Expected is one of the two. Leave "
            "out the other."
        )
    return _run_seed(args) if args.protocol == "seed" else _run_instances(args)


def model_contenders(models: Sequence[str], label_methods: Sequence[str]) -> list[Contender]:
    """Load the models named on the command line.

    Args:
        models: `FOLDER`, `NAME=FOLDER` or `embedded` each. Without a name, a single model's row is `MODEL_ROW`, and
            one among several is called after its folder.
        label_methods: Each gives every model a row of its own.

    Raises:
        ModelError: If a model cannot be loaded.
        UsageError: If two rows have the same name.
    """
    named = {}
    for model in models:
        name, folder = _split_name(model)
        name = name or (MODEL_ROW if len(models) == 1 or folder == EMBEDDED else Path(folder).name)
        if name in named or name in BASELINES:
            raise UsageError(
                f"Two rows would be called {name!r}. Each row of the table needs its own name. "
                "Name the models with --model NAME=FOLDER."
            )
        named[name] = folder
    methods = list(dict.fromkeys(label_methods))
    return [model_contender(name, folder, methods) for name, folder in named.items()]


def _load_models(args: argparse.Namespace) -> list[Contender]:
    if args.no_model:
        return []
    return model_contenders(args.model or [EMBEDDED], args.method or [DEFAULT_LABEL_METHOD])


def _run_instances(args: argparse.Namespace) -> int:
    # Figures and measurements are for this protocol only; the seed's does without matplotlib.
    from train.distributions import compare_distributions, draw_distributions
    from train.enlargement import measure_count_changes
    from train.reliability import bin_confidence, calibration_error, draw_reliability
    from train.report import InstanceReport, comparison_table, count_change_table, picture_tables, write_instance_report

    baselines = DEFAULT_BASELINES if args.baselines is None else args.baselines
    gallery = DEFAULT_GALLERY if args.gallery is None else args.gallery
    if args.no_model and not baselines:
        raise UsageError("There is nothing to score. At least one method is needed. Name a model or a baseline.")
    materials = [folder.resolve().name for folder in args.data]
    if twice := [name for name in materials if materials.count(name) > 1]:
        raise UsageError(
            f"Two folders have the same name, {twice[0]!r}, by which the report tells materials apart. Each folder "
            "needs a name of its own. Rename one, or name it once."
        )
    pictures = [each for folder in args.data for each in find_labelled_micrographs(folder)[: args.limit]]
    _check_pictures(pictures, args.enlarge)
    models = _load_models(args)
    contenders = [*(baseline(name) for name in dict.fromkeys(baselines)), *models]
    make_output(args.out, ())
    scored = list(score_pictures(pictures, contenders))
    scores = pd.DataFrame([row for picture in scored for row in picture.scores])
    summary = summarize(scores)
    print(picture_tables(scores), comparison_table(summary), sep="\n\n", flush=True)

    micrographs = [(each.source.material, each.source.name, each.pixels) for each in scored]
    changes = measure_count_changes(micrographs, models, args.enlarge) if args.enlarge and models else pd.DataFrame()
    if not changes.empty:
        print(f"\n{count_change_table(changes)}", flush=True)

    shapes = _measure_all_shapes(scored)
    figures = {}
    if not shapes.empty:
        draw_distributions(shapes, args.out / "instances_distributions.png")
        figures["Distributions of area, perimeter and aspect ratio"] = "instances_distributions.png"
    grains = pd.DataFrame([grain for picture in scored for grain in picture.reliability])
    calibration = pd.DataFrame()
    if not grains.empty:
        binned = bin_confidence(grains)
        calibration = calibration_error(binned)
        draw_reliability(binned, args.out / "instances_reliability.png")
        figures["Reliability of the confidence"] = "instances_reliability.png"
    shown_row = (models or contenders)[0].rows[0]
    figures |= _draw_galleries(scored, shown_row, gallery, args.out)

    weights = {row: model.weights for model in models for row in model.rows}
    report = InstanceReport(
        scores=scores,
        summary=summary,
        distributions=compare_distributions(shapes),
        calibration=calibration,
        count_changes=changes,
        weights=weights,
        figures=figures,
    )
    print(f"\nReport: {write_instance_report(report, args.out)}")
    return 0


def _check_pictures(pictures: Sequence[LabelledMicrograph], factors: Sequence[float]) -> None:
    """Check pictures and factors before anything is scored.

    Raises:
        LabelledDataError: If no grain is labelled.
        UsageError: If a factor makes a picture too small or too large.
    """
    has_grains = False
    for picture in pictures:
        _, labels = picture.read()
        has_grains |= bool(labels.max() > 0)
        tell_unscored(str(picture.image_path), labels)
        for factor in factors:
            height, width = (round(side * factor) for side in labels.shape)
            if min(height, width) < MIN_SIDE or height * width > MAX_PIXELS:
                raise UsageError(
                    f"--enlarge {factor:g} makes {picture.image_path} {width}x{height}. At least {MIN_SIDE} px on the "
                    f"shorter side and at most {MAX_PIXELS / 1e6:g} million pixels are expected. Choose another factor."
                )
    if not has_grains:
        raise LabelledDataError(
            f"No grain is labelled in {len(pictures)} label images, the first is {pictures[0].label_path}. Expected is "
            "an id from 1 up for every grain. Label some, or name another folder."
        )


def _run_seed(args: argparse.Namespace) -> int:
    from train.report import seed_tables, write_seed_report
    from train.seed_protocol import read_test_tiles, score_tiles, seed_contenders, summarize_tiles

    if len(args.data) != 1:
        raise UsageError(
            f"{len(args.data)} folders were given. The seed's protocol has one, that of the 316L tiles. Name that one."
        )
    tiles = read_test_tiles(args.data[0])[: args.limit]
    models = _load_models(args)
    make_output(args.out, ())
    scores = score_tiles(tiles, seed_contenders(models))
    summary = summarize_tiles(scores)
    print(f"{len(tiles)} tiles\n\n{seed_tables(summary)}")
    weights = {row: model.weights for model in models for row in model.rows}
    print(f"\nReport: {write_seed_report(scores, summary, weights, args.out)}")
    return 0


def _measure_all_shapes(scored: Sequence[ScoredPicture]) -> pd.DataFrame:
    from tqdm import tqdm

    from train.distributions import TRUTH, measure_shapes

    parts = []
    for picture in tqdm(scored, desc="measuring grains", unit="picture"):
        for method, labels in {TRUTH: picture.true, **picture.predicted}.items():
            parts.append(measure_shapes(labels).assign(material=picture.source.material, method=method))
    return pd.concat(parts, ignore_index=True)


def _draw_galleries(scored: Sequence[ScoredPicture], row: str, pictures: int, out: Path) -> dict[str, str]:
    """Write one gallery a material, worst pictures first; returns headings and file names."""
    from train.gallery import GalleryEntry, draw_gallery

    figures = {}
    for material, part in groupby(scored, key=lambda picture: picture.source.material):
        entries = []
        for picture in part:
            score = next(score for score in picture.scores if score["method"] == row)
            title = f"{picture.source.name}: F1 {score['f1']:.2f}, {score['n_pred']} of {score['n_true']} grains"
            entry = GalleryEntry(title, picture.pixels, picture.true, picture.predicted[row])
            entries.append((score["f1"], entry))
        worst = [entry for _, entry in sorted(entries, key=lambda scored_entry: scored_entry[0])[:pictures]]
        if worst:
            name = f"instances_errors_{material}.png"
            draw_gallery(worst, out / name)
            figures[f"Errors of {row} on {material}"] = name
    return figures


def _split_name(model: str) -> tuple[str | None, str]:
    name, equals, folder = model.partition("=")
    return (name, folder) if equals and not Path(model).exists() else (None, model)
