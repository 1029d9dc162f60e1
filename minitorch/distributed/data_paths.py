"""The ways of bulk data round ZeroMQ, where it need not be encrypted, and how they are set up.

Within a host that is a pipe to each rank, and this rank's shared memory beside it; between hosts a
plain TCP stream. One side opens a way and says where (`open`), the places travel through the store,
and the other side takes it (`take`). A rank that could not take one says so in its HELLO, and both
go on through ZeroMQ's sockets.
PyTorch: gloo's transports, of which a job has one.
"""

from __future__ import annotations

import time

from minitorch.distributed.addresses import shares_memory
from minitorch.distributed.errors import DistNetworkError
from minitorch.distributed.gate import Gate, call
from minitorch.distributed.log import logger
from minitorch.distributed.security import Keys, encrypts
from minitorch.distributed.shared_memory import Inbox, Outbox
from minitorch.distributed.streams import Reader, Writer, open_pipe, write_to_pipe


class DataPaths:
    """Rank `rank`'s streams: `readers` from peers, `writers` to them, where there are such.

    `outbox` is this rank's shared memory, or None, `inboxes` what it has mapped of others. All
    must be done by `deadline`, in the seconds of time.monotonic().
    """

    def __init__(self, rank: int, size: int, deadline: float) -> None:
        self.outbox = _make_outbox() if size > 1 and shares_memory() else None
        self.inboxes: dict[int, Inbox] = {}
        self.readers: dict[int, Reader] = {}
        self.writers: dict[int, Writer] = {}
        self._gates: dict[int, Gate] = {}
        self._rank = rank
        self._deadline = deadline

    def open(self, peer: int, endpoint: str, near: bool, keys: Keys) -> str | None:
        """Where `peer` can write its data for us; None: into the socket at `endpoint`."""
        if self.outbox is not None and near:
            self.readers[peer], address = open_pipe()
            return address
        if endpoint.startswith("tcp") and not encrypts(near):
            host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
            self._gates[peer] = Gate(host, keys.stream_password(self._rank, peer))
            return self._gates[peer].address
        return None

    def take(self, peer: int, address: str | None, memory: str | None, keys: Keys) -> None:
        """Open a peer's stream for writing. A pipe need not be there: in another container."""
        if address is None:
            return
        if memory is None:
            password = keys.stream_password(peer, self._rank)
            try:
                self.writers[peer] = Writer(
                    call(address, password, self._deadline - time.monotonic())
                )
            except OSError as error:
                raise DistNetworkError(
                    f"rank {self._rank} could not reach rank {peer} at {address}: {error}. Can the "
                    "hosts reach each other, or does a firewall stand between them?"
                ) from error
            return
        try:
            self.inboxes[peer] = Inbox(memory)
            self.writers[peer] = write_to_pipe(address)
        except (OSError, ValueError) as error:
            self.inboxes.pop(peer, None)
            logger.debug("no shared memory with rank %d: %s", peer, error)

    def give_up(self, peer: int) -> None:
        """The peer could not take our stream: it will use the socket."""
        reader = self.readers.pop(peer, None)
        if reader is not None:
            reader.close()

    def admit(self) -> None:
        """Let the peers' TCP streams in: who has said HELLO has called."""
        for peer, gate in self._gates.items():
            file = gate.admit(self._deadline - time.monotonic())
            if file is None:
                raise DistNetworkError(f"rank {peer} sent no data to rank {self._rank}")
            self.readers[peer] = Reader(file)

    def close_doors(self) -> None:
        """Nobody else comes in."""
        for gate in self._gates.values():
            gate.close()
        if self.outbox is not None:
            self.outbox.close()


def _make_outbox() -> Outbox | None:
    try:
        return Outbox()
    except OSError as error:
        logger.warning("no shared memory, all goes through the sockets: %s", error)
        return None
