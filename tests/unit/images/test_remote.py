"""Object storages: a real S3 server (moto), read, listed, signed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from annotator.errors import ConfigurationError, ImageError, InputError
from annotator.images.places import read_uri
from annotator.images.remote import file_system, read_remote, signed_url, write_remote
from annotator.images.sources import iter_sources
from annotator.pipeline.export import export
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.review.bucket import Bucket, expiry
from annotator.settings import Settings, load_settings
from annotator.storage_options import StorageOptions
from annotator.store.base import now
from annotator.store.session import Store
from annotator.store.tables import FailureRow
from tests.helpers.models import MeanPredictor, model_set
from tests.helpers.pictures import picture
from tests.helpers.s3 import BUCKET, object_storage


@pytest.fixture(scope="module")
def storages() -> Iterator[dict[str, StorageOptions]]:
    with object_storage() as made:
        yield made


@pytest.fixture
def place(storages: dict[str, StorageOptions], request: pytest.FixtureRequest) -> str:
    """A prefix of its own with two pictures, one of them deeper, a side file and a hidden one."""
    prefix = f"s3://{BUCKET}/{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"
    files = {"b.png": picture(2), "a/1.png": picture(1), "notes.txt": b"hello", ".hidden/c.png": picture(3)}
    for name, data in files.items():
        write_remote(f"{prefix}/{name}", data)
    return prefix


def test_listing_and_reading(place: str) -> None:
    items = list(iter_sources([place + "/"]))
    assert [item.name for item in items] == ["a/1.png", "b.png"]
    assert [item.read() for item in items] == [picture(1), picture(2)]
    assert items[0].uri == f"{place}/a/1.png"
    assert [item.name for item in iter_sources([f"{place}/b.png"])] == ["b.png"]
    with pytest.raises(InputError, match="there is nothing at"):
        next(iter(iter_sources([f"{place}/nobody"])))


def test_what_cannot_be_read_has_a_reason(place: str) -> None:
    for uri, limit, reason in ((f"{place}/no.png", 10**6, "missing_file"), (f"{place}/b.png", 10, "too_many_bytes")):
        with pytest.raises(ImageError) as caught:
            read_uri(uri, limit)
        assert caught.value.reason == reason
    with pytest.raises(ImageError) as caught:
        read_remote("s3://no-such-bucket/a.png", 10)
    assert caught.value.reason in ("missing_file", "no_permission")


def test_from_bucket_to_dataset_and_a_changed_object_is_noticed(
    place: str, corridor_store: Store, tmp_path: Path
) -> None:
    settings = Settings(root=tmp_path, batch_images=4)
    report = ingest(corridor_store, settings, [place])
    assert (report.new, report.failed) == (2, {})
    assert ingest(corridor_store, settings, [place]).known == 2
    prelabel(corridor_store, settings, model_set())
    manifest = export(corridor_store, settings, tmp_path / "out")
    assert manifest.counts.images == 2
    assert (tmp_path / "out" / "images" / "b.png").read_bytes() == picture(2)
    assert not (tmp_path / "out" / "images" / "b.png").is_symlink()
    write_remote(f"{place}/b.png", picture(77))
    prelabel(corridor_store, settings, model_set(MeanPredictor(version="2")))
    with corridor_store.read() as session:
        assert session.scalars(select(FailureRow.reason)).all() == ["changed"]


def test_signed_addresses_open_without_an_account_and_are_renewed(
    place: str, storages: dict[str, StorageOptions], tmp_path: Path
) -> None:
    settings = Settings(root=tmp_path, pictures_url=place, storages=storages)
    bucket = Bucket.of(settings)
    assert bucket is not None
    address = bucket.publish("annotator/x.jpg", b"picture")
    assert httpx.get(address).content == b"picture"
    end = expiry(address)
    assert end is not None
    assert 6.9 * 86_400 < (end - now()).total_seconds() <= 7 * 86_400
    assert bucket.renewed(address) is None
    short = signed_url(f"{place}/annotator/x.jpg", 60, storages)
    fresh = bucket.renewed(short)
    assert fresh is not None
    assert httpx.get(fresh).content == b"picture"
    assert bucket.renewed("http://elsewhere.example/a.jpg?X-Amz-Date=20200101T000000Z&X-Amz-Expires=5") is None
    assert bucket.remove("annotator/x.jpg")
    assert not bucket.remove("annotator/x.jpg")


def test_browsers_get_the_public_address(place: str, storages: dict[str, StorageOptions]) -> None:
    public = {"s3": storages["s3"].model_copy(update={"public_endpoint_url": "https://pictures.example"})}
    assert signed_url(f"{place}/b.png", 60, public).startswith(f"https://pictures.example/{BUCKET}/")


def test_settings_name_storages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "annotator.toml").write_text('[storages.s3]\nendpoint_url = "http://minio:9000"\nregion = "eu-1"\n')
    monkeypatch.setenv("ANNOTATOR_STORAGES", '{"s3": {"secret": "hush"}}')
    settings = load_settings(tmp_path)
    assert settings.storages["s3"].arguments("s3")["endpoint_url"] == "http://minio:9000"
    assert "hush" not in repr(settings)
    from fsspec.config import conf

    assert conf.pop("s3")["client_kwargs"] == {"region_name": "eu-1"}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('[storages.az]\nregion = "eu"', "az has no region; it has account_key, account_name"),
        ('[storages.gs]\npublic_endpoint_url = "https://x"', "gs has no public_endpoint_url"),
        ('[storages.gcs]\nkey = "k.json"', "no kind of storage 'gcs'; known are s3, gs, az"),
    ],
)
def test_options_without_effect_are_refused(tmp_path: Path, table: str, says: str) -> None:
    (tmp_path / "annotator.toml").write_text(table)
    with pytest.raises(ConfigurationError, match=says):
        load_settings(tmp_path)


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_a_storage_whose_package_is_missing_says_which(scheme: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"pip install 'annotator\[{scheme}\]'"):
        file_system(f"{scheme}://bucket/a.jpg")
    with pytest.raises(ConfigurationError, match="pictures_url must be s3"):
        Bucket.of(Settings(pictures_url="/somewhere"))
