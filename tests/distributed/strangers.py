"""What somebody who is not of the job may send to its open ports."""

import contextlib
import os
import random
import secrets
import socket
import struct
from collections.abc import Iterator

import zmq
from zmq.utils import z85


def dial(endpoint: str) -> socket.socket:
    """A bare connection to one of ZeroMQ's endpoints."""
    scheme, _, place = endpoint.partition("://")
    if scheme == "ipc":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect("\0" + place[1:])
        return connection
    host, _, port = place.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=60)


def greeting(mechanism: bytes, version: int = 3, as_server: int = 0) -> bytes:
    """The first 64 bytes of ZeroMQ's protocol."""
    signature = b"\xff" + bytes(8) + b"\x7f"
    return (
        signature + bytes([version, 1]) + mechanism.ljust(20, b"\0") + bytes([as_server] + 31 * [0])
    )


def command(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """A command frame, which may lie about its size."""
    content = bytes([len(name)]) + name + body
    return b"\x06" + struct.pack(">Q", len(content) if size is None else size) + content


def garbage(rng: random.Random) -> Iterator[bytes]:
    """One of each kind."""
    yield b""  # a port scanner
    yield b"\n"
    yield b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield rng.randbytes(rng.randrange(1, 5000))
    yield b"\xff" * 1000
    yield b"\x01\x00\x05\x00hello"  # ZMTP 1.0 and 2.0, which know no keys
    yield greeting(b"NULL")[:10] + b"\x01\x05\x00\x00\x00\x05hello"
    for mechanism in (b"NULL", b"PLAIN", b"CURVE", b"GSSAPI", b"nonsense"):
        whole = greeting(mechanism)
        yield whole[: rng.randrange(1, len(whole))]
        yield whole
        yield whole + command(b"READY", b"\x0bSocket-Type\0\0\0\x04PAIR") + b"\0\x05hello"
        yield whole + command(b"HELLO", b"\x011\x08password")
        yield whole + command(b"HELLO", rng.randbytes(194))  # CURVE's has that many bytes
        yield whole + command(b"INITIATE", rng.randbytes(300))
        yield whole + command(b"HELLO", b"", 1 << 62)  # an announced size that nobody has
        yield whole + command(b"HELLO", rng.randbytes(1 << 16), 1 << 40)
        yield whole + rng.randbytes(1000)
    broken = bytearray(greeting(b"PLAIN") + command(b"HELLO", b"\x011\x08password"))
    for _ in range(3):
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
    yield bytes(broken)


def throw_garbage(endpoint: str, seed: int) -> list[socket.socket]:
    """Send one of each kind; returns the connections that are kept open (a slow loris)."""
    rng = random.Random(seed)
    kept = []
    for data in garbage(rng):
        connection = dial(endpoint)
        with contextlib.suppress(OSError):  # it may have hung up on us
            connection.sendall(data)
        if rng.random() < 0.3:
            kept.append(connection)
        else:
            connection.close()
    return kept


def impostors(context: zmq.Context, endpoint: str) -> list:
    """Genuine ZeroMQ sockets that try to pass for a rank, with everything but the right keys."""
    made = []
    for mechanism in ("null", "plain", "curve"):
        for user in ("0", "1", "root"):
            impostor = context.socket(zmq.PAIR)
            impostor.linger = 0
            if mechanism == "plain":
                impostor.plain_username = user.encode()
                impostor.plain_password = secrets.token_hex(32).encode()
            elif mechanism == "curve":
                impostor.curve_publickey, impostor.curve_secretkey = zmq.curve_keypair()
                impostor.curve_serverkey = zmq.curve_public(z85.encode(os.urandom(32)))
            impostor.connect(endpoint)
            with contextlib.suppress(zmq.Again):  # it may have been turned away already
                impostor.send(b"\x01" + bytes(31), zmq.NOBLOCK)
            made.append(impostor)
    return made
