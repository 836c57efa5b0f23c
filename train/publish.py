"""`python -m train publish`: the model, and a Space that shows it, on the Hugging Face Hub."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from grain_model.loading import load_model
from grain_model.version import __version__
from grain_model.weights_origin import describe_weights
from train.paths import REPORT, ROOT
from train.publishing import PublishError
from train.publishing.cards import model_card, space_card
from train.publishing.checks import MODEL_CHECK, SPACE_CHECK, check_folder
from train.publishing.folders import write_model_folder, write_space_folder
from train.publishing.upload import Target, publish

CARD = ROOT / "model_card.md"
CHECK_PICTURE = ROOT / "examples" / "etched_steel.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `publish`."""
    parser.add_argument("--repo-id", type=repo_id, required=True, metavar="USER/NAME", help="the model on the Hub")
    parser.add_argument("--space", type=repo_id, metavar="USER/NAME", help="publish a Space with the page, too")
    parser.add_argument("--dry-run", type=Path, metavar="DIR", help="write DIR/model and DIR/space, upload nothing")
    parser.add_argument("--private", action="store_true", help="for your eyes only; never published to a public one")
    parser.add_argument("--tag", default=f"v{__version__}", help="names the version on the Hub; default: %(default)s")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a model of your own instead of the embedded one")
    parser.add_argument("--card", type=Path, help="its card; the embedded weights have model_card.md")
    parser.add_argument("--report", type=Path, help="its evaluation, instances.json; default: that of the embedded one")
    parser.epilog = (
        "The token comes from HF_TOKEN or `hf auth login`. Both folders are tried in a fresh process before anything "
        "is uploaded, as one commit each with a tag. What is there already is not uploaded again."
    )


def run(args: argparse.Namespace) -> int:
    """Write the folders, try them, and upload them.

    Raises:
        PublishError: If the options do not fit together, a file is missing, a folder does not work, or the Hub
            refuses.
        ModelError: If the model cannot be loaded.
    """
    if args.model and args.space:
        raise PublishError(
            "A Space shows the weights that come with the package, not those of --model. Leave one of both out."
        )
    if args.model and not args.card:
        raise PublishError(
            "The model of --model has no card; model_card.md describes the embedded weights. A card says what a model "
            "was trained on and where it fails. Write one in Markdown with front matter and name it with --card."
        )
    with tempfile.TemporaryDirectory() as temporary:
        targets = write_folders(args, args.dry_run or Path(temporary))
        if args.dry_run:
            return 0
        for published in publish(targets, args.tag, private=args.private):
            print(f"{'published' if published.changed else 'unchanged'} {published.url} {published.tag}")
    return 0


def write_folders(args: argparse.Namespace, parent: Path) -> list[Target]:
    """Write the folders that were asked for, and try each.

    Args:
        args: The command's arguments.
        parent: Where `model` and `space` go.

    Returns:
        What is to be uploaded where.
    """
    model = load_model(args.model)
    card = args.card or CARD
    report = args.report or (None if args.model else REPORT)
    target = Target(parent / "model", args.repo_id, "model", hallmark="modeling_grain.py")
    filled = model_card(card, report, args.repo_id, describe_weights(model))
    write_model_folder(target.folder, model, filled, card.parent)
    targets = [(target, MODEL_CHECK)]
    if args.space:
        target = Target(parent / "space", args.space, "space", hallmark="grain_model/__init__.py")
        write_space_folder(target.folder, space_card(ROOT / "README.md", args.repo_id))
        targets.append((target, SPACE_CHECK))
    for target, script in targets:
        count = check_folder(target.folder, script, model, CHECK_PICTURE)
        print(f"checked {target.folder}: {count} grains on {CHECK_PICTURE.name}")
    return [target for target, _ in targets]


def repo_id(text: str) -> str:
    """Read the id of a repository on the Hub, USER/NAME."""
    try:
        validate_repo_id(text)
    except HFValidationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if "/" not in text:
        raise argparse.ArgumentTypeError(f"{text} is no USER/NAME")
    return text
