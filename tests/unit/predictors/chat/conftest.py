"""The chat server as a fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.chat_server import ChatServer


@pytest.fixture
def server() -> Iterator[ChatServer]:
    chat = ChatServer()
    yield chat
    chat.close()
