"""A small Hugging Face Hub on the loopback interface, for the real client: repositories, uploads, commits, downloads.

It keeps everything in memory and speaks as much of the Hub's HTTP as `huggingface_hub` and `transformers` use:
repositories (create, info, tree, refs, tags), the upload of a folder (metadata check, preupload, LFS, commit), and
files by revision, those of LFS through a redirect as the Hub does it.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

WRITE_TOKEN = "hf_writeTokenOfTheTests"
READ_TOKEN = "hf_readTokenOfTheTests"
OWNER = "user"
"""Both tokens are this user's."""

ALWAYS_LFS = 10_000_000
"""Files from this size up go to LFS whatever .gitattributes says, bytes."""

_REPO = r"(?P<kind>models|datasets|spaces)/(?P<id>[^/]+/[^/]+)"


@dataclass(frozen=True)
class StoredFile:
    """Content of a file in a commit."""

    content: bytes
    is_lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def git_hash(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    @property
    def oid(self) -> str:
        """What the client compares a local file with."""
        return self.sha256 if self.is_lfs else self.git_hash


@dataclass(frozen=True)
class Commit:
    """A state of a repository."""

    oid: str
    summary: str
    files: dict[str, StoredFile]


@dataclass
class Repository:
    """Commits, the newest last, and tags by name."""

    private: bool
    commits: list[Commit] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit("initial commit", {".gitattributes": StoredFile(b"*.safetensors filter=lfs\n", False)})

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def commit(self, summary: str, files: dict[str, StoredFile]) -> Commit:
        names = "".join(f"{name}{file.oid}" for name, file in sorted(files.items()))
        oid = hashlib.sha1(f"{len(self.commits)}{summary}{names}".encode()).hexdigest()
        self.commits.append(Commit(oid, summary, files))
        return self.head

    def at(self, revision: str) -> Commit | None:
        oid = self.head.oid if revision == "main" else self.tags.get(revision, revision)
        return next((commit for commit in self.commits if commit.oid == oid), None)


class Refusal(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class HubServer:
    """The server; use it as a context.

    Attributes:
        repositories: by kind ("models", "datasets", "spaces") and id.
        lfs: contents that were uploaded, by SHA-256.
        faults: what goes wrong, by the name of the operation ("create", "preupload", "batch", "put", "commit", "tag",
            "resolve"): an HTTP status to answer with, or None to hang up.
        log: the operations that were asked for, in their order.
    """

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.lfs: dict[str, bytes] = {}
        self.faults: dict[str, int | None] = {}
        self.log: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self._http.server_port}"
        # The Hub keeps large files on another host, to which its client sends no token.
        self.storage = f"http://localhost:{self._http.server_port}/lfs"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def repository(self, repo_id: str, kind: str = "models") -> Repository:
        return self.repositories[kind, repo_id]


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keeps the tests' output clean."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            operation, groups = self._route(unquote(url.path))
            name = operation.__name__.removeprefix("_do_")
            self.hub.log.append(name)
            if name in self.hub.faults:
                status = self.hub.faults[name]
                if status is None:
                    self.close_connection = True
                    return
                raise Refusal(status, f"The {name} was refused by the test")
            operation(self, **groups)
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            self._send_json({"error": refusal.message}, refusal.status, headers)

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def _route(self, path: str) -> tuple[Callable[..., None], dict[str, str]]:
        method = "GET" if self.command == "HEAD" else self.command
        for verb, pattern, operation in _ROUTES:
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                return operation, match.groupdict()
        raise Refusal(404, f"No such address: {method} {path}")

    def _send(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_json(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    # Who asks, and for what

    def _token(self) -> str | None:
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        if scheme and token not in (WRITE_TOKEN, READ_TOKEN):
            raise Refusal(401, "Invalid username or password.")
        return token or None

    def _must_write(self, repo_id: str) -> None:
        if self._token() is None:
            raise Refusal(401, "Invalid username or password.")
        if self._token() != WRITE_TOKEN or repo_id.partition("/")[0] != OWNER:
            raise Refusal(403, "You don't have the rights to write under this namespace")

    def _repository(self, kind: str, repo_id: str) -> Repository:
        found = self.hub.repositories.get((kind, repo_id))
        if found is None or (found.private and self._token() is None):
            raise Refusal(401 if self._token() is None else 404, "Repository not found", "RepoNotFound")
        return found

    def _commit(self, repository: Repository, revision: str) -> Commit:
        commit = repository.at(revision)
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # Repositories

    def _do_create(self) -> None:
        asked = json.loads(self.body)
        kind = f"{asked.get('type') or 'model'}s"
        repo_id = f"{asked.get('organization') or OWNER}/{asked['name']}"
        self._must_write(repo_id)
        url = f"{self.hub.endpoint}/{'' if kind == 'models' else f'{kind}/'}{repo_id}"
        if (kind, repo_id) in self.hub.repositories:
            self._send_json({"error": f"You already created this {kind[:-1]} repo", "url": url}, 409)
            return
        if kind == "spaces" and asked.get("sdk") != "gradio":
            raise Refusal(400, "A Space needs an sdk")
        self.hub.repositories[kind, repo_id] = Repository(private=asked.get("visibility") == "private")
        self._send_json({"url": url})

    def _do_info(self, kind: str, id: str, revision: str | None = None) -> None:
        repository = self._repository(kind, id)
        commit = self._commit(repository, revision or "main")
        info = {"id": id, "sha": commit.oid, "private": repository.private, "tags": [], "downloads": 0, "likes": 0}
        self._send_json({**info, "siblings": [{"rfilename": name} for name in sorted(commit.files)]})

    def _do_tree(self, kind: str, id: str, revision: str) -> None:
        commit = self._commit(self._repository(kind, id), revision)
        entries = []
        for path, file in sorted(commit.files.items()):
            entry = {"type": "file", "path": path, "size": len(file.content), "oid": file.git_hash}
            if file.is_lfs:
                entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": 134}
            entries.append(entry)
        if self.query.get("recursive", ["false"])[0].lower() != "true":
            entries = [entry for entry in entries if "/" not in entry["path"]]
        self._send_json(entries)

    def _do_refs(self, kind: str, id: str) -> None:
        repository = self._repository(kind, id)

        def ref(group: str, name: str, oid: str) -> dict[str, str]:
            return {"name": name, "ref": f"refs/{group}/{name}", "targetCommit": oid}

        tags = [ref("tags", name, oid) for name, oid in repository.tags.items()]
        self._send_json({"branches": [ref("heads", "main", repository.head.oid)], "converts": [], "tags": tags})

    def _do_tag(self, kind: str, id: str, revision: str) -> None:
        self._must_write(id)
        repository = self._repository(kind, id)
        name = json.loads(self.body)["tag"]
        if name in repository.tags:
            raise Refusal(409, "Tag reference exists already")
        repository.tags[name] = self._commit(repository, revision).oid
        self._send_json({})

    # Uploads

    def _do_validate_yaml(self) -> None:
        content = json.loads(self.body)["content"]
        front = re.match(r"---\n(.*?\n)---\n", content, re.DOTALL)
        try:
            valid = front is not None and isinstance(yaml.safe_load(front[1]), dict)
        except yaml.YAMLError:
            valid = False
        if valid:
            self._send_json({"errors": [], "warnings": []})
        else:
            self._send_json({"errors": [{"message": "the front matter is no YAML"}], "warnings": []}, 400)

    def _do_preupload(self, kind: str, id: str, revision: str) -> None:
        self._must_write(id)
        there = self._commit(self._repository(kind, id), revision).files
        asked = json.loads(self.body)["files"]
        # The attributes that are being uploaded count already, as on the Hub.
        lines = there[".gitattributes"].content.decode().splitlines()
        lines += [
            line
            for each in asked
            if each["path"] == ".gitattributes"
            for line in base64.b64decode(each["sample"]).decode().splitlines()
        ]
        patterns = [line.split()[0] for line in lines if "filter=lfs" in line]
        modes = {}
        for each in asked:
            matches = any(fnmatch.fnmatch(each["path"], pattern) for pattern in patterns)
            modes[each["path"]] = "lfs" if matches or each["size"] >= ALWAYS_LFS else "regular"
        files = [
            {
                "path": path,
                "uploadMode": mode,
                "shouldIgnore": False,
                **({"oid": there[path].oid} if path in there else {}),
            }
            for path, mode in modes.items()
        ]
        self._send_json({"files": files})

    def _do_batch(self, id: str, kind: str | None = None) -> None:
        self._must_write(id)
        objects = []
        for each in json.loads(self.body)["objects"]:
            answer = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.hub.lfs:
                answer["actions"] = {
                    "upload": {"href": f"{self.hub.storage}/{each['oid']}"},
                    "verify": {"href": f"{self.hub.endpoint}/lfs-verify"},
                }
            objects.append(answer)
        self._send_json({"transfer": "basic", "objects": objects})

    def _do_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refusal(400, "The content is not what was announced")
        self.hub.lfs[oid] = self.body
        self._send(b"")

    def _do_verify(self) -> None:
        asked = json.loads(self.body)
        if len(self.hub.lfs.get(asked["oid"], b"")) != asked["size"]:
            raise Refusal(404, "The content did not arrive")
        self._send_json({})

    def _do_commit(self, kind: str, id: str, revision: str) -> None:
        self._must_write(id)
        repository = self._repository(kind, id)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header, files = lines[0]["value"], dict(self._commit(repository, revision).files)
        for line in lines[1:]:
            key, value = line["key"], line["value"]
            if key == "file":
                files[value["path"]] = StoredFile(base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                if value["oid"] not in self.hub.lfs:
                    raise Refusal(400, f"The LFS file of {value['path']} was not uploaded")
                files[value["path"]] = StoredFile(self.hub.lfs[value["oid"]], True)
            elif key == "deletedFile":
                del files[value["path"]]
            else:
                raise Refusal(400, f"Unknown key {key}")
        commit = repository.commit(header["summary"], files)
        url = f"{self.hub.endpoint}/{id}/commit/{commit.oid}"
        self._send_json({"success": True, "commitOid": commit.oid, "commitUrl": url, "hookOutput": ""})

    # Downloads

    def _do_resolve(self, id: str, revision: str, path: str, kind: str | None = None) -> None:
        commit = self._commit(self._repository(kind or "models", id), revision)
        file = commit.files.get(path)
        headers = {"X-Repo-Commit": commit.oid}
        if file is None:
            raise Refusal(404, f"Entry not found: {path}", "EntryNotFound")
        if file.is_lfs:
            linked = {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
            self._send(b"", 302, {**headers, **linked, "Location": f"{self.hub.storage}/{file.sha256}"})
        else:
            self._send(file.content, headers={**headers, "ETag": f'"{file.git_hash}"'})

    def _do_get(self, oid: str) -> None:
        self._send(self.hub.lfs[oid], headers={"ETag": f'"{oid}"'})


_ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("POST", "/api/repos/create", _Handler._do_create),
    ("POST", "/api/validate-yaml", _Handler._do_validate_yaml),
    ("GET", f"/api/{_REPO}", _Handler._do_info),
    ("GET", f"/api/{_REPO}/revision/(?P<revision>.+)", _Handler._do_info),
    ("GET", f"/api/{_REPO}/tree/(?P<revision>[^/]+)", _Handler._do_tree),
    ("GET", f"/api/{_REPO}/refs", _Handler._do_refs),
    ("POST", f"/api/{_REPO}/tag/(?P<revision>.+)", _Handler._do_tag),
    ("POST", f"/api/{_REPO}/preupload/(?P<revision>.+)", _Handler._do_preupload),
    ("POST", f"/api/{_REPO}/commit/(?P<revision>.+)", _Handler._do_commit),
    ("POST", r"/((?P<kind>spaces|datasets)/)?(?P<id>[^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler._do_batch),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]+)", _Handler._do_put),
    ("GET", "/lfs/(?P<oid>[0-9a-f]+)", _Handler._do_get),
    ("POST", "/lfs-verify", _Handler._do_verify),
    (
        "GET",
        r"/((?P<kind>spaces)/)?(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
        _Handler._do_resolve,
    ),
]
