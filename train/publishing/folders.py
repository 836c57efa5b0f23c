"""The folders that are published: the model repository and the Space."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from huggingface_hub import RepoCard
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from transformers import PreTrainedModel

from train.paths import ROOT
from train.publishing import PublishError
from train.publishing.cards import local_links
from train.saving import save_model

GIT_ATTRIBUTES = "".join(f"*.{kind} filter=lfs diff=lfs merge=lfs -text\n" for kind in ("safetensors", "png", "jpg"))
"""On the Hub binary files are stored beside git."""

CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
"""PyTorch without CUDA, for a Space that has no graphics card: some gigabytes less than PyPI's."""


def write_model_folder(folder: Path, model: PreTrainedModel, card: RepoCard, beside: Path) -> None:
    """Write the model repository: weights, code, image processor, card, licence and example pictures.

    Args:
        folder: Where to; made anew.
        model: The model.
        card: Its README.
        beside: Folder that the card's links start from.

    Raises:
        PublishError: If the folder is in use, or a file of the project is missing.
    """
    _make_folder(folder)
    save_model(model, folder)
    _write_common(folder, card, beside)


def write_space_folder(folder: Path, card: RepoCard) -> None:
    """Write the Space: the page's entry, the package with its weights, pinned requirements, README and examples.

    Args:
        folder: Where to; made anew.
        card: Its README.

    Raises:
        PublishError: If the folder is in use, or a file of the project or a required package is missing.
    """
    _make_folder(folder)
    _copy(["app.py", "grain_model"], ROOT, folder)
    _write_common(folder, card, ROOT)
    (folder / "requirements.txt").write_text(pinned_requirements(ROOT / "requirements.txt"), encoding="utf-8")


def pinned_requirements(requirements: Path) -> str:
    """Pin each requirement to the version that is installed here, with which the Space is checked.

    Args:
        requirements: A pip requirements file without options.

    Returns:
        The text of a pip requirements file.

    Raises:
        PublishError: If one of the packages is not installed.
    """
    pinned = [f"--extra-index-url {CPU_WHEELS}"]
    for line in requirements.read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if not line:
            continue
        requirement = Requirement(line)
        try:
            # Without a local part such as +cpu, which PyPI does not know.
            installed = Version(version(requirement.name)).public
        except PackageNotFoundError as error:
            raise PublishError(
                f"The package {requirement.name} of {requirements.name} is not installed. The Space is checked here "
                "with the versions that it pins. Run `pip install -r requirements.txt`."
            ) from error
        requirement.specifier = SpecifierSet(f"=={installed}")
        pinned.append(str(requirement))
    return "\n".join(pinned) + "\n"


def _write_common(folder: Path, card: RepoCard, beside: Path) -> None:
    _copy(["LICENSE", "examples"], ROOT, folder)
    _copy(local_links(card), beside, folder)
    card.save(folder / "README.md")
    (folder / ".gitattributes").write_text(GIT_ATTRIBUTES, encoding="utf-8")


def _make_folder(folder: Path) -> None:
    """Empty a folder of an earlier run; anything else that is in the way stays."""
    if folder.is_dir() and any(folder.iterdir()):
        ours = folder / ".gitattributes"
        # Clones from the Hub have such a file, too.
        if (folder / ".git").exists() or not ours.is_file() or ours.read_text(encoding="utf-8") != GIT_ATTRIBUTES:
            raise PublishError(
                f"The folder {folder} holds other files. Expected is a new one, or one that this command wrote. Name "
                "another folder, or empty it."
            )
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PublishError(
            f"The folder {folder} cannot be made: {error.strerror}. Expected is a place to write to. Name another."
        ) from error


def _copy(names: Iterable[str], source: Path, target: Path) -> None:
    for name in names:
        original, copy = source / name, target / name
        if copy.exists():
            continue
        if not original.exists():
            raise PublishError(
                f"There is no {name} in {source}. Publishing needs the project's whole folder, and every file that a "
                "card links to. Run the command in a checkout of the repository, or correct the link."
            )
        copy.parent.mkdir(parents=True, exist_ok=True)
        if original.is_dir():
            shutil.copytree(original, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(original, copy)
