"""Files to the Hub, in one commit, by its own client."""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from zoo.card import Weights
from zoo.errors import ConfigError, IntegrityError, NetworkError, UsageError, ZooError
from zoo.weights.hub import told
from zoo.weights.remote import bar_on_terminals_only, endpoint, is_offline, unreachable
from zoo.weights.watch import watched

PATIENCE = 5  # minutes: megabytes are on their way when the last has been read, and the Hub looks at them


class _Counted(io.FileIO):
    """A file of which the client has read so much: what is sent."""

    taken = 0

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        self.taken += count or 0
        return count


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
    with _asking(repo), io.BufferedReader(raw := _Counted(path)) as file:
        operations = [CommitOperationAdd(weights.file, file)]
        operations += [CommitOperationAdd(name, data) for name, data in small.items()]
        if operations[0].upload_info.sha256.hex() != weights.sha256:
            raise IntegrityError(f"{path} was changed since it was looked at", "publish again")
        return _committed(api, repo, operations, [raw], message, private, "--repo")


def upload_space(
    repo: str, files: Mapping[str, bytes | Path], message: str, *, private: bool = False
) -> tuple[str, bool]:
    """Put these files into the Space, made if need be, in one commit -> the revision that holds them, and whether it is
    new. Others that it holds stay. NetworkError for whatever the Hub refuses."""
    from huggingface_hub import CommitOperationAdd

    api = _client()
    with _asking(repo), ExitStack() as opened:
        raws = {name: _Counted(path) for name, path in files.items() if isinstance(path, Path)}
        read = {name: opened.enter_context(io.BufferedReader(raw)) for name, raw in raws.items()}
        operations = [CommitOperationAdd(name, read.get(name, data)) for name, data in files.items()]
        kind = {"repo_type": "space", "space_sdk": "gradio"}
        return _committed(api, repo, operations, raws.values(), message, private, "--space", **kind)


def _committed(
    api: Any,
    repo: str,
    operations: Sequence[Any],
    raws: Collection[_Counted],
    message: str,
    private: bool,
    option: str,
    **kind: str,
) -> tuple[str, bool]:
    """In one commit of a repository, made if need be -> its revision, and whether it is new. Left where too little of the
    files is read."""
    repo_type = kind.get("repo_type")

    def send() -> tuple[str, bool]:
        api.create_repo(repo, private=private or None, exist_ok=True, **kind)
        before = api.repo_info(repo, repo_type=repo_type)
        if private and not before.private:
            raise UsageError(f"{repo} is there already, and public", f"take another {option}, or leave out --private")
        done = api.create_commit(repo, operations, repo_type=repo_type, commit_message=message)
        return done.oid, done.oid != before.sha

    return watched(send, lambda: sum(raw.taken for raw in raws), PATIENCE)


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


@contextmanager
def _asking(repo: str) -> Iterator[None]:
    """Its client says of files that are read here, so that they are counted, that Xet cannot take them: that is known."""
    client = logging.getLogger("huggingface_hub._commit_api")

    def other(record: logging.LogRecord) -> bool:
        return "not supported by Xet" not in record.getMessage()

    client.addFilter(other)
    try:
        with told(partial(_said, repo)), bar_on_terminals_only():
            yield
    finally:
        client.removeFilter(other)


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
