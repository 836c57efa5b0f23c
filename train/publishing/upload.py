"""The way to the Hub: one repository, one commit, one version tag; nothing where nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from unittest.mock import patch

import huggingface_hub.constants
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash, sha_fileobj

from train.publishing import PublishError

# What a repository may hold that was just made on the Hub's page, and is nobody's work yet.
_UNTOUCHED = {".gitattributes", "README.md", "LICENSE"}
_LOG_IN = (
    "Run `hf auth login`, or set HF_TOKEN to a token with write access from https://huggingface.co/settings/tokens."
)


@dataclass(frozen=True)
class Target:
    """What goes where.

    Attributes:
        folder: The folder; the repository will hold its files and no others.
        repo_id: USER/NAME.
        kind: What kind of repository.
        hallmark: A file that a repository of this project's kind holds; one with other files is left alone.
    """

    folder: Path
    repo_id: str
    kind: Literal["model", "space"]
    hallmark: str

    def __str__(self) -> str:
        return f"the {'model' if self.kind == 'model' else 'Space'} {self.repo_id}"


@dataclass(frozen=True)
class Published:
    """What the Hub holds afterwards.

    Attributes:
        url: Address of the repository's page.
        tag: The version.
        changed: Whether there was anything to upload.
    """

    url: str
    tag: str
    changed: bool


def publish(targets: list[Target], tag: str, *, private: bool = False) -> Iterator[Published]:
    """Upload folders, after all of them were found to be welcome.

    Args:
        targets: The folders, in the order of their uploading.
        tag: The version; a tag that exists is never moved.
        private: Whether repositories that are made now, or were made before, are to be private.

    Yields:
        What was published, after each.

    Raises:
        PublishError: If there is no token or no right, the name is taken, the version was published with other
            content, or the connection breaks. What was published before stays as it was.
    """
    if get_token() is None:
        raise PublishError(f"There is no Hugging Face token. Publishing needs one with write access. {_LOG_IN}")
    api = HfApi(library_name="grain_model")
    done = [_prepare(api, target, tag, private) for target in targets]
    for target, is_done in zip(targets, done, strict=True):
        if not is_done:
            _upload(api, target, tag)
        prefix = "spaces/" if target.kind == "space" else ""
        yield Published(f"{api.endpoint}/{prefix}{target.repo_id}", tag, changed=not is_done)


def _prepare(api: HfApi, target: Target, tag: str, private: bool) -> bool:
    """Make the repository if there is none, and see whether this version is there already."""
    where = {"repo_id": target.repo_id, "repo_type": target.kind}
    with _explained(f"make {target}"):
        api.create_repo(**where, private=private, exist_ok=True, space_sdk="gradio" if target.kind == "space" else None)
    with _explained(f"read {target}"):
        is_private = api.repo_info(**where).private
        refs = api.list_repo_refs(**where)
        there = _files_there(api, where)
    if private and not is_private:
        raise PublishError(
            f"The repository of {target} is public. With --private only a private one is published to. Make it "
            "private in its settings on the Hub, choose another name, or leave --private out."
        )
    if there.keys() - _UNTOUCHED and target.hallmark not in there:
        raise PublishError(
            f"The name of {target} is taken: its repository holds other work. Publishing replaces all files, so it "
            "needs a new repository, or one that it has filled before. Choose another name."
        )
    if tag not in {each.name for each in refs.tags}:
        return False
    if not _same(target.folder, there):
        raise PublishError(
            f"The version {tag} of {target} is published already, with other content. A version names one content for "
            "good. Raise __version__ in grain_model/version.py, or name another with --tag, and publish again."
        )
    return True


def _upload(api: HfApi, target: Target, tag: str) -> None:
    where = {"repo_id": target.repo_id, "repo_type": target.kind}
    # Over Xet the client cuts a folder whose commit fails into several commits, and half of a version may stay.
    with _explained(f"upload {target}"), patch.object(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True):
        commit = api.upload_folder(
            **where, folder_path=target.folder, delete_patterns="*", commit_message=f"Version {tag.removeprefix('v')}"
        )
    with _explained(f"tag {target}"):
        api.create_tag(**where, tag=tag, revision=commit.oid)


def _files_there(api: HfApi, where: dict[str, str]) -> dict[str, RepoFile]:
    entries = api.list_repo_tree(**where, recursive=True)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def _same(folder: Path, there: dict[str, RepoFile]) -> bool:
    """Whether a repository holds just the files of a folder."""
    here = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return here.keys() == there.keys() and all(_holds(there[name], path) for name, path in here.items())


def _holds(file: RepoFile, path: Path) -> bool:
    if file.lfs is None:
        return file.blob_id == git_hash(path.read_bytes())
    with path.open("rb") as content:
        return file.lfs.sha256 == sha_fileobj(content).hex()


@contextmanager
def _explained(action: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one error that says what to do."""
    try:
        yield
    # The client wraps a broken upload in a RuntimeError and refused metadata in a ValueError.
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise PublishError(f"The Hub did not {action}: {_advice(error)}") from error


def _advice(error: BaseException) -> str:
    refusal = _refusal(error)
    status = refusal.response.status_code if refusal else None
    said = (refusal.server_message or f"HTTP {status}") if refusal else str(error.__cause__ or error)
    said = said.strip().partition("\n")[0].rstrip(".")
    if status == 401:
        return f"the token is not valid ({said}). One that has neither expired nor been revoked is needed. {_LOG_IN}"
    if status == 403:
        return (
            f"the token has no right to do that ({said}). One with write access to that user's or organisation's "
            f"repositories is needed. Choose a name of your own, or another token. {_LOG_IN}"
        )
    if status == 402:
        return (
            f"it asks for a payment ({said}). Spaces that compute need a subscription or a payment method. Settle it "
            "on the Hub, or publish without --space."
        )
    if status is None or status >= 500 or status == 429:
        return (
            f"the connection or the server failed ({said}). Nothing half-done becomes visible: what was published "
            "before stays as it was. Check the network and run the same command again; what arrived is not sent twice."
        )
    return (
        f"it refuses ({said}). Expected is a repository that this token may write to and a valid card. Correct what "
        "the message names and run the same command again."
    )


def _refusal(error: BaseException | None) -> HfHubHTTPError | None:
    """Find the Hub's answer among the causes of an error."""
    while error is not None:
        if isinstance(error, HfHubHTTPError):
            return error
        error = error.__cause__
    return None
