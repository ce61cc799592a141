"""What can be checked of the containers without running them: names, secrets, networks, commands, dashboards."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from redis import Redis
from redis.exceptions import RedisError

from annotator.cli.app import app
from annotator.jobs import metrics
from annotator.labelstudio.server import BANNED_SUBNETS, free_port
from annotator.pipeline.gauges import Gauges
from annotator.settings import SECRETS_DIR, Settings, load_settings
from annotator.store.runs import BatchRow, RunRow
from annotator.store.session import Store
from ml_backend.metrics import Metrics
from tests.helpers.deployment import program, wait_for
from tests.unit.images.conftest import corridor_store  # noqa: F401 - a fixture

DOCKER = Path(__file__).parents[2] / "docker"
ONCE = {"bucket", "migrate", "review-setup"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: one for name, one in compose["services"].items() if one["image"].startswith("annotator:")}


def test_everything_is_pinned_watched_and_closed(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert re.search(r":[\w.-]*\d", service["image"]) or service["image"].startswith("annotator:"), name
        assert "latest" not in service["image"]
        assert "healthcheck" in service or name in ONCE, name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} is open to the network"
    for name, service in ours(compose).items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name


def test_docker_compose_takes_the_file(tmp_path: Path) -> None:
    """The real command reads it, fills in secrets and profiles, and finds nothing that the format does not know."""
    command = _docker_compose()
    for name in (*DOCKER.glob("*.*"), DOCKER / "Dockerfile"):
        shutil.copy(name, tmp_path)
    subprocess.run(["sh", tmp_path / "make_secrets.sh"], check=True, capture_output=True)
    file = tmp_path / "compose.yaml"
    if command[0] == "docker-compose":  # the first generation wants a version and knows no name; the rest is the same
        named = file.read_text("utf-8")
        file.write_text('version: "3.9"\n' + named.replace("\nname: annotator\n", "\n"), "utf-8")
    profiles = ["--profile", "gpu", "--profile", "watch"]
    done = subprocess.run([*command, "-f", file, *profiles, "config"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"backend", "worker", "beat", "worker-gpu", "grafana"} <= set(yaml.safe_load(done.stdout)["services"])


def _docker_compose() -> list[str]:
    if shutil.which("docker"):
        known = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if known.returncode == 0:
            return ["docker", "compose"]
    if shutil.which("docker-compose") is None:
        assert os.environ.get("CI") != "true", "docker-compose is missing"
        pytest.skip("neither docker compose nor docker-compose is installed")
    return ["docker-compose"]


def test_whatever_is_named_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        assert set(service["networks"]) <= set(compose["networks"]), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DOCKER / source).exists() if source.startswith(".") else source in compose["volumes"], name
        for other, wanted in service.get("depends_on", {}).items():
            assert wanted["condition"] != "service_healthy" or "healthcheck" in services[other], f"{name}: {other}"
            assert (wanted["condition"] == "service_completed_successfully") == (other in ONCE), f"{name}: {other}"
        assert "profiles" in service or not any(
            "profiles" in services[other] for other in service.get("depends_on", {})
        ), name
    for name, service in ours(compose).items():
        assert name == "migrate" or "migrate" in service["depends_on"], f"{name} may find no tables"
    assert all((DOCKER / secret["file"]).parent == DOCKER / "secrets" for secret in compose["secrets"].values())


def test_what_is_copied_into_the_images_is_sent_to_the_builder() -> None:
    sent = [line[1:] for line in (DOCKER.parent / ".dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"]
    copied = [
        source
        for line in (DOCKER / "Dockerfile").read_text("utf-8").splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert len(copied) >= 8
    assert set(copied) <= set(sent)
    assert all((DOCKER.parent / source).exists() for source in copied)


def test_redis_takes_its_password_from_a_file(compose: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "redis_password").write_text("geheim")
    port = free_port()
    shell = compose["services"]["redis"]["command"][2].replace("$$", "$").replace("/run/secrets", str(tmp_path))
    server = program("redis-server")
    shell = shell.replace("docker-entrypoint.sh redis-server", server)
    shell = shell.replace("--appendonly yes", f"--port {port} --dir {tmp_path} --appendonly yes")
    with subprocess.Popen(["sh", "-c", shell], stdout=subprocess.DEVNULL) as process:
        try:
            url = f"redis://:geheim@127.0.0.1:{port}/0"
            wait_for(lambda: answers(url), 30)
            assert not answers(url.replace("geheim", "falsch"))
            with Redis.from_url(url) as client:
                assert client.config_get("appendonly", "maxmemory-policy") == {
                    "appendonly": "yes",
                    "maxmemory-policy": "noeviction",
                }
            assert "geheim" not in Path(f"/proc/{process.pid}/cmdline").read_text()
        finally:
            process.kill()


def answers(url: str) -> bool:
    with Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except (RedisError, OSError):
            return False


def test_no_password_stands_in_a_file_and_every_secret_is_made(compose: dict[str, Any], tmp_path: Path) -> None:
    shutil.copy(DOCKER / "make_secrets.sh", tmp_path)
    for _ in range(2):
        subprocess.run([tmp_path / "make_secrets.sh"], check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert {Path(one["file"]).name for one in compose["secrets"].values()} <= set(made)
    assert set(made) == set(compose["secrets"])
    assert len(set(made.values())) == len(made)
    assert all(len(text) >= 32 for text in made.values())
    assert re.fullmatch(r"[0-9a-f]{40}", made["annotator_label_studio_api_key"])
    for name, service in compose["services"].items():
        used = [one if isinstance(one, str) else one["source"] for one in service.get("secrets", ())]
        assert set(used) <= set(compose["secrets"]), name
        for key, value in service.get("environment", {}).items():
            is_secret = re.search("PASSWORD|SECRET|TOKEN|KEY", key) and not key.endswith(("_FILE", "__FILE"))
            assert not is_secret or value in ("true", "false"), f"{name}: {key}"


def test_settings_are_read_from_the_files_of_secrets(
    compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(DOCKER / "make_secrets.sh", tmp_path)
    subprocess.run([tmp_path / "make_secrets.sh"], check=True, capture_output=True)
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path / "secrets"))
    for key, value in compose["services"]["worker"]["environment"].items():
        filled = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
        monkeypatch.setenv(key, filled)
    settings = load_settings(tmp_path)
    password = (tmp_path / "secrets" / "postgres_password").read_text()
    assert settings.database_url == f"postgresql+psycopg://annotator:{password}@postgres:5432/annotator"
    assert settings.storages["s3"].endpoint_url == "http://minio:9000"
    assert settings.jobs_schedule == "30 2 * * *"
    assert settings.watch == ["s3://annotator/incoming"]
    assert password not in repr(settings.broker_url)
    assert len(settings.backend_password.get_secret_value() if settings.backend_password else "") == 48
    from fsspec.config import conf

    conf.pop("s3")


def test_variables_and_secrets_of_ours_are_settings(compose: dict[str, Any]) -> None:
    for service in ours(compose).values():
        names = [*service["environment"], *(name.upper() for name in service["secrets"])]
        unknown = {name.removeprefix("ANNOTATOR_").lower() for name in names} - set(Settings.model_fields)
        assert not unknown


def test_commands_are_understood(compose: dict[str, Any]) -> None:
    root = typer.main.get_command(app)
    checks = [service["healthcheck"]["test"][1] for service in ours(compose).values() if "healthcheck" in service]
    lines = [service["command"] for service in ours(compose).values()]
    lines += [shlex.split(check.replace("$$(hostname)", "h"))[1:] for check in checks]
    assert len(checks) >= 4
    for line in lines:
        filled = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", word) for word in line]
        command: Any = root
        context = click.Context(command, info_name="annotator")
        while getattr(command, "commands", None):
            command = command.commands[filled.pop(0)]
        command.make_context(command.name, filled, parent=context)


def test_label_studio_reaches_our_network_and_no_other_private_one(compose: dict[str, Any]) -> None:
    allowed = ipaddress.ip_network(compose["networks"]["inside"]["ipam"]["config"][0]["subnet"])
    listed = compose["services"]["label-studio"]["environment"]["USER_ADDITIONAL_BANNED_SUBNETS"]
    script = [sys.executable, str(DOCKER / "studio_networks.py"), str(allowed)]
    printed = subprocess.run(
        script, capture_output=True, text=True, check=True, cwd=DOCKER.parent, env={"PYTHONPATH": "."}
    )
    assert listed == printed.stdout.strip()
    banned = [ipaddress.ip_network(text) for text in listed.split(",")]
    assert not any(one.version == 4 and one.overlaps(allowed) for one in banned)
    for text in (*BANNED_SUBNETS, "127.0.0.0/8"):
        network = ipaddress.ip_network(text)
        covered = sum(
            one.num_addresses
            for one in banned
            if one.version == network.version and one.subnet_of(network)  # type: ignore[arg-type]
        )
        hole = allowed.num_addresses if network.version == 4 and allowed.subnet_of(network) else 0  # type: ignore[arg-type]
        assert covered == network.num_addresses - hole, text


def test_images_run_as_nobody_special() -> None:
    lines = (DOCKER / "Dockerfile").read_text("utf-8").splitlines()
    stages = [line.split() for line in lines if line.startswith("FROM")]
    assert {stage[-1] for stage in stages} >= {"cpu", "gpu"}
    assert re.fullmatch(r"ARG PYTHON=3\.11\.\d+-slim-bookworm", next(line for line in lines if line.startswith("ARG")))
    runtime = "\n".join(lines).split("AS runtime", 1)[1]
    assert re.search(r"^USER 10001:10001$", runtime, re.MULTILINE)
    assert not re.search(r"^USER (root|0)", runtime, re.MULTILINE)


def test_the_dashboard_asks_for_what_is_counted(corridor_store: Store) -> None:  # noqa: F811
    with corridor_store.write() as session:
        session.add(RunRow(job="nightly", started_by="t", software="1", counts={}, scheduled_for=_now()))
        session.flush()
        session.add(BatchRow(run_id=1, step="plan", number=1, queue="cpu", counts={}))
    registry = CollectorRegistry()
    registry.register(Gauges(corridor_store))
    for metric in (metrics.MODEL_SECONDS, metrics.BATCH_SECONDS, metrics.IMAGES, metrics.FAILURES):
        registry.register(metric)
    backend = Metrics()
    text = generate_latest(registry).decode() + backend.text().decode()
    known = set(re.findall(r"^# TYPE (annotator_\w+)", text, re.MULTILINE))
    dashboard = json.loads((DOCKER / "grafana" / "annotator.json").read_text("utf-8"))
    asked = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            asked |= set(re.findall(r"annotator_\w+", target["expr"]))
    assert len(asked) >= 12
    for name in asked:
        assert {name, name.removesuffix("_bucket"), name.removesuffix("_count")} & known, name


def _now() -> Any:
    from annotator.store.base import now

    return now()
