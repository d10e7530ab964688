"""A strict stand-in for huggingface.co, on real sockets: the routes that fetching a model takes, no others.

Large files are redirected to a second server with a signed address, as the hub does to its CDN. It refuses
what the originals refuse: requests without the right token, a signed address with an Authorization header,
ranges beyond the end. What it does not know is a 404 that ``refused`` remembers.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

JSON = {"content-type": "application/json"}
LFS_FROM = 1_000
"""Bytes from which on a file is stored as a large one."""
_API = re.compile(r"/api/models/([\w.-]+/[\w.-]+)/revision/([^/]+)")
_RESOLVE = re.compile(r"/([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)")
_RANGE = re.compile(r"bytes=(\d+)-")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request for a large file, or for the list of files ("list")."""

    where: str = "file"
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    """The connection ends after so many bytes."""
    hang: int | None = None
    """Nothing more comes after so many bytes, until the test is over."""
    spoil: bool = False
    """One byte is another than it should be."""


@dataclass
class Repository:
    files: dict[str, bytes]
    token: str | None = None
    """Without it, nobody sees the repository (or, if ``gated``, its files)."""
    gated: bool = False
    checksums: dict[str, str] = field(default_factory=dict)
    """SHA-256 that the hub claims instead of the true ones."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that it claims."""

    @property
    def commit(self) -> str:
        digest = hashlib.sha1(usedforsecurity=False)
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + b"\0" + content)
        return digest.hexdigest()

    def sha256(self, name: str) -> str:
        return self.checksums.get(name) or hashlib.sha256(self.files[name]).hexdigest()

    def siblings(self) -> list[dict[str, Any]]:
        return [self._sibling(name, content) for name, content in sorted(self.files.items())]

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        size = self.sizes.get(name, len(content))
        if not is_large(content):
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
            return {"rfilename": name, "size": size, "blobId": self.checksums.get(name, blob.hexdigest())}
        lfs = {"sha256": self.sha256(name), "size": size, "pointerSize": 134}
        return {"rfilename": name, "size": size, "blobId": "0" * 40, "lfs": lfs}


def is_large(content: bytes) -> bool:
    return len(content) >= LFS_FROM


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    range: str | None
    token: str | None


@dataclass
class FakeHub:
    url: str = ""
    cdn: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    """Used up one by one, by requests of their kind."""
    seen: list[Seen] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """What no hub would have been asked."""
    waiting: threading.Event = field(default_factory=threading.Event)
    """Somebody hangs."""
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, files: dict[str, bytes], **more: Any) -> Repository:
        self.repositories[name] = repository = Repository(files, **more)
        return repository

    def fault(self, where: str) -> Fault:
        with self.lock:
            for index, fault in enumerate(self.faults):
                if fault.where == where:
                    return self.faults.pop(index)
        return Fault(where)

    def ranges(self) -> list[str | None]:
        """Of the requests for large files."""
        return [seen.range for seen in self.seen if seen.path.startswith("/lfs/")]

    def fetched(self) -> list[str]:
        """Names of files that were asked for."""
        found = (_RESOLVE.fullmatch(urlsplit(seen.path).path) for seen in self.seen)
        return [unquote(match[3]) for match in found if match]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        authorization = self.headers.get("authorization")
        token = None if authorization is None else authorization.removeprefix("Bearer ")
        self.hub.seen.append(Seen(self.command, self.path, self.headers.get("range"), token))
        self.answer(token)

    def answer(self, token: str | None) -> None:
        raise NotImplementedError

    def give(self, status: int, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.give(status, body, {"x-error-code": code, "x-error-message": message} | JSON)

    def refuse(self, why: str) -> None:
        self.hub.refused.append(f"{self.command} {self.path}: {why}")
        self.give(404, b"Not Found")


class _HubHandler(_Handler):
    def answer(self, token: str | None) -> None:
        address = urlsplit(self.path)
        if (api := _API.fullmatch(address.path)) and self.command == "GET":
            if parse_qs(address.query) != {"blobs": ["true"]}:
                self.refuse("only blobs=true is known")
            elif (repository := self._repository(api[1], token)) is not None:
                self._list(api[1], unquote(api[2]), repository)
        elif resolve := _RESOLVE.fullmatch(address.path):
            if (repository := self._repository(resolve[1], token, files=True)) is not None:
                self._resolve(repository, resolve[2], unquote(resolve[3]))
        else:
            self.refuse("no such route")

    def _repository(self, name: str, token: str | None, *, files: bool = False) -> Repository | None:
        repository = self.hub.repositories.get(name)
        known = {each.token for each in self.hub.repositories.values()} - {None}
        if token is not None and token not in known:
            self.fail(401, "", "Invalid credentials in Authorization header")
        elif repository is None or (repository.token not in {None, token} and not repository.gated):
            # Who shows no token is not told whether there is such a repository.
            self.fail(404 if token else 401, "RepoNotFound", "Repository not found")
        elif files and repository.gated and token != repository.token:
            self.fail(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted.")
        else:
            return repository
        return None

    def _list(self, name: str, revision: str, repository: Repository) -> None:
        fault = self.hub.fault("list")
        if fault.status:
            self.give(fault.status, b"{}", fault.headers)
        elif revision not in {"main", "v1.0", repository.commit}:
            self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            facts = {"id": name, "sha": repository.commit, "siblings": repository.siblings()}
            self.give(200, json.dumps(facts).encode(), JSON)

    def _resolve(self, repository: Repository, revision: str, name: str) -> None:
        content = repository.files.get(name)
        if revision != repository.commit:
            self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif content is None:
            self.fail(404, "EntryNotFound", "Entry not found")
        elif is_large(content):
            digest = hashlib.sha256(content).hexdigest()
            location = f"{self.hub.cdn}/lfs/{digest}?signature={_signature(digest)}"
            self.give(302, headers={"x-repo-commit": repository.commit, "location": location})
        else:
            self.give(200, content, {"x-repo-commit": repository.commit})


class _CdnHandler(_Handler):
    def answer(self, token: str | None) -> None:
        address = urlsplit(self.path)
        digest = address.path.removeprefix("/lfs/")
        contents = {
            hashlib.sha256(content).hexdigest(): content
            for repository in self.hub.repositories.values()
            for content in repository.files.values()
        }
        if token is not None:
            self.hub.refused.append("a token came to the CDN")
            self.give(400, b"Only one auth mechanism allowed")
        elif digest not in contents:
            self.refuse("no such file")
        elif parse_qs(address.query).get("signature") != [_signature(digest)]:
            self.refuse("not signed")
        else:
            self._serve(contents[digest])

    def _serve(self, content: bytes) -> None:
        wanted = _RANGE.fullmatch(self.headers.get("range", ""))
        start = int(wanted[1]) if wanted else 0
        if start >= len(content):
            self.give(416, headers={"content-range": f"bytes */{len(content)}"})
            return
        fault = self.hub.fault("file")
        if fault.status:
            self.give(fault.status, headers=fault.headers)
            return
        rest = bytearray(content[start:])
        if fault.spoil:
            rest[-1] ^= 1
        self.send_response(206 if wanted else 200)
        self.send_header("content-length", str(len(rest)))
        if wanted:
            self.send_header("content-range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if fault.cut is not None:
            self.wfile.write(rest[: fault.cut])
            self.close_connection = True
        elif fault.hang is not None:
            self.wfile.write(rest[: fault.hang])
            self.wfile.flush()
            self.hub.waiting.set()
            self.hub.over.wait()
            self.close_connection = True
        else:
            self.wfile.write(rest)


def _signature(digest: str) -> str:
    return hashlib.sha256(b"signed " + digest.encode()).hexdigest()[:16]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # The other side hung up: some tests are about that.


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub without repositories, and its CDN."""
    hub = FakeHub()
    servers = [
        _Server(("127.0.0.1", 0), type("Handler", (handler,), {"hub": hub}))
        for handler in (_HubHandler, _CdnHandler)
    ]
    hub.url, hub.cdn = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        hub.over.set()
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()
