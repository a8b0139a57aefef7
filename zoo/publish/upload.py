"""Files to the Hub, in one commit, by its own client."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from zoo.card import Weights
from zoo.errors import ConfigError, IntegrityError, NetworkError, UsageError, ZooError
from zoo.weights.hub import told
from zoo.weights.remote import bar_on_terminals_only, endpoint, is_offline, unreachable


def upload(
    repo: str, weights: Weights, path: Path, small: Mapping[str, bytes], message: str, *, private: bool = False
) -> tuple[str, bool]:
    """Put the weights in the file ``path``, and ``small`` files, into the repository, made if need be -> the revision
    that holds them, and whether it is new.

    All of them are in that commit or none, and the weights are the bytes that the card tells of, whatever ``path`` has
    become. NetworkError for whatever the Hub refuses.
    """
    from huggingface_hub import CommitOperationAdd

    api = _client()
    with told(partial(_said, repo)), bar_on_terminals_only(), path.open("rb") as file:
        operations = [CommitOperationAdd(weights.file, file)]
        operations += [CommitOperationAdd(name, data) for name, data in small.items()]
        if operations[0].upload_info.sha256.hex() != weights.sha256:
            raise IntegrityError(f"{path} was changed since it was looked at", "publish again")
        api.create_repo(repo, private=private or None, exist_ok=True)
        before = api.model_info(repo)
        if private and not before.private:
            raise UsageError(f"{repo} is there already, and public", "take another --repo, or leave out --private")
        done = api.create_commit(repo, operations, commit_message=message)
    return done.oid, done.oid != before.sha


def upload_space(
    repo: str, files: Mapping[str, bytes | Path], message: str, *, private: bool = False
) -> tuple[str, bool]:
    """Put these files into the Space, made if need be, in one commit -> the revision that holds them, and whether it is
    new. Others that it holds stay. NetworkError for whatever the Hub refuses."""
    from huggingface_hub import CommitOperationAdd

    api = _client()
    with told(partial(_said, repo)), bar_on_terminals_only():
        api.create_repo(repo, repo_type="space", space_sdk="gradio", private=private or None, exist_ok=True)
        before = api.space_info(repo)
        if private and not before.private:
            raise UsageError(f"{repo} is there already, and public", "take another --space, or leave out --private")
        operations = [CommitOperationAdd(name, data) for name, data in files.items()]
        done = api.create_commit(repo, operations, repo_type="space", commit_message=message)
    return done.oid, done.oid != before.sha


def _client() -> Any:
    """The Hub's own. NetworkError where it may not be asked, or does not know who asks."""
    from huggingface_hub import HfApi, get_token

    if is_offline():
        raise NetworkError("HF_HUB_OFFLINE forbids connections", "unset it to publish")
    if not get_token():
        raise NetworkError(
            f"no token for {endpoint()}", f"run `hf auth login`, or set HF_TOKEN: {endpoint()}/settings/tokens"
        )
    return HfApi(endpoint=endpoint(), library_name="zoo-core")


def check(weights: Weights) -> None:
    """IntegrityError unless the Hub has exactly these bytes at the revision that the weights name."""
    from huggingface_hub import get_hf_file_metadata

    assert weights.hub is not None
    repo, revision = weights.hub.repo, weights.hub.revision
    with told(partial(_said, repo)):
        there = get_hf_file_metadata(f"{endpoint()}/{repo}/resolve/{revision}/{weights.file}")
    if (there.etag, there.size, there.commit_hash) != (weights.sha256, weights.bytes, revision):
        raise IntegrityError(
            f"{weights.file} of {repo} at {revision} is not what was uploaded: {there.size} bytes, {there.etag}",
            "no card was changed; publish again",
        )


def _said(repo: str, exc: Exception) -> ZooError:
    from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

    if isinstance(exc, EntryNotFoundError | RevisionNotFoundError):
        return IntegrityError(f"{repo} does not hold what was uploaded", "no card was changed; publish again")
    status, cause = None, exc
    while status is None and cause is not None:
        status = getattr(getattr(cause, "response", None), "status_code", None)
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    user = repo.partition("/")[0]
    if "README.md" in str(exc):
        return ConfigError(f"the Hub refuses README.md: {' '.join(str(exc).split())}", "correct its front matter")
    if status == 401:
        return NetworkError(
            f"{endpoint()} does not accept your token", "run `hf auth login`, or set HF_TOKEN to a valid one"
        )
    if status in (403, 404):
        return NetworkError(
            f"your token may not write to {repo}",
            f"make one that may at {endpoint()}/settings/tokens; {user} must be you or an organisation of yours",
        )
    if status == 429:
        return NetworkError(f"{endpoint()} has had too many requests from you", "try again in some minutes")
    return unreachable(f"upload to {repo} at {endpoint()}", exc)
