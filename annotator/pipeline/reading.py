"""The bytes of registered images, wherever they lie."""

from __future__ import annotations

from annotator.images.fetch import Fetcher, FetchRules
from annotator.images.places import read_uri
from annotator.labelstudio.client import Credentials
from annotator.settings import Settings

WEB = ("http://", "https://")


class Reader:
    """Reads image addresses: files and archives directly, web addresses through the guarded client.

    Safe to use from several threads.
    """

    def __init__(self, settings: Settings) -> None:
        url, key = settings.label_studio_url, settings.label_studio_api_key
        headers = Credentials(url, key.get_secret_value()).headers if url and key else None
        self._fetcher = Fetcher(FetchRules.from_settings(settings), headers)
        self._max_bytes = settings.max_image_bytes

    def read(self, uri: str) -> bytes:
        """The bytes behind an image's ``uri``.

        Raises:
            ImageError: they cannot be had; says why.
        """
        return self._fetcher.read(uri) if uri.startswith(WEB) else read_uri(uri, self._max_bytes)
