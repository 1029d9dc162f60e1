"""Where a rank listens: which of the machine's addresses, and which transport.

Ranks on one host meet over ipc, and large messages go through shared memory (shared_memory.py).
With MINITORCH_TRANSPORT=ipc all of it goes through the sockets, with =tcp through the loopback
interface. For a rank on another host it is the address that a packet to that host would carry,
which the kernel knows. So a host name that means 127.0.1.1 at home does no harm, a machine in
several networks uses the one that leads to the peer, and nothing ever listens on all interfaces.
Where the kernel's choice is wrong, MINITORCH_INTERFACE names an interface (eth0) or address to
listen on.

PyTorch: GLOO_SOCKET_IFNAME, and gloo/transport/tcp/device.cc.
"""

import os
import secrets
import socket
import sys
from pathlib import Path

from minitorch.distributed.errors import DistNetworkError

TRANSPORTS = ("memory", "ipc", "tcp")


def host_identity() -> str:
    """A name that two processes share exactly if they can reach each other over ipc."""
    if sys.platform != "linux":
        return socket.gethostname()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/net')}"


def same_host_endpoint() -> str:
    """Where to listen for a rank of this host; a tcp port is left to the system to choose.

    The ipc name is an abstract one (Linux): it is no file, so nothing is left behind by a crash.
    """
    if _transport() != "tcp" and sys.platform == "linux":
        return f"ipc://@minitorch-{secrets.token_hex(16)}"
    return "tcp://127.0.0.1:*"


def shares_memory() -> bool:
    """Whether ranks of one host use shared memory for large messages."""
    return _transport() == "memory" and hasattr(os, "memfd_create")


def network_endpoint(peer_address: str) -> str:
    """Where to listen for a rank of another host, which has reached the store as `peer_address`.

    Raises DistNetworkError if that address only leads back to this machine.
    """
    interface = os.environ.get("MINITORCH_INTERFACE")
    if not interface:
        interface = _address_towards(peer_address)
        if interface == "::1" or interface.startswith("127."):
            raise DistNetworkError(
                f"a rank on another host gave {peer_address!r} as its address, which from here "
                "leads back to this machine: set MASTER_ADDR to an address of rank 0's host in the "
                "network that all hosts share, or MINITORCH_INTERFACE to the interface to use"
            )
    return f"tcp://[{interface}]:*" if ":" in interface else f"tcp://{interface}:*"


def _transport() -> str:
    transport = os.environ.get("MINITORCH_TRANSPORT", TRANSPORTS[0])
    if transport not in TRANSPORTS:
        raise ValueError(
            f"MINITORCH_TRANSPORT must be one of {', '.join(TRANSPORTS)}, not {transport!r}"
        )
    return transport


def _address_towards(host: str) -> str:
    """This machine's address on the way to `host`. Connecting a UDP socket sends nothing."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return probe.getsockname()[0]
    except OSError as error:
        raise DistNetworkError(
            f"no way to {host!r}, the address of a rank on another host: {error.strerror or error}"
        ) from error
