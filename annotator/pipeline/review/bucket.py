"""Pictures that Label Studio shows from an object storage: browsers open signed addresses, renewed in time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from annotator.errors import ConfigurationError
from annotator.images.remote import delete_remote, exists_remote, is_remote, signed_url, write_remote
from annotator.labelstudio import administration as studio
from annotator.labelstudio.client import LabelStudio
from annotator.settings import Settings
from annotator.store.base import now

DAY = 86_400
SIGNED_AT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix in an object storage where pictures for Label Studio are written; addresses are good for ``seconds``."""

    url: str
    seconds: int
    settings: Settings

    @classmethod
    def of(cls, settings: Settings) -> Bucket | None:
        """The one that the settings name, ``None`` where they name none.

        Raises:
            ConfigurationError: ``pictures_url`` is no place in an object storage.
        """
        if settings.pictures_url is None:
            return None
        if not is_remote(settings.pictures_url):
            raise ConfigurationError(f"pictures_url must be s3://, gs:// or az://, not {settings.pictures_url}")
        return cls(settings.pictures_url.rstrip("/"), int(settings.pictures_days * DAY), settings)

    def publish(self, name: str, data: bytes) -> str:
        """Write a picture, once; a signed address of it.

        Raises:
            StorageError: it cannot be written or signed.
        """
        uri = f"{self.url}/{name}"
        if not exists_remote(uri):
            write_remote(uri, data)
        return self.sign(uri)

    def sign(self, uri: str) -> str:
        """An address of any object of the storage that a browser can open."""
        return signed_url(uri, self.seconds, self.settings.storages)

    def remove(self, name: str) -> bool:
        """Take a picture away; whether it was there."""
        return delete_remote(f"{self.url}/{name}")

    def renewed(self, address: str) -> str | None:
        """A new address for one of ours that is past half of its time; ``None`` where that is not needed."""
        uri = self._uri(address)
        end = expiry(address)
        if uri is None or end is None or end - now() > timedelta(seconds=self.seconds / 2):
            return None
        return self.sign(uri)

    def _uri(self, address: str) -> str | None:
        """The object behind a signed address, ``None`` for others. Buckets stand in the host or in the path."""
        parts = urlsplit(address)
        scheme, _, rest = self.url.partition("://")
        bucket = rest.split("/", 1)[0]
        path = unquote(parts.path).lstrip("/")
        if path.startswith(f"{bucket}/"):
            return f"{scheme}://{path}"
        return f"{scheme}://{bucket}/{path}" if parts.netloc.startswith(f"{bucket}.") else None


def expiry(address: str) -> datetime | None:
    """When a signed address ends to be good, ``None`` for one that is not signed in a known way."""
    query = {name.lower(): values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    if "se" in query:  # Azure says the end itself
        return datetime.fromisoformat(query["se"]).astimezone(UTC)
    for kind in ("x-amz", "x-goog"):
        if f"{kind}-date" in query and f"{kind}-expires" in query:
            begun = datetime.strptime(query[f"{kind}-date"], SIGNED_AT).replace(tzinfo=UTC)
            return begun + timedelta(seconds=int(query[f"{kind}-expires"]))
    if "expires" in query:  # S3 before signature version 4
        return datetime.fromtimestamp(int(query["expires"]), UTC)
    return None


def renew_addresses(client: LabelStudio, bucket: Bucket, projects: Sequence[int]) -> int:
    """Give every task whose addresses are past half of their time new ones; how many tasks were.

    Raises:
        ServiceError: Label Studio does not do as asked.
    """
    count = 0
    for number in projects:
        for task, data in _stale(bucket, studio.export_tasks(client, number, everything=True)):
            studio.set_data(client, task, data)
            count += 1
    return count


def _stale(bucket: Bucket, tasks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    for task in tasks:
        fresh = {
            name: address
            for name, value in task["data"].items()
            if isinstance(value, str) and (address := bucket.renewed(value)) is not None
        }
        if fresh:
            yield int(task["id"]), {**task["data"], **fresh}
