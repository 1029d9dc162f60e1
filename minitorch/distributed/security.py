"""Who can get in: the job's secret, and what is made of it.

Collectives add what comes into the user's arrays and may unpickle it, which lets whoever sent it
run code. So a message is looked at only if its sender has proved to know the job's *secret*:
random bytes that are never sent anywhere.

Where the secret comes from:
- `minitorchrun` on one host draws it, and hands it to its workers in their environment, which
  other users cannot read (/proc/PID/environ is open to the process's own user and root alone).
- `multiprocessing.spawn` does so as well, for a job of just the processes that it starts.
- For several hosts somebody puts it into a file, MINITORCH_SECRET_FILE, readable by its owner only.
- A script started by hand or by another launcher has none. Then the job's number, which rank 0
  leaves in the store, has to do: it keeps apart jobs that meet by accident, and keeps out whoever
  cannot reach the store, but nobody else.

What it is used for: every key below is HMAC(secret, job number, purpose), so all ranks can work out
all keys and none has to be sent. They sign what they leave in the store, so that nobody can send
them elsewhere. Each connection has a listener and a caller, and ZeroMQ's own handshake lets the
caller in if it shows
- CURVE, the default: its rank's key, and the listener proves its own. Everything is encrypted.
- PLAIN, with MINITORCH_ENCRYPT=network on one host, with =never anywhere: the password of this
  pair. Nothing is encrypted.
Within a host the data takes another way: through pipes (streams.py) and shared memory
(shared_memory.py), which only the user's own processes, and root, can open. Who could listen in
there can read our memory anyway, so it is not encrypted, and encryption by default costs nothing.
Between hosts it makes a large all_reduce several times slower (docs/security.md); where it is
switched off, the data goes over plain TCP connections, which ask for a password, too (gate.py).

`Doorkeeper` decides who is let in. When all ranks are in it is gone, and with it every way in.

An attacker on this host, another user: sees that the job runs and where it listens; may connect
there, and is turned away. Gets neither data nor code in. Processes of the *same* user, and root,
can do anything to the job, here as everywhere in Unix.
An attacker on the network, with a secret file in use: sees addresses, times and sizes; cannot read,
change, replay or add a message. May cut or flood connections, which ends the job with an error.
Either may write into the store if it can reach its port, for the store speaks PyTorch's protocol,
which has no passwords: the job may fail to start, with an error, but no secret is in there and
nothing from there is unpickled.

PyTorch has nothing of this: torch.distributed trusts its network (its SECURITY.md says so).
"""

import contextlib
import hmac
import os
import stat
from collections import Counter
from typing import Any

import zmq
from zmq.utils import z85

from minitorch.distributed.log import logger

ENCRYPT = ("always", "network", "never")
SHORTEST_SECRET = 16


def job_secret(world_size: int) -> bytes:
    """The secret that this process was given for a job of this size; empty if none.

    Raises ValueError for a secret file that is missing, too short, or open to others.
    """
    path = os.environ.get("MINITORCH_SECRET_FILE")
    if path:
        return _read_secret(path)
    launchers = os.environ.get("MINITORCH_SECRET", "")
    return (launchers or _offered.get(world_size, "")).encode()


_offered: dict[int, str] = {}


def offer_secret(secret: str, world_size: int) -> None:
    """Take this secret for jobs of `world_size` ranks, if there is no other.

    The size matters: processes that were spawned together may be but a part of a job, whose other
    ranks (of another node) have another secret, and then none must be used.
    """
    _offered.clear()
    _offered[world_size] = secret


def _read_secret(path: str) -> bytes:
    remedy = (
        "Make one with  (umask 077; head -c 32 /dev/urandom | base64 > FILE)  and copy it "
        "to all hosts"
    )
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            secret = file.read(4096).strip()
    except OSError as error:
        raise ValueError(f"MINITORCH_SECRET_FILE: {path}: {error.strerror}. {remedy}") from error
    if status.st_uid not in (os.getuid(), 0) or status.st_mode & 0o077:
        raise ValueError(
            f"MINITORCH_SECRET_FILE: {path} is {stat.filemode(status.st_mode)} and belongs to user "
            f"{status.st_uid}: only you may be able to read or write it (chmod 600 {path})"
        )
    if len(secret) < SHORTEST_SECRET:
        raise ValueError(
            f"MINITORCH_SECRET_FILE: {path} holds {len(secret)} bytes, "
            f"at least {SHORTEST_SECRET} are needed. {remedy}"
        )
    return secret


def encrypts(same_host: bool) -> bool:
    """Whether what two ranks say to each other through sockets is encrypted."""
    choice = os.environ.get("MINITORCH_ENCRYPT", ENCRYPT[0])
    if choice not in ENCRYPT:
        raise ValueError(f"MINITORCH_ENCRYPT must be one of {', '.join(ENCRYPT)}, not {choice!r}")
    if choice == "never" or (choice == "network" and same_host):
        return False
    if not zmq.has("curve"):
        raise ValueError(
            "the installed pyzmq cannot encrypt (zmq.has('curve') is False): install one that can, "
            "as its wheels do, or set MINITORCH_ENCRYPT=never if you trust the network"
        )
    return True


class Keys:
    """All keys of the job with this number, made of `secret`."""

    def __init__(self, secret: bytes, job: bytes) -> None:
        self._root = hmac.digest(secret, job, "sha256")

    def sign(self, name: str, text: str) -> str:
        """`text` with a signature, to be left in the store under `name`."""
        return f"{self._derive(f'sign {name} {text}').hex()} {text}"

    def verify(self, name: str, signed: str) -> str | None:
        """The text, or None if it was not signed with this job's secret for that name."""
        text = signed.partition(" ")[2]
        good = hmac.compare_digest(self.sign(name, text).encode(), signed.encode())
        return text if good else None

    def password(self, listener: int, caller: int) -> bytes:
        """With which rank `caller` is let in where rank `listener` waits for it."""
        return self._derive(f"{listener} hears {caller}").hex().encode()

    def stream_password(self, listener: int, caller: int) -> bytes:
        """The same, for the data that `caller` sends to `listener` (gate.py)."""
        return self._derive(f"{listener} takes data of {caller}").hex().encode()

    def curve_pair(self, rank: int) -> tuple[bytes, bytes]:
        """A rank's public and secret CURVE key, in ZeroMQ's own notation."""
        secret = z85.encode(self._derive(f"curve key of {rank}"))
        return zmq.curve_public(secret), secret

    def show(self, socket: Any, listener: int, caller: int, encrypted: bool) -> None:
        """Let `socket`, about to connect to `listener`, show that it belongs to `caller`."""
        if encrypted:
            socket.curve_serverkey, _ = self.curve_pair(listener)
            socket.curve_publickey, socket.curve_secretkey = self.curve_pair(caller)
        else:
            socket.plain_username = str(caller).encode()
            socket.plain_password = self.password(listener, caller)

    def _derive(self, purpose: str) -> bytes:
        return hmac.digest(self._root, purpose.encode(), "sha256")


class Doorkeeper:
    """Says yes or no to those who connect to this rank's guarded sockets.

    ZeroMQ's handshake asks on the inner address inproc://zeromq.zap.01 (ZAP, its RFC 27). As
    long as nobody is there to `answer`, nobody gets in.
    """

    def __init__(self, context: zmq.Context, keys: Keys, rank: int) -> None:
        self.socket = context.socket(zmq.REP)
        self.socket.bind("inproc://zeromq.zap.01")
        self._keys = keys
        self._rank = rank
        self._admitted: dict[bytes, list[bytes]] = {}

    def guard(self, socket: Any, caller: int, encrypted: bool) -> None:
        """Let nobody but rank `caller` connect to `socket`, which is about to be bound."""
        domain = str(caller)
        socket.zap_domain = domain.encode()
        socket.zap_enforce_domain = True
        if encrypted:
            socket.curve_server = True
            socket.curve_publickey, socket.curve_secretkey = self._keys.curve_pair(self._rank)
            proof = [b"CURVE", z85.decode(self._keys.curve_pair(caller)[0])]
        else:
            socket.plain_server = True
            proof = [b"PLAIN", domain.encode(), self._keys.password(self._rank, caller)]
        self._admitted[domain.encode()] = proof

    def answer(self) -> None:
        """Answer all questions that have been asked."""
        with contextlib.suppress(zmq.Again):
            while True:
                version, number, domain, _, _, *proof = self.socket.recv_multipart(zmq.NOBLOCK)
                expected = self._admitted[domain]
                good = hmac.compare_digest(b"\0".join(proof), b"\0".join(expected))
                verdict = b"200" if good else b"400"
                logger.debug("%s for rank %s: %s", proof[0].decode(), domain.decode(), verdict)
                self.socket.send_multipart([version, number, verdict, b"", b"", b""])

    def close(self) -> None:
        """Nobody else is let in from now on."""
        self.socket.close(0)


class Lookout:
    """Notices that strangers connect, and says so once.

    Each socket is for one caller, so whoever comes second is a stranger, whatever it sends.
    """

    def __init__(self) -> None:
        self._watched: dict[Any, tuple[int, Any]] = {}  # monitor -> caller, socket
        self._accepted: Counter[int] = Counter()

    def watch(self, socket: Any, caller: int) -> None:
        """Notice who connects to this socket, which is for rank `caller`."""
        monitor = socket.get_monitor_socket(zmq.EVENT_ACCEPTED)
        self._watched[monitor] = caller, socket

    def look(self) -> None:
        """Read what has been noticed."""
        for monitor, (caller, socket) in self._watched.items():
            while monitor.get(zmq.EVENTS) & zmq.POLLIN:
                monitor.recv_multipart()
                self._accepted[caller] += 1
            if self._accepted[caller] > 1:
                logger.warning(
                    "somebody who is not of this job has connected to %s, where I listen for rank "
                    "%d, and was turned away (this is said only once)",
                    socket.get_string(zmq.LAST_ENDPOINT),
                    caller,
                )
                return self.close()

    def close(self) -> None:
        """Look no more."""
        for _, socket in self._watched.values():
            socket.disable_monitor()
        self._watched = {}
