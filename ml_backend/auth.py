"""Who may talk to the backend: HTTP basic auth for Label Studio, a shared header for its webhooks."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

from annotator.errors import ConfigurationError
from annotator.pipeline.review.studio import webhook_secret
from annotator.settings import Settings


@dataclass(frozen=True, slots=True)
class Guard:
    """Compares credentials in constant time. ``None`` means that no such credential is asked for."""

    basic: tuple[bytes, bytes] | None
    secret: bytes | None

    @classmethod
    def from_settings(cls, settings: Settings) -> Guard:
        """The guard that the settings ask for.

        Raises:
            ConfigurationError: only one of user and password is set.
        """
        user, password = settings.backend_user, settings.backend_password
        if bool(user) != bool(password and password.get_secret_value()):
            raise ConfigurationError("set both backend_user and backend_password, or neither")
        secret = webhook_secret(settings)
        return cls(
            basic=(user.encode(), password.get_secret_value().encode()) if user and password else None,
            secret=secret.encode() if secret else None,
        )

    def admits(self, authorization: str | None) -> bool:
        """Whether an ``Authorization`` header opens the ordinary routes."""
        return self.basic is None or self._is_basic(authorization)

    def admits_webhook(self, authorization: str | None, secret: str | None) -> bool:
        """Whether a webhook is heard: the shared secret, or basic auth, where either is asked for.

        Label Studio's own webhooks carry no basic auth; its START_TRAINING call carries no header.
        """
        if self.basic is None and self.secret is None:
            return True
        by_secret = self.secret is not None and hmac.compare_digest((secret or "").encode(), self.secret)
        return by_secret or (self.basic is not None and self._is_basic(authorization))

    def _is_basic(self, authorization: str | None) -> bool:
        if self.basic is None:
            return False
        user, password = _credentials(authorization or "")
        user_fits = hmac.compare_digest(user, self.basic[0])
        return hmac.compare_digest(password, self.basic[1]) and user_fits


def _credentials(authorization: str) -> tuple[bytes, bytes]:
    """User and password of a basic ``Authorization`` header; both empty where it is not one."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        decoded = b""
    user, _, password = decoded.partition(b":")
    return user, password
