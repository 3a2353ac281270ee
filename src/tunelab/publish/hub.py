"""Talking to the hub through its own client: who we are, the repository, one commit with all that has changed.

The endpoint, the token and the way that large files take (Xet where ``hf_xet`` is installed, else LFS) are the
client's business. What is ours is that every failure is one line, that nothing is called done before the hub has
committed it, and that a repository is never more public than was asked for. A commit holds all files of a
repository, so a reader sees the old state or the new one; whatever an interrupted push has uploaded is not sent
again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from tunelab.data import hub
from tunelab.errors import HubError
from tunelab.publish.uploads import Upload

AGAIN = "push again: what has arrived is not sent twice"


@dataclass(frozen=True)
class Sent:
    """A repository after a push. ``changed`` is False when the hub already had every byte."""

    url: str
    changed: bool
    private: bool


def connect() -> HfApi:
    """Return a client whose token the hub knows. Raises HubError in one line, within seconds when there is no hub."""
    reason = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else "it does not answer"
    if not hub.online():
        raise HubError(f"hub: offline ({reason}), expected a connection; connect, or look with --dry-run")
    if huggingface_hub.get_token() is None:
        raise HubError("hub: no token, expected one that may write; run `hf auth login`, or set HF_TOKEN")
    huggingface_hub.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        huggingface_hub.utils.disable_progress_bars()
    api = HfApi()
    with _one_line("who the token belongs to"):
        api.whoami()
    return api


def send(api: HfApi, upload: Upload, public: bool) -> Sent:
    """Make the repository where it does not exist and commit what has changed. Raises HubError in one line."""
    with _one_line(upload.repo):
        url = api.create_repo(upload.repo, repo_type=upload.kind, private=not public, exist_ok=True)
        before = api.repo_info(upload.repo, repo_type=upload.kind)
    if not before.private and not public:
        raise HubError(f"{upload.repo}: is public, expected a private repository; add --public, or choose another --to")
    with _one_line(upload.repo):
        commit = api.create_commit(
            upload.repo,
            [CommitOperationAdd(name, _source(content)) for name, content in sorted(upload.files.items())],
            commit_message=f"{upload.variant}: {'model' if upload.kind == 'model' else 'tokenised training rows'}",
            repo_type=upload.kind,
        )
    return Sent(str(url), commit.oid != before.sha, bool(before.private))


def _source(content: Path | bytes) -> str | bytes:
    return content if isinstance(content, bytes) else str(content)


@contextmanager
def _one_line(what: str) -> Generator[None]:
    """Turn whatever the client raises into one line: it passes on the errors of several libraries."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise HubError(f"hub: offline, expected a connection for {what}; connect and {AGAIN}") from None
    except HfHubHTTPError as error:
        raise HubError(_answer(what, error)) from error
    except Exception as error:
        first = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        reason = " ".join(str(first).split()) or "no message"
        raise HubError(f"hub: {what}: {type(first).__name__}: {reason[:200]}; {AGAIN}") from error


def _answer(what: str, error: HfHubHTTPError) -> str:
    """Say what the hub answered and what helps."""
    status = error.response.status_code
    if status == 401:
        return "hub: the token is refused (401), expected a valid one; run `hf auth login`, or set HF_TOKEN"
    if status == 403:
        return f"hub: {what}: the token may not write there (403), expected one with write access to its owner"
    if status >= 500:
        return f"hub: {what}: got {status} from the hub, which may pass; {AGAIN}"
    said = " ".join((error.server_message or str(error)).split())
    return f"hub: {what}: got {status}: {said[:200]}"
