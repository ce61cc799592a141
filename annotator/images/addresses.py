"""Which network addresses an image may be fetched from: connections go only to addresses that were checked."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from annotator.errors import ImageError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]
"""Turns a host and a port into textual IP addresses."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order of the system's preference.

    Raises:
        OSError: the name is not known.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether an address is on the open internet, also when it hides an IPv4 address inside an IPv6 one.

    >>> is_public("93.184.216.34"), is_public("127.0.0.1"), is_public("::ffff:10.0.0.1")
    (True, False, False)
    """
    ip = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    special = ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback or ip.is_link_local
    return ip.is_global and not special


def _unwrapped(ip: IPAddress) -> IPAddress:
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    teredo = ip.teredo[1] if ip.teredo else None
    return ip.ipv4_mapped or ip.sixtofour or teredo or ip


class GuardedBackend(httpcore.NetworkBackend):
    """Opens sockets for httpcore: resolves once, checks every address, connects to a checked one, keeps a deadline.

    Connecting to the address that was checked (and not to the name again) leaves no gap for a name that changes its
    address in between. ``deadline`` is a ``time.monotonic()`` value that ends every read and write, however slowly
    the other side drips its bytes.
    """

    def __init__(
        self,
        is_allowed: Callable[[str, int], bool],
        deadline: float,
        connect_seconds: float,
        resolver: Resolve = resolve,
    ) -> None:
        self._is_allowed, self._deadline = is_allowed, deadline
        self._connect_seconds, self._resolve = connect_seconds, resolver
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A stream to the first checked address that answers.

        Raises:
            ImageError: the host is private (``private_address``) or unknown (``unreachable``).
            httpcore.ConnectError, httpcore.ConnectTimeout: nobody answers there.
        """
        addresses = self._checked(host, port)
        limit = min(timeout or self._connect_seconds, self._connect_seconds)
        for position, address in enumerate(addresses):
            try:
                stream = self._sockets.connect_tcp(
                    address, port, _left(self._deadline, limit), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if position + 1 == len(addresses):
                    raise
            else:
                return _DeadlineStream(stream, self._deadline)
        raise ImageError("unreachable", f"host {host} has no address")

    def _checked(self, host: str, port: int) -> list[str]:
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise ImageError("unreachable", f"host {host} is not known") from error
        private = [address for address in addresses if not is_public(address)]
        if private and not self._is_allowed(host, port):
            raise ImageError(
                "private_address",
                f"host {host} is on a private network ({private[0]}); add it to allow_hosts if its images are wanted",
            )
        return addresses


class _DeadlineStream(httpcore.NetworkStream):
    """A stream whose reads and writes end at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Some bytes, before the deadline."""
        return self._stream.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes, before the deadline."""
        self._stream.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        """Close the socket."""
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same stream under TLS, with the certificate checked against the name."""
        secured = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline, timeout))
        return _DeadlineStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks of the socket."""
        return self._stream.get_extra_info(info)


def _left(deadline: float, limit: float | None) -> float:
    """Seconds until the deadline, at most ``limit``."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the deadline has passed")
    return left if limit is None else min(left, limit)
