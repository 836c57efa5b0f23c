"""Publishing to a small Hub on the loopback interface, by the real client, and loading from there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results

from grain_model.counting import count_grains
from grain_model.image_processing_grain import GrainImageProcessor
from grain_model.loading import EMBEDDED_WEIGHTS, load_model
from grain_model.modeling_grain import GrainForInstanceSegmentation
from grain_model.version import WEIGHTS_VERSION, __version__
from tests.conftest import make_tiny_config
from tests.drawn import write_grid
from tests.hub_server import OWNER, READ_TOKEN, WRITE_TOKEN, HubServer, Repository, StoredFile
from train import publish
from train.cli import main
from train.paths import REPORT
from train.publishing import PublishError, checks
from train.publishing.cards import local_links, model_card, space_card
from train.publishing.checks import MODEL_CHECK, check_folder
from train.publishing.folders import GIT_ATTRIBUTES, ROOT, pinned_requirements, write_model_folder, write_space_folder
from train.publishing.upload import Published
from train.saving import save_model

REPO_ID = f"{OWNER}/grains"
SPACE_ID = f"{OWNER}/grain-page"
CARD = "---\nlicense: mit\n---\n# Mine\n\n![grid](pictures/grid.png) `user/name` [site](https://x.org) [up](#mine)\n"
EMBEDDED = {"name": "embedded", "version": WEIGHTS_VERSION}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def make_model(seed: int) -> GrainForInstanceSegmentation:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GrainForInstanceSegmentation(make_tiny_config()).eval()
    return model.half().float()  # as it is stored


@pytest.fixture(scope="module")
def models() -> list[GrainForInstanceSegmentation]:
    return [make_model(0), make_model(1)]


@pytest.fixture(scope="module")
def folders(models, tmp_path_factory) -> list[Path]:
    """What two versions of a model were saved as."""
    parent = tmp_path_factory.mktemp("versions")
    for number, model in enumerate(models):
        save_model(model, parent / str(number))
        (parent / str(number) / ".gitattributes").write_text(GIT_ATTRIBUTES)
    return [parent / "0", parent / "1"]


@pytest.fixture(scope="module")
def card(tmp_path_factory) -> Path:
    """A card with a picture beside it."""
    folder = tmp_path_factory.mktemp("card")
    write_grid(folder / "pictures" / "grid.png", 2, 2)
    (folder / "card.md").write_text(CARD)
    return folder / "card.md"


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    return write_grid(tmp_path_factory.mktemp("picture") / "grid.png", 2, 3, cell=30)


def run_online(hub: HubServer, code: str, *arguments: object, home: Path, token: str | None = WRITE_TOKEN, cwd=ROOT):
    """Runs Python in another process, for which the server is the Hub."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "HF_HOME": str(home), "HF_ENDPOINT": hub.endpoint}
    if token is not None:
        environment["HF_TOKEN"] = token
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=cwd,
        env=environment,
    )
    for secret in (WRITE_TOKEN, READ_TOKEN, "hf_unknown"):
        assert secret not in run.stdout + run.stderr
    return run


PUBLISH = """
import sys

from train.cli import main

raise SystemExit(main(["publish", *sys.argv[1:]]))
"""

UPLOAD = """
import sys
import time
from pathlib import Path

time.sleep = lambda seconds: None  # the client waits before it tries again

from grain_model.errors import GrainError
from train.publishing.upload import Target, publish

folder, repo_id, tag, *private = sys.argv[1:]
try:
    for published in publish([Target(Path(folder), repo_id, "model", "modeling_grain.py")], tag, private=bool(private)):
        print("changed" if published.changed else "unchanged", published.url)
except GrainError as error:
    raise SystemExit(str(error))
"""

LOAD = """
import sys

sys.modules.update(dict.fromkeys(("grain_model", "train")))
picture, out, repo_id, *revisions = sys.argv[1:]

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModel

torch.set_num_threads(1)
processor = AutoImageProcessor.from_pretrained(repo_id, trust_remote_code=True)
logits = {}
for revision in revisions:
    model = AutoModel.from_pretrained(repo_id, trust_remote_code=True, revision=revision)
    assert type(model).__module__.startswith("transformers_modules.user.grains."), type(model)
    with torch.no_grad():
        logits[revision] = model(**processor(picture, return_tensors="pt")).logits.numpy()
np.savez(out, **logits)
"""


def load_online(hub: HubServer, picture: Path, empty: Path, *revisions: str) -> dict[str, np.ndarray]:
    """Logits of revisions on the Hub, loaded in a fresh process with an empty cache and without this package."""
    empty.mkdir()
    run = run_online(hub, LOAD, picture, empty / "logits.npz", REPO_ID, *revisions, home=empty, token=None, cwd=empty)
    assert run.returncode == 0, run.stderr
    with np.load(empty / "logits.npz") as arrays:
        return dict(arrays)


def logits_of(model: GrainForInstanceSegmentation, picture: Path) -> np.ndarray:
    with torch.no_grad():
        return model.cpu()(**GrainImageProcessor()(picture, return_tensors="pt")).logits.numpy()


# There and back


def test_what_was_published_is_loaded_bit_by_bit_and_survives_a_broken_update(hub, models, folders, picture, tmp_path):
    for expected in ("changed", "unchanged"):
        run = run_online(hub, UPLOAD, folders[0], REPO_ID, "v1", home=tmp_path / "home")
        assert run.stdout.split() == [expected, f"{hub.endpoint}/{REPO_ID}"], run.stderr
    repository = hub.repository(REPO_ID)
    assert [commit.summary for commit in repository.commits] == ["initial commit", "Version 1"]
    assert repository.tags == {"v1": repository.head.oid}
    assert [name for name, file in repository.head.files.items() if file.is_lfs] == ["model.safetensors"]

    hub.faults = {"commit": None}
    broken = run_online(hub, UPLOAD, folders[1], REPO_ID, "v2", home=tmp_path / "home")
    assert broken.returncode == 1 and "stays as it was" in broken.stderr
    found = load_online(hub, picture, tmp_path / "before", "main")
    assert np.array_equal(found["main"], logits_of(models[0], picture))

    hub.faults = {}
    again = run_online(hub, UPLOAD, folders[1], REPO_ID, "v2", home=tmp_path / "home")
    assert again.returncode == 0, again.stderr
    found = load_online(hub, picture, tmp_path / "after", "main", "v1", "v2")
    old, new = (logits_of(model, picture) for model in models)
    assert not np.array_equal(old, new)
    assert np.array_equal(found["main"], new) and np.array_equal(found["v2"], new)
    assert np.array_equal(found["v1"], old)


PIN = """
import sys

import numpy as np
import torch

from grain_model import GrainImageProcessor
from grain_model.errors import ModelError
from grain_model.loading import load_model
from grain_model.weights_origin import describe_weights

picture, out, repo_id = sys.argv[1:]
torch.set_num_threads(1)
inputs = GrainImageProcessor()(picture, return_tensors="pt")
found = {}
for name in (f"{repo_id}@v1", f"{repo_id}@main", repo_id):
    model = load_model(name).cpu()
    with torch.no_grad():
        found[name.partition("@")[2] or "none"] = model(**inputs).logits.numpy()
    print(*describe_weights(model).values())
np.savez(out, **found)
try:
    load_model(f"{repo_id}@v7")
except ModelError as error:
    print(error)
"""


def test_this_package_pins_a_revision_too(published, models, folders, picture, tmp_path):
    assert run_online(published, UPLOAD, folders[1], REPO_ID, "v2", home=tmp_path).returncode == 0
    run = run_online(published, PIN, picture, tmp_path / "logits.npz", REPO_ID, home=tmp_path)
    assert run.returncode == 0, run.stderr
    old, new = (logits_of(model, picture) for model in models)
    with np.load(tmp_path / "logits.npz") as found:
        assert np.array_equal(found["v1"], old)
        assert np.array_equal(found["main"], new) and np.array_equal(found["none"], new)
    pinned, *latest, missing = run.stdout.splitlines()
    tags = published.repository(REPO_ID).tags
    assert pinned == f"{REPO_ID} {tags['v1']}" and latest == [f"{REPO_ID} {tags['v2']}"] * 2
    assert f"The model '{REPO_ID}' at 'v7' could not be loaded" in missing


@pytest.mark.slow
def test_the_command_publishes_a_model_of_ones_own_once(hub, models, folders, card, picture, tmp_path):
    for expected in ("published", "unchanged"):
        arguments = ("--repo-id", REPO_ID, "--model", folders[0], "--card", card)
        run = run_online(hub, PUBLISH, *arguments, home=tmp_path / "home")
        assert run.returncode == 0, run.stderr
        assert f"{expected} {hub.endpoint}/{REPO_ID} v{__version__}" in run.stdout
    assert len(hub.repository(REPO_ID).commits) == 2
    found = load_online(hub, picture, tmp_path / "empty", "main", f"v{__version__}")
    for logits in found.values():
        assert np.array_equal(logits, logits_of(models[0], picture))


@pytest.mark.slow
def test_the_embedded_weights_and_the_space_are_published(hub, picture, tmp_path):
    for expected in ("published", "unchanged"):
        run = run_online(hub, PUBLISH, "--repo-id", REPO_ID, "--space", SPACE_ID, home=tmp_path / "home")
        assert run.returncode == 0, run.stderr
        assert run.stdout.count(expected) == 2
    assert len(hub.repository(SPACE_ID, "spaces").commits) == 2
    weights = [file for path, file in hub.repository(SPACE_ID, "spaces").head.files.items() if "safetensors" in path]
    assert sum(len(file.content) for file in weights) > 40_000_000
    found = load_online(hub, picture, tmp_path / "empty", "main")
    assert np.array_equal(found["main"], logits_of(load_model(), picture))


# What goes wrong on the way


@pytest.fixture
def published(hub, folders) -> HubServer:
    """The server with the first version on it."""
    contents = {path.name: path.read_bytes() for path in folders[0].iterdir()}
    files = {name: StoredFile(content, name.endswith(".safetensors")) for name, content in contents.items()}
    hub.lfs.update((file.sha256, file.content) for file in files.values() if file.is_lfs)
    repository = hub.repositories["models", REPO_ID] = Repository(private=False)
    repository.tags["v1"] = repository.commit("Version 1", files).oid
    return hub


def refused(hub: HubServer, folder: Path, tmp_path: Path, *arguments: str, token: str | None = WRITE_TOKEN) -> str:
    """Message of an upload that fails; what was there before must still be there, and nothing else."""
    before = {key: (list(each.commits), dict(each.tags)) for key, each in hub.repositories.items()}
    run = run_online(hub, UPLOAD, folder, *(arguments or (REPO_ID, "v2")), home=tmp_path, token=token)
    assert run.returncode == 1 and "Traceback" not in run.stderr, run.stderr
    after = {key: (list(each.commits), dict(each.tags)) for key, each in hub.repositories.items()}
    assert after == before
    return run.stderr


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (None, "There is no Hugging Face token.*hf auth login"),
        ("hf_unknown", "the token is not valid.*hf auth login"),
        (READ_TOKEN, "the token has no right to do that.*write access"),
    ],
    ids=["none", "unknown", "read only"],
)
def test_a_token_that_does_not_do(published, folders, tmp_path, token, expected):
    message = refused(published, folders[1], tmp_path, token=token)
    assert re.search(expected, message), message


def test_another_users_name(hub, folders, tmp_path):
    assert "no right to do that" in refused(hub, folders[0], tmp_path, "somebody/grains", "v1")


def test_a_name_that_holds_other_work(published, folders, tmp_path):
    """Publishing removes files; a repository of another kind must not fall to a slip of the hand."""
    repository = published.repository(REPO_ID)
    repository.commit("other work", {"config.json": StoredFile(b"{}", False), "vocab.txt": StoredFile(b"a", False)})
    assert "is taken" in refused(published, folders[1], tmp_path)


def test_a_version_that_has_other_content(published, folders, tmp_path):
    assert "__version__" in refused(published, folders[1], tmp_path, REPO_ID, "v1")


def test_a_private_one_is_not_published_in_public(published, folders, tmp_path):
    assert "is public" in refused(published, folders[1], tmp_path, REPO_ID, "v2", "private")


def test_a_private_one_is_made_private(hub, folders, tmp_path):
    assert run_online(hub, UPLOAD, folders[0], REPO_ID, "v1", "private", home=tmp_path).returncode == 0
    assert hub.repository(REPO_ID).private


@pytest.mark.parametrize(
    ("operation", "status"),
    [("preupload", 500), ("put", None), ("put", 429), ("commit", None), ("commit", 500), ("commit", 412)],
)
def test_a_server_that_fails_half_way(published, folders, tmp_path, operation, status):
    published.faults = {operation: status}
    message = refused(published, folders[1], tmp_path)
    assert "it refuses" in message if status == 412 else "run the same command again" in message
    published.faults = {}
    assert run_online(published, UPLOAD, folders[1], REPO_ID, "v2", home=tmp_path).returncode == 0


def test_a_space_that_costs_money(hub, folders, tmp_path):
    hub.faults = {"create": 402}
    assert "asks for a payment" in refused(hub, folders[0], tmp_path, REPO_ID, "v1")


def test_what_a_version_no_longer_has_is_gone(published, folders, tmp_path):
    repository = published.repository(REPO_ID)
    repository.commit("an older version", {**repository.head.files, "old/code.py": StoredFile(b"", False)})
    assert run_online(published, UPLOAD, folders[1], REPO_ID, "v2", home=tmp_path).returncode == 0
    names = {path.name for path in folders[1].iterdir()}
    assert set(repository.head.files) == names


def test_a_tag_that_was_not_set_is_set_the_next_time(hub, folders, tmp_path):
    hub.faults = {"tag": 500}
    first = run_online(hub, UPLOAD, folders[0], REPO_ID, "v1", home=tmp_path)
    assert first.returncode == 1 and "tag the model" in first.stderr
    hub.faults = {}
    assert run_online(hub, UPLOAD, folders[0], REPO_ID, "v1", home=tmp_path).returncode == 0
    repository = hub.repository(REPO_ID)
    assert len(repository.commits) == 2 and repository.tags == {"v1": repository.head.oid}


def test_no_server(hub, folders, tmp_path):
    hub.endpoint = "http://127.0.0.1:9"
    assert "the connection or the server failed" in refused(hub, folders[0], tmp_path)


# The folders


def test_the_card_carries_the_evaluation():
    card = model_card(ROOT / "model_card.md", REPORT, REPO_ID, EMBEDDED)
    assert "user/name" not in card.text and REPO_ID in card.text
    name, results = model_index_to_eval_results(card.data.to_dict()["model-index"])
    scores = json.loads(REPORT.read_text())["summary"]["this model"]
    assert name == "grains"
    found = {(each.dataset_name, each.metric_type): each.metric_value for each in results}
    for material in ("316l-instances", "pure-iron"):
        assert found[material, "f1"] == pytest.approx(scores[material]["f1"], abs=1e-4)
        assert found[material, "relative_count_error"] == pytest.approx(scores[material]["count_error"], abs=1e-4)
    assert not {"all pictures", "mean of materials"} & {each.dataset_name for each in results}


def test_the_evaluation_must_be_of_these_weights():
    with pytest.raises(PublishError, match="is of the weights embedded .*, not of other"):
        model_card(ROOT / "model_card.md", REPORT, REPO_ID, {"name": "other", "version": None})


@pytest.mark.parametrize("text", ["{", '{"summary": {}}', "[]"])
def test_an_evaluation_that_is_none(tmp_path, text):
    (tmp_path / "instances.json").write_text(text)
    with pytest.raises(PublishError, match="cannot be read"):
        model_card(ROOT / "model_card.md", tmp_path / "instances.json", REPO_ID, EMBEDDED)


@pytest.mark.parametrize("text", [None, "---\na: [\n---\n"])
def test_a_card_that_is_none(tmp_path, text):
    if text:
        (tmp_path / "card.md").write_text(text)
    with pytest.raises(PublishError, match=r"card\.md cannot be read"):
        model_card(tmp_path / "card.md", None, REPO_ID, EMBEDDED)


def test_links_beside_a_card_are_found(card):
    assert local_links(model_card(card, None, REPO_ID, EMBEDDED)) == ["pictures/grid.png"]


def test_every_picture_of_the_spaces_readme_is_found():
    readme = Path(__file__).parents[1] / "README.md"
    links = local_links(space_card(readme, REPO_ID))
    assert {"assets/overlay.png", "assets/page.png", "assets/phone.png"} <= set(links)
    assert all((readme.parent / link).is_file() for link in links)


def test_the_model_folder_is_complete(models, card, tmp_path):
    folder = tmp_path / "model"
    write_model_folder(folder, models[0], model_card(card, None, REPO_ID, EMBEDDED), card.parent)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names > {
        *("README.md", "LICENSE", ".gitattributes", "config.json", "preprocessor_config.json", "model.safetensors"),
        *("modeling_grain.py", "pipeline_grain.py", "pictures/grid.png", "examples/etched_steel.png"),
    }
    again = tmp_path / "again"
    write_model_folder(again, models[0], model_card(card, None, REPO_ID, EMBEDDED), card.parent)
    assert all((again / name).read_bytes() == (folder / name).read_bytes() for name in names)
    for path in folder.rglob("*.*"):
        assert path.suffix in {".png", ".safetensors"} or str(tmp_path) not in path.read_text(), path


def test_a_missing_link_is_named(models, tmp_path):
    (tmp_path / "card.md").write_text("---\nlicense: mit\n---\n![x](lost.png)\n")
    card = model_card(tmp_path / "card.md", None, REPO_ID, EMBEDDED)
    with pytest.raises(PublishError, match=r"There is no lost\.png"):
        write_model_folder(tmp_path / "model", models[0], card, tmp_path)


@pytest.mark.parametrize("name, content", [(".gitattributes", "*.bin -text\n"), (".git", "gitdir: elsewhere\n")])
def test_a_clone_from_the_hub_is_left_alone(models, card, tmp_path, name, content):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / ".gitattributes").write_text(GIT_ATTRIBUTES)
    (folder / name).write_text(content)
    with pytest.raises(PublishError, match="holds other files"):
        write_model_folder(folder, models[0], model_card(card, None, REPO_ID, EMBEDDED), card.parent)
    assert (folder / name).is_file()


def test_a_folder_with_other_files_is_left_alone(models, card, tmp_path):
    filled = model_card(card, None, REPO_ID, EMBEDDED)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(PublishError, match="holds other files"):
        write_model_folder(folder, models[0], filled, card.parent)
    assert (folder / "thesis.txt").is_file()
    (folder / "thesis.txt").unlink()
    write_model_folder(folder, models[0], filled, card.parent)
    (folder / "of_an_older_version.py").touch()
    write_model_folder(folder, models[0], filled, card.parent)
    assert not (folder / "of_an_older_version.py").exists()


def test_the_space_folder_is_complete(tmp_path):
    folder = tmp_path / "space"
    write_space_folder(folder, space_card(ROOT / "README.md", REPO_ID))
    front = metadata_load(folder / "README.md")
    assert front["models"] == [REPO_ID] and front["app_file"] == "app.py" and front["sdk"] == "gradio"
    assert front["sdk_version"] == version("gradio")
    assert f"gradio=={front['sdk_version']}" in (folder / "requirements.txt").read_text().splitlines()
    assert front["title"] and front["license"] and front["pinned"] is False
    for name in ("app.py", "LICENSE", "examples/counts.csv", "grain_model/ui/page.py"):
        assert (folder / name).is_file(), name
    for shard in EMBEDDED_WEIGHTS.glob("*.safetensors"):
        assert (folder / "grain_model" / "weights" / shard.name).read_bytes() == shard.read_bytes()
    assert not list(folder.rglob("__pycache__"))


def test_requirements_are_pinned_to_what_is_installed(tmp_path):
    (tmp_path / "requirements.txt").write_text("# Why.\ntorch>=2\nnumpy>=1.26,<3  # arrays\n\n")
    lines = pinned_requirements(tmp_path / "requirements.txt").splitlines()
    assert lines[1:] == [f"torch=={version('torch').partition('+')[0]}", f"numpy=={version('numpy')}"]
    assert lines[0].startswith("--extra-index-url https://download.pytorch.org/")
    (tmp_path / "requirements.txt").write_text("grainless==1\n")
    with pytest.raises(PublishError, match="grainless"):
        pinned_requirements(tmp_path / "requirements.txt")


def test_a_folder_that_does_not_work_is_found_out(models, picture, tmp_path):
    save_model(models[0], tmp_path)
    (tmp_path / "instances.py").unlink()
    with pytest.raises(PublishError, match=r"does not work in a fresh process: .*instances\.py"):
        check_folder(tmp_path, MODEL_CHECK, models[0], picture)


def test_a_folder_that_counts_otherwise_is_found_out(models, folders, picture, monkeypatch):
    labels = count_grains(picture, model=models[0]).labels
    monkeypatch.setattr(checks, "_label_fresh", lambda *_: labels + 1)
    with pytest.raises(PublishError, match="where the model counts"):
        check_folder(folders[0], MODEL_CHECK, models[0], picture)


# The command


def test_dry_run_writes_a_model_folder_and_needs_no_token(folders, card, tmp_path, capsys):
    arguments = ["--repo-id", REPO_ID, "--model", str(folders[0]), "--card", str(card)]
    assert main(["publish", *arguments, "--dry-run", str(tmp_path)]) == 0
    assert "checked" in capsys.readouterr().out
    assert (tmp_path / "model" / "config.json").is_file() and not (tmp_path / "space").exists()


@pytest.mark.parametrize(("tag", "expected"), [([], f"v{__version__}"), (["--tag", "first"], "first")])
def test_both_folders_are_checked_before_any_is_uploaded(monkeypatch, capsys, tag, expected):
    steps = []
    monkeypatch.setattr(publish, "check_folder", lambda folder, script, *_: steps.append((folder.name, script.stem)))

    def pretend(targets, tag, private):
        steps.append((tag, private))
        for target in targets:
            assert (target.folder / target.hallmark).is_file() and (target.folder / "README.md").is_file()
            steps.append((target.kind, target.repo_id))
            yield Published(target.repo_id, tag, changed=target.kind == "model")

    monkeypatch.setattr(publish, "publish", pretend)
    assert main(["publish", "--repo-id", REPO_ID, "--space", SPACE_ID, "--private", *tag]) == 0
    checked = [("model", "fresh_model"), ("space", "fresh_space")]
    assert steps == [*checked, (expected, True), ("model", REPO_ID), ("space", SPACE_ID)]
    last = capsys.readouterr().out.splitlines()[-2:]
    assert last == [f"published {REPO_ID} {expected}", f"unchanged {SPACE_ID} {expected}"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--model", "m"], "--card"), (["--model", "m", "--card", "c.md", "--space", SPACE_ID], "Leave one of both out")],
)
def test_options_that_do_not_fit_together(arguments, expected, capsys):
    assert main(["publish", "--repo-id", REPO_ID, *arguments]) == 1
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("text", ["grains", "a/b/c", "user/na me", "user/-name"])
def test_an_id_that_is_none(text, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["publish", "--repo-id", text])
    assert stop.value.code == 2 and "--repo-id" in capsys.readouterr().err
