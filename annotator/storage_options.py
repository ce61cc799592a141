"""How object storages are reached: ``[storages.s3]``, ``[storages.gs]`` and ``[storages.az]`` of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

SCHEMES = ("s3", "gs", "az")
"""Object storages whose images can be registered, read and shown."""


OF_SCHEME = {
    "s3": frozenset({"endpoint_url", "public_endpoint_url", "region", "key", "secret"}),
    "gs": frozenset({"endpoint_url", "key"}),
    "az": frozenset({"account_name", "account_key"}),
}
"""Which options each kind of storage has."""


class StorageOptions(BaseModel):
    """One kind of storage. What is not set comes from where its own tools look (``AWS_*``, instance roles, ...)."""

    model_config = ConfigDict(extra="forbid")

    endpoint_url: str | None = Field(default=None, description="address of an S3-like server, such as MinIO")
    public_endpoint_url: str | None = Field(default=None, description="the same server as browsers reach it")
    region: str | None = None
    key: str | None = Field(default=None, description="S3: the access key; Google: the file of a service account's key")
    secret: SecretStr | None = None
    account_name: str | None = Field(default=None, description="Azure: the storage account")
    account_key: SecretStr | None = Field(default=None, description="Azure: its key")

    def arguments(self, scheme: str, *, public: bool = False) -> dict[str, Any]:
        """What fsspec's file system of that scheme takes; ``public`` is for addresses that browsers will open."""
        if scheme == "az":
            secret = self.account_key.get_secret_value() if self.account_key else None
            return _given({"account_name": self.account_name, "account_key": secret})
        if scheme == "gs":
            return _given({"endpoint_url": self.endpoint_url, "token": self.key})
        secret = self.secret.get_secret_value() if self.secret else None
        endpoint = (self.public_endpoint_url if public else None) or self.endpoint_url
        client = _given({"region_name": self.region})
        return _given({"endpoint_url": endpoint, "key": self.key, "secret": secret, "client_kwargs": client or None})


def checked(storages: dict[str, StorageOptions]) -> dict[str, StorageOptions]:
    """The same, where every option has an effect.

    Raises:
        ValueError: there is no such kind of storage, or it has no such option; says which it has.
    """
    for scheme, options in storages.items():
        if scheme not in OF_SCHEME:
            raise ValueError(f"there is no kind of storage '{scheme}'; known are {', '.join(SCHEMES)}")
        unknown = options.model_fields_set - OF_SCHEME[scheme]
        if unknown:
            has = ", ".join(sorted(OF_SCHEME[scheme]))
            raise ValueError(f"{scheme} has no {', '.join(sorted(unknown))}; it has {has}")
    return storages


def remember(storages: Mapping[str, StorageOptions]) -> None:
    """Have everything in this process that reads from these storages use these options: fsspec's own configuration."""
    if not storages:
        return
    from fsspec.config import conf

    for scheme, options in storages.items():
        conf[scheme] = options.arguments(scheme)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
