"""Pulling from a server that speaks the hub's protocol: broken lines, damage, mirrors, local folders, no network."""

import hashlib
import json
import shutil

import pytest

from annotator.demo import weights_dir
from annotator.errors import InputError, ServiceError, UnknownName, WeightsInvalid, WeightsMissing
from annotator.model_options import ModelOptions
from annotator.predictors import catalogue, hub
from annotator.predictors import pull as pulling
from annotator.predictors.catalogue import Entry
from annotator.predictors.listing import listing
from annotator.predictors.pull import check_files, pull
from annotator.predictors.verify import verify
from annotator.predictors.weights import SOURCE_FILE
from annotator.settings import Settings
from tests.helpers.hub_server import COMMIT, HubServer

FILES = {path.name: path.read_bytes() for path in weights_dir("demo-mivolo").iterdir()}
SHA256 = hashlib.sha256(FILES["model.safetensors"]).hexdigest()


@pytest.fixture
def entry(monkeypatch):
    made = Entry(
        "small", "predictor", "mivolo", "Apache-2.0", 0.001, 1, "crops", repository="some/small", revision="main",
        files=("config.json", "model.safetensors"),
    )  # fmt: skip
    monkeypatch.setitem(catalogue.CATALOGUE, "small", made)
    monkeypatch.setattr(hub, "WAIT_S", 0.0)
    return made


@pytest.fixture
def server():
    with HubServer({"some/small": {**FILES, "README.md": b"not wanted"}}) as running:
        yield running


@pytest.fixture
def settings(server, tmp_path):
    return Settings(models_dir=tmp_path / "models", hub_endpoint=server.url)


def get(settings, said=None, source=None, name="small"):
    return pull(name, settings, (said if said is not None else []).append, lambda count: None, source)


def test_what_comes_is_whole_recorded_and_loads(entry, server, settings):
    said = []
    folder = get(settings, said)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", SOURCE_FILE}
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    record = json.loads((folder / SOURCE_FILE).read_text())
    assert record["sources"][0]["commit"] == COMMIT
    assert record["sources"][0]["files"]["model.safetensors"] == SHA256
    assert "Apache-2.0" in said[0]
    assert "not pinned" in said[1]
    found = verify("small", settings)
    assert found.compared == 2
    assert found.parameters > 1000
    sent = server.sent
    assert get(settings) == folder
    assert server.sent == sent


def test_an_interrupted_download_goes_on_where_it_stopped(entry, server, settings, monkeypatch):
    size = len(FILES["model.safetensors"])
    server.cut_after = size // 3

    def stopped(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(hub.time, "sleep", stopped)
    with pytest.raises(KeyboardInterrupt):
        get(settings)
    monkeypatch.undo()
    monkeypatch.setitem(catalogue.CATALOGUE, "small", entry)
    parts = list(settings.models_dir.rglob("model.safetensors.part"))
    assert [part.stat().st_size for part in parts] == [size // 3]
    server.cut_after, before = None, server.sent
    folder = get(settings)
    assert f"bytes={size // 3}-" in server.ranges
    assert server.sent - before < size
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_line_that_breaks_again_and_again_is_mended(entry, server, settings):
    server.cut_after = len(FILES["model.safetensors"]) // 7
    folder = get(settings)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert len(server.ranges) >= 8


def test_a_line_that_brings_nothing_ends(entry, server, settings):
    server.cut_after = 0
    with pytest.raises(ServiceError, match=r"no more than 0 of \d+ bytes"):
        get(settings)


def test_a_damaged_file_is_refused_and_fetched_anew(entry, server, settings):
    server.corrupt = {"model.safetensors"}
    with pytest.raises(WeightsInvalid, match=f"not {SHA256}"):
        get(settings)
    assert not (settings.models_dir / "small").exists()
    server.corrupt = set()
    assert check_files(get(settings))["model.safetensors"] == SHA256


def test_a_damaged_small_file_is_refused_by_its_git_name(entry, server, settings):
    server.repositories["some/small"]["config.json"] = FILES["config.json"][:900]
    server.corrupt = {"config.json"}
    with pytest.raises(WeightsInvalid, match="git blob"):
        get(settings)


def test_the_catalogues_sha256_counts_more_than_the_hubs(entry, server, settings, monkeypatch):
    wanted = Entry(
        "small", "predictor", "mivolo", "Apache-2.0", 0.001, 1, "crops", repository="some/small", revision="main",
        files=entry.files, sha256={"model.safetensors": "0" * 64},
    )  # fmt: skip
    monkeypatch.setitem(catalogue.CATALOGUE, "small", wanted)
    with pytest.raises(WeightsInvalid, match="0000"):
        get(settings)
    with pytest.raises(WeightsInvalid, match="0000"):
        get(settings, source=weights_dir("demo-mivolo"))


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_refusal_is_one_line_that_says_what_to_run_where(entry, server, settings, status):
    server.status = status
    with pytest.raises(ServiceError, match="pull small --from FOLDER") as caught:
        get(settings)
    assert "\n" not in str(caught.value)


def test_without_network_one_line_says_what_to_run_where(entry, settings):
    offline = settings.model_copy(update={"hub_endpoint": "http://127.0.0.1:9"})
    with pytest.raises(ServiceError, match=r"cannot reach .*pull small` where there is network.*HF_ENDPOINT"):
        get(offline)
    with pytest.raises(WeightsMissing, match="run `annotator models pull small`"):
        verify("small", offline)


def test_a_local_folder_instead_of_the_network(entry, server, settings, tmp_path):
    clone = tmp_path / "clones" / "small"
    shutil.copytree(weights_dir("demo-mivolo"), clone)
    folder = get(settings, source=clone.parent)
    assert verify("small", settings).compared == 2
    assert server.sent == 0
    elsewhere = Settings(models_dir=tmp_path / "other")
    again = get(elsewhere, source=folder)
    assert json.loads((again / SOURCE_FILE).read_text()) == json.loads((folder / SOURCE_FILE).read_text())
    with pytest.raises(WeightsMissing, match="holds none of"):
        get(Settings(models_dir=tmp_path / "third"), source=tmp_path)


def test_a_pulled_file_that_changed_is_found(entry, server, settings):
    folder = get(settings)
    data = bytearray(FILES["model.safetensors"])
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(WeightsInvalid, match="is not what was pulled"):
        verify("small", settings)


def test_weights_by_hand_are_one_file(settings, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"pull mivolo-384 --from FILE"):
        get(settings, name="mivolo-384")
    file = tmp_path / "model_imdb.pth.tar"
    file.write_bytes(b"anything")
    folder = get(settings, source=file, name="mivolo-384")
    assert (folder / "model.pth.tar").read_bytes() == b"anything"
    with pytest.raises(WeightsInvalid):
        verify("mivolo-384", settings)


def test_what_cannot_be_pulled(settings):
    for name, error in (("demo-mivolo", InputError), ("gpt-4o", InputError), ("nobody", UnknownName)):
        with pytest.raises(error):
            get(settings, name=name)


def test_the_list_knows_the_settings(settings, tmp_path):
    own = settings.model_copy(update={"models": {"mine": ModelOptions(weights="mivolo-384", inputs="face")}})
    rows = {row.name: row for row in listing(own)}
    assert rows["demo-mllm"].state == "here"
    assert rows["mivolo-v2-384"].pinned
    assert not rows["sharegpt4v-7b"].pinned
    assert rows["sharegpt4v-7b"].revision == "main"
    assert rows["gpt-4v"].state == "to configure"
    assert rows["mine"].options == {"weights": "mivolo-384", "inputs": "face"}
    assert pulling.SOURCE_FILE not in rows
