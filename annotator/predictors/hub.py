"""Files of the Hugging Face hub: what a repository holds, and downloads that go on where they stopped.

``huggingface_hub`` finds the files, their checksums and the address of each; its own downloads start every unfinished
file again, which a 10 GB shard on a slow line does not survive, so the bytes are fetched here.
"""

from __future__ import annotations

import fnmatch
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, get_session, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils._headers import build_hf_headers

from annotator.errors import ServiceError, WeightsInvalid
from annotator.predictors.digests import file_digest

ATTEMPTS = 5
"""How often a broken connection is mended before giving up; the count begins anew with every byte that came."""
WAIT_S = 1.0
"""Seconds before the second attempt in a row that brought nothing; each further one waits as much longer."""

Progress = Callable[[int], None]
"""Told how many more bytes have come."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository. ``sha256`` is known of large ones; of others git's ``blob_id``."""

    path: str
    size: int
    sha256: str | None
    blob_id: str | None


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit, with those of its files that are wanted."""

    name: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def look_up(name: str, revision: str | None, patterns: Sequence[str], endpoint: str | None) -> Repository:
    """The files of a repository that match, at the commit that ``revision`` is now.

    Raises:
        ServiceError: the hub cannot be reached, refuses, or has none of the files.
    """
    try:
        info = HfApi(endpoint=endpoint).model_info(name, revision=revision, files_metadata=True)
    except (httpx2.TransportError, OfflineModeIsEnabled, OSError) as error:
        raise _unreachable(name, error) from error
    except HFValidationError as error:
        raise ServiceError(f"the Hugging Face hub has no repository {name}: {_first_line(error)}") from error
    files = tuple(
        HubFile(item.rfilename, int(item.size or 0), item.lfs.sha256 if item.lfs else None, item.blob_id)
        for item in info.siblings or []
        if any(fnmatch.fnmatch(item.rfilename, pattern) for pattern in patterns)
    )
    if not files or info.sha is None:
        raise ServiceError(f"{name} at {revision} holds none of {', '.join(patterns)}")
    return Repository(name, info.sha, files)


def fetch(
    repository: Repository, folder: Path, known: Mapping[str, str], endpoint: str | None, progress: Progress
) -> dict[str, str]:
    """All files of ``repository`` into ``folder``; returns the sha256 of each. What is there already is kept.

    ``known`` are checksums that a file must have whatever the hub says of it.

    Raises:
        ServiceError: the hub cannot be reached or refuses; what came so far stays for the next call.
        WeightsInvalid: a file is not what it should be; it is deleted.
    """
    digests = {}
    for file in repository.files:
        place = folder / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            progress(file.size)
        else:
            part = place.with_name(place.name + ".part")
            url = hf_hub_url(repository.name, file.path, revision=repository.commit, endpoint=endpoint)
            _fetch(url, part, file.size, repository.name, progress)
            digests[file.path] = _checked(part, file, known.get(file.path))
            part.replace(place)
        digests.setdefault(file.path, file_digest(place))
    return digests


def _fetch(url: str, part: Path, size: int, name: str, progress: Progress) -> None:
    """``url`` into ``part``, behind what is in it already."""
    part.touch()
    progress(part.stat().st_size)
    idle = 0
    while (have := part.stat().st_size) < size:
        reason = _try(url, part, have, name, progress)
        idle = 0 if part.stat().st_size > have else idle + 1
        if idle == ATTEMPTS:
            raise ServiceError(f"the Hugging Face hub sends no more than {have} of {size} bytes for {name} ({reason})")
        time.sleep(idle * WAIT_S)


def _try(url: str, part: Path, have: int, name: str, progress: Progress) -> str:
    """One request for the rest; says how it ended.

    Raises:
        ServiceError: asking again would not help.
    """
    try:
        _stream(url, part, have, progress)
    except (HfHubHTTPError, OfflineModeIsEnabled) as error:
        raise _unreachable(name, error) from error
    except httpx2.TransportError as error:
        return _first_line(error)
    return "the connection was closed"


def _stream(url: str, part: Path, start: int, progress: Progress) -> None:
    headers: dict[str, Any] = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream("GET", url, headers=headers, follow_redirects=True, timeout=30) as response:
        _raise_for_status(response)
        if start and response.status_code != httpx2.codes.PARTIAL_CONTENT:
            progress(-start)
            start = 0  # the server sends all of it again
        with part.open("ab" if start else "wb") as file:
            for block in response.iter_raw():
                file.write(block)
                progress(len(block))


def _raise_for_status(response: httpx2.Response) -> None:
    if response.is_error:
        reason = f"{response.status_code} {response.reason_phrase} for {response.url}"
        raise HfHubHTTPError(reason, response=response)


def _checked(part: Path, file: HubFile, known: str | None) -> str:
    """The sha256 of a finished download that is what hub and catalogue say."""
    digest = file_digest(part)
    wrong = [wanted for wanted in (file.sha256, known) if wanted is not None and wanted != digest]
    if file.sha256 is None and file.blob_id is not None and _blob_id(part) != file.blob_id:
        wrong.append(f"git blob {file.blob_id}")
    if wrong or part.stat().st_size != file.size:
        part.unlink()
        wanted = wrong[0] if wrong else f"of {file.size} bytes"
        raise WeightsInvalid(f"{file.path} came with sha256 {digest}, not {wanted}; run the command again")
    return digest


def _blob_id(path: Path) -> str:
    """What git names the content of a file by."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _unreachable(name: str, error: Exception) -> ServiceError:
    if isinstance(error, HfHubHTTPError):
        return ServiceError(f"the Hugging Face hub refused {name}: {_first_line(error)}")
    return ServiceError(f"cannot reach the Hugging Face hub for {name} ({_first_line(error)})")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
