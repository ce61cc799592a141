"""A Label Studio of one's own on this machine: started from its own virtual environment, stopped with everything."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from annotator.errors import ServiceError, StorageError
from annotator.labelstudio.client import wait_until_up

LOOPBACK = "127.0.0.1"
BOOT_SECONDS = 600.0
"""A first start compiles and migrates: 95 s measured on two idle cores, 220 s on busy ones."""

BANNED_SUBNETS = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
    "240.0.0.0/4", "::/128", "::1/128", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48",
    "100::/64", "2001:0000::/32", "2001:20::/28", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8",
)  # fmt: skip
"""Where Label Studio may not send requests: its own default list without 127.0.0.0/8, where the backend listens."""


@dataclass(frozen=True, slots=True)
class Account:
    """The first user of a Label Studio; made at random once, then kept."""

    email: str
    password: str
    token: str

    @classmethod
    def kept_in(cls, path: Path) -> Account:
        """The account in a file that only its owner can read; made if there is none.

        Raises:
            StorageError: the file cannot be written, or is not an account.
        """
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            return cls._make(path)
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(f"{path} is not an account file; move it away to have a new one made") from error

    @classmethod
    def _make(cls, path: Path) -> Account:
        account = cls("annotator@example.com", secrets.token_urlsafe(12), secrets.token_hex(20))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(asdict(account), file, indent=1)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}") from error
        return account


class LabelStudioServer:
    """One running Label Studio; a context manager that stops it in the end.

    ``folder`` keeps its database, uploads and log; ``files`` is what it may serve as local files.
    """

    def __init__(self, venv: Path, folder: Path, account: Account, *, port: int, files: Path | None = None) -> None:
        self._program, self._folder, self._account = venv / "bin" / "label-studio", folder, account
        self._port, self._files = port, files
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def log(self) -> Path:
        """What it writes."""
        return self._folder / "label-studio.log"

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, without waiting until it answers.

        Raises:
            ServiceError: it is not installed, or its port is taken.
        """
        if not self._program.is_file():
            raise ServiceError(f"there is no Label Studio in {self._program.parent.parent}; `make studio` installs it")
        # Label Studio would silently take the next port
        require_free(self._port)
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [str(self._program.absolute()), "start", "--no-browser", "--internal-host", LOOPBACK]
        with self.log.open("ab") as log:
            # a session of its own: Ctrl-C reaches us alone, and we stop it in order
            self._process = subprocess.Popen(
                [*command, "--port", str(self._port)],
                env=self._environment(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, seconds: float = BOOT_SECONDS) -> None:
        """Wait until it answers.

        Raises:
            ServiceError: it ended or took too long; names its log.
        """
        try:
            wait_until_up(self.url, seconds=seconds, alive=lambda: self.is_running)
        except ServiceError as error:
            raise ServiceError(f"{error}; see {self.log}") from error

    def stop(self, seconds: float = 10.0) -> None:
        """Stop it and all that it started."""
        if self._process is None:
            return
        for sign, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, seconds)):
            if not self._signal(sign):
                break
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
            break
        self._process = None

    def _signal(self, sign: signal.Signals) -> bool:
        """Signal the whole session; whether there was still something to signal."""
        if self._process is None or self._process.poll() is not None:
            return False
        os.killpg(self._process.pid, sign)
        return True

    def _environment(self) -> Mapping[str, str]:
        foreign = ("LABEL_STUDIO_", "HEARTEX_", "DJANGO_", "PYTHON", "ANNOTATOR_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        ours = studio_environment(self._account, self._folder.resolve(), self.url)
        if self._files is not None:
            ours["LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED"] = "true"
            ours["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] = str(self._files.resolve())
        return kept | ours


def studio_environment(account: Account, folder: Path, url: str) -> dict[str, str]:
    """Variables of a Label Studio that reaches a backend on this machine, and that reports to nobody."""
    return {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_USERNAME": account.email,
        "LABEL_STUDIO_PASSWORD": account.password,
        "LABEL_STUDIO_USER_TOKEN": account.token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_HOST": url,
        "USE_DEFAULT_BANNED_SUBNETS": "false",
        "USER_ADDITIONAL_BANNED_SUBNETS": ",".join(BANNED_SUBNETS),
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "false",
    }


def require_free(port: int) -> None:
    """Make sure that nothing listens on a port of this machine.

    Raises:
        ServiceError: something does.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        if probe.connect_ex((LOOPBACK, port)) == 0:
            raise ServiceError(f"port {port} is taken; stop what listens there or name another port")


def free_port() -> int:
    """A port of this machine that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
