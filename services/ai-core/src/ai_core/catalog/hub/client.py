"""The hub over ``huggingface_hub``: a repository's list of files, and a file's bytes from a position on.

Imported only in the process that fetches: its environment decides where the hub is and that nothing is told
about this machine (:func:`ai_core.catalog.hub.puller.child_environment`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_url, is_offline_mode, set_client_factory
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RemoteEntryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers, parse_ratelimit_headers

from ai_core.catalog.hub.choice import RemoteFile
from ai_core.catalog.hub.messages import Problem
from ai_core.catalog.hub.patience import retry_after_of

ANSWER_SECONDS = 30.0
"""For the list of files."""
PIECE_BYTES = 262_144
"""What comes in between is lost when a connection is; the library's own 10 MiB would also be silent for long
on a slow line."""
_TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class HubError(Exception):
    """The hub does not give what was asked for."""

    def __init__(self, problem: Problem, message: str) -> None:
        super().__init__(message)
        self.problem: Problem = problem


class HubAway(Exception):
    """The hub cannot answer at present; trying again makes sense."""

    def __init__(self, why: str, *, busy: bool = False, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.problem: Problem = "hub_busy" if busy else "hub_unavailable"
        self.retry_after = retry_after
        """Seconds, as the hub asked."""


@dataclass(frozen=True, slots=True)
class Repository:
    """One commit of a repository."""

    name: str
    commit: str
    files: tuple[RemoteFile, ...]


class Hub:
    """The hub of ``HF_ENDPOINT``, as seen with a token."""

    def __init__(self, token: str | None) -> None:
        constants.DOWNLOAD_CHUNK_SIZE = PIECE_BYTES
        # The library would sleep through a 429 without a word, and give up at once on a 503: both are
        # decided here instead, in the same way for every request.
        set_client_factory(_client)
        self._token: str | bool = token or False
        self._api = HfApi(token=self._token)

    def repository(self, name: str, revision: str) -> Repository:
        """What a repository holds. Raises HubError, HubAway."""
        if is_offline_mode():
            raise HubError("failed", "HF_HUB_OFFLINE forbids to ask the hub.")
        try:
            info = self._api.model_info(name, revision=revision, files_metadata=True, timeout=ANSWER_SECONDS)
        except HFValidationError as error:
            raise HubError("not_found", f"'{name}' is not the name of a repository: owner/name.") from error
        except (httpx2.HTTPError, OSError) as error:
            raise self._problem(error, name, revision) from error
        if not info.sha or info.siblings is None:
            raise HubError("failed", f"{constants.ENDPOINT} does not answer like a hub: check HF_ENDPOINT.")
        return Repository(
            name,
            info.sha,
            tuple(
                RemoteFile(
                    each.rfilename,
                    each.lfs.size if each.lfs else each.size or 0,
                    each.lfs.sha256 if each.lfs else "",
                    each.blob_id or "",
                )
                for each in info.siblings
            ),
        )

    def download(self, repository: Repository, file: RemoteFile, into: BinaryIO, have: int) -> None:
        """Append a file's bytes from ``have`` on. Raises HubError, HubAway; OSError of the disk."""
        headers = build_hf_headers(token=self._token)
        # Positions and sizes are those of the file, not of a compressed form of it.
        headers["accept-encoding"] = "identity"
        url = hf_hub_url(repository.name, file.name, revision=repository.commit)
        try:
            http_get(url, into, resume_size=have, headers=headers, expected_size=file.size)
        except httpx2.HTTPError as error:
            raise self._problem(error, repository.name, repository.commit) from error
        except OSError as error:
            if error.errno is not None:
                raise
            # More or fewer bytes than announced: the library's check of the size.
            raise HubAway(f"{file.name} came with another size than announced") from error
        except ValueError as error:
            raise HubError("failed", f"{file.name} cannot be fetched over HTTP: {error}") from error

    def _problem(self, error: Exception, name: str, revision: str) -> HubError | HubAway:
        match error:
            case GatedRepoError():
                return HubError(
                    "gated",
                    f"{name} is gated: accept its conditions on its page at the hub, and set "
                    "HUGGINGFACE_TOKEN to a token of that account.",
                )
            case RevisionNotFoundError():
                return HubError("not_found", f"{name} has no revision '{revision}'.")
            case RemoteEntryNotFoundError():
                return HubError("not_found", f"A file of {name} is gone from the hub. Try again.")
            case HfHubHTTPError():
                return self._refusal(error, name)
            case _:
                return HubAway(f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})")

    def _refusal(self, error: HfHubHTTPError, name: str) -> HubError:
        status = error.response.status_code
        if status in {401, 403} and self._token:
            return HubError("token_refused", f"The hub does not let HUGGINGFACE_TOKEN read {name}.")
        if status in {401, 403, 404}:
            hint = "" if self._token else ", or set HUGGINGFACE_TOKEN if it is private"
            return HubError("not_found", f"The hub has no repository {name}: check the name{hint}.")
        return HubError("failed", f"The hub refuses to give {name}: status {status}.")


def _client() -> httpx2.Client:
    hooks = {"response": [_raise_if_away]}
    return httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=ANSWER_SECONDS)


def _raise_if_away(response: httpx2.Response) -> None:
    status = response.status_code
    if status not in _TRY_AGAIN:
        return
    retry_after = retry_after_of(response.headers.get("retry-after"))
    if status == 429 and retry_after is None:
        limit = parse_ratelimit_headers(response.headers)
        retry_after = float(limit.reset_in_seconds) if limit is not None else None
    why = "The hub has had too many requests from here" if status == 429 else f"The hub answers {status}"
    raise HubAway(why, busy=status == 429, retry_after=retry_after)
