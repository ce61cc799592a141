"""The one guarded client that fetches images named in Label Studio tasks.

It reads http and https addresses and Label Studio's own ``/data/...`` paths. It refuses other schemes, private
networks that were not allowed by name (checked again at every redirect), files outside the local-files root, bodies
above the byte cap and servers that take too long. Every refusal is an ``ImageError`` with a reason code.
"""

from __future__ import annotations

import os
import ssl
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, unquote

import httpcore
import httpx

from annotator.errors import ImageError
from annotator.images.addresses import GuardedBackend, Resolve, resolve
from annotator.settings import Settings

LOCAL_FILES = "/data/local-files/"
STUDIO_PATHS = ("/data/", "/tasks/", "/projects/")
"""Where Label Studio serves images: uploads and local files, and its proxies of cloud storages."""

_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What may be fetched. ``allow_hosts`` holds lower-case ``host`` or ``host:port``; times in seconds."""

    max_bytes: int
    total_seconds: float = 30.0
    connect_seconds: float = 5.0
    max_redirects: int = 5
    allow_hosts: frozenset[str] = frozenset()
    label_studio_url: str | None = None
    local_files_root: Path | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> FetchRules:
        """The rules of one project."""
        return cls(
            max_bytes=settings.max_image_bytes,
            total_seconds=settings.fetch_seconds,
            allow_hosts=frozenset(host.lower() for host in settings.allow_hosts),
            label_studio_url=settings.label_studio_url,
            local_files_root=settings.path(settings.local_files_root) if settings.local_files_root else None,
        )


class Fetcher:
    """Fetches the bytes behind an address; safe to use from several threads.

    ``studio_headers`` gives the authorisation header for Label Studio; it is sent to Label Studio's origin only, and
    there only to the paths that serve images.
    """

    def __init__(
        self,
        rules: FetchRules,
        studio_headers: Callable[[], Mapping[str, str]] | None = None,
        resolver: Resolve = resolve,
    ) -> None:
        self._rules, self._studio_headers, self._resolve = rules, studio_headers, resolver
        self._studio = httpx.URL(rules.label_studio_url) if rules.label_studio_url else None

    def read(self, address: object) -> bytes:
        """The bytes behind a task's image address.

        Raises:
            ImageError: with one of the reasons ``no_address``, ``scheme``, ``outside_root``, ``not_found``,
                ``private_address``, ``redirects``, ``too_large``, ``timeout``, ``unreachable``, ``http_<status>``.
        """
        if not isinstance(address, str) or not address.strip():
            raise ImageError("no_address", f"the task has no image address ({type(address).__name__})")
        url = self._url(address.strip())
        local = self._local_file(url)
        return local if local is not None else self._download(url)

    def _url(self, address: str) -> httpx.URL:
        try:
            url = httpx.URL(address)
            if url.is_relative_url and address.startswith(STUDIO_PATHS) and not _climbs(url):
                return self._studio.join(url) if self._studio else url
        except httpx.InvalidURL as error:
            raise ImageError("scheme", f"'{_short(address)}' is not an address: {error}") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise ImageError("scheme", f"'{_short(address)}' is neither http(s) nor a file of Label Studio")
        return url

    def _local_file(self, url: httpx.URL) -> bytes | None:
        """The file itself where Label Studio's local files lie on this machine too, ``None`` otherwise."""
        root = self._rules.local_files_root
        if root is None or not url.path.startswith(LOCAL_FILES) or not (url.is_relative_url or self._is_studio(url)):
            return None
        named = parse_qs(url.query.decode("ascii")).get("d", [""])[0]
        path = _inside(root, named)
        if path.is_file():
            return _read_regular(path, self._rules.max_bytes)
        if url.is_relative_url:
            raise ImageError("not_found", f"there is no file '{named}' under {root}")
        return None

    def _download(self, url: httpx.URL) -> bytes:
        if url.is_relative_url:
            raise ImageError("scheme", f"'{_short(str(url))}' needs the setting label_studio_url")
        backend = GuardedBackend(
            self._is_allowed, time.monotonic() + self._rules.total_seconds, self._rules.connect_seconds, self._resolve
        )
        try:
            with httpcore.ConnectionPool(ssl_context=self._ssl, network_backend=backend) as pool:
                return self._follow(pool, url)
        except httpcore.TimeoutException as error:
            raise ImageError("timeout", f"{url.host} took too long") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise ImageError("unreachable", f"{url.host} does not answer: {error}") from error

    def _follow(self, pool: httpcore.ConnectionPool, url: httpx.URL) -> bytes:
        for _ in range(self._rules.max_redirects + 1):
            with pool.stream("GET", _raw(url), headers=self._headers(url)) as response:
                if response.status not in _REDIRECTS:
                    return self._body(response, url)
                location = _header(response, b"location")
            url = self._redirected(url, location.decode("latin-1"))
        raise ImageError("redirects", f"{url.host} redirects more than {self._rules.max_redirects} times")

    def _redirected(self, url: httpx.URL, location: str) -> httpx.URL:
        try:
            target = url.join(location)
        except httpx.InvalidURL as error:
            raise ImageError("redirects", f"{url.host} redirects to no address") from error
        if (
            target.scheme not in ("http", "https")
            or not target.host
            or (url.scheme, target.scheme) == ("https", "http")
        ):
            raise ImageError("redirects", f"{url.host} redirects to a {target.scheme or 'strange'} address")
        return target

    def _body(self, response: httpcore.Response, url: httpx.URL) -> bytes:
        if response.status != 200:
            hint = "; check label_studio_api_key" if response.status in (401, 403) and self._is_studio(url) else ""
            raise ImageError(f"http_{response.status}", f"{url.host} answered {response.status}{hint}")
        announced = _header(response, b"content-length")
        self._check_size(int(announced) if announced.isdigit() else 0)
        chunks, size = [], 0
        for chunk in response.iter_stream():
            size += len(chunk)
            self._check_size(size)
            chunks.append(chunk)
        return b"".join(chunks)

    def _check_size(self, size: int) -> None:
        if size > self._rules.max_bytes:
            raise ImageError("too_large", f"the image is larger than {self._rules.max_bytes:,} bytes")

    def _headers(self, url: httpx.URL) -> list[tuple[str, str]]:
        headers = {"Host": url.netloc.decode("ascii"), "User-Agent": "annotator", "Accept": "image/*, */*;q=0.1"}
        headers["Accept-Encoding"] = "identity"  # a compressed answer could grow past the byte cap when unpacked
        serves_images = url.path.startswith(STUDIO_PATHS) and not _climbs(url)
        if self._studio_headers is not None and self._is_studio(url) and serves_images:
            headers.update(self._studio_headers())
        return list(headers.items())

    def _is_studio(self, url: httpx.URL) -> bool:
        return self._studio is not None and _origin(url) == _origin(self._studio)

    def _is_allowed(self, host: str, port: int) -> bool:
        hosts = self._rules.allow_hosts
        studio = self._studio is not None and (host, port) == (_origin(self._studio)[1:])
        return studio or host in hosts or f"{host}:{port}" in hosts

    @cached_property
    def _ssl(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()


def _header(response: httpcore.Response, name: bytes) -> bytes:
    return next((value for key, value in response.headers if key.lower() == name), b"")


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _raw(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _climbs(url: httpx.URL) -> bool:
    """Whether a path has a ``..`` part, plain or percent-encoded (also twice)."""
    return ".." in unquote(unquote(url.path)).replace("\\", "/").split("/")


def _inside(root: Path, named: str) -> Path:
    """The file that ``named`` means under ``root``.

    Raises:
        ImageError: it lies outside, by ``..``, by an absolute path or by a symbolic link.
    """
    try:
        path = (root / named).resolve()
    except (OSError, ValueError) as error:
        raise ImageError("outside_root", f"'{_short(named)}' is not a file name") from error
    if not path.is_relative_to(root.resolve()):
        raise ImageError("outside_root", f"'{_short(named)}' is outside the local files root")
    return path


def _read_regular(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("not_found", f"{path.name} is not a regular file")
            if status.st_size > max_bytes:
                raise ImageError("too_large", f"the image is larger than {max_bytes:,} bytes")
            return file.read(max_bytes)
    except OSError as error:
        raise ImageError("not_found", f"{path.name} cannot be read: {error.strerror}") from error


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
