"""An S3 on this machine (moto), and settings that lead to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from pydantic import SecretStr

from annotator.images.remote import file_system
from annotator.labelstudio.server import free_port
from annotator.storage_options import StorageOptions, remember

BUCKET = "people"


@contextmanager
def object_storage() -> Iterator[dict[str, StorageOptions]]:
    """Options of a fresh S3 with one empty bucket, in force for fsspec in this process."""
    import fsspec
    from fsspec.config import conf

    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    storages = {
        "s3": StorageOptions(
            endpoint_url=f"http://127.0.0.1:{port}", key="key", secret=SecretStr("secret"), region="eu-central-1"
        )
    }
    try:
        remember(storages)
        file_system(f"s3://{BUCKET}")[0].mkdir(BUCKET)
        yield storages
    finally:
        conf.pop("s3", None)
        fsspec.filesystem("s3").clear_instance_cache()
        server.stop()
