"""``python docker/studio_networks.py``: what Label Studio must not reach, which is all private networks but ours.

Label Studio 1.23 refuses private addresses, where our backend is. Switching that off would open everything; instead
its own list is kept, with a hole that is exactly the network of the compose file.
"""

from __future__ import annotations

import ipaddress
import sys
from itertools import chain

from annotator.labelstudio.server import BANNED_SUBNETS

LOOPBACK = "127.0.0.0/8"


def banned(allowed: str) -> list[str]:
    """All networks of Label Studio's own list, without ``allowed``."""
    hole = ipaddress.ip_network(allowed)
    networks = (ipaddress.ip_network(text) for text in (*BANNED_SUBNETS, LOOPBACK))
    parts = (
        network.address_exclude(hole) if network.version == hole.version and hole.subnet_of(network) else [network]
        for network in networks
    )
    return [str(network) for network in chain.from_iterable(sorted(part) for part in parts)]


if __name__ == "__main__":
    print(",".join(banned(sys.argv[1])))  # noqa: T201
