"""The launchers of several nodes, agreeing on how the job begins and how it ends.

Why it exists: a worker's rank depends on how many workers the nodes before it run, and a failure on
one node must end the job on all. Node 0's launcher hosts the store for this and for the workers.

The invariant: there is one outcome. Whoever fails first writes it, with compare_set, so that all
launchers report the same root cause and end with the same exit code; when the last node is through
without a failure, the outcome is success.

PyTorch: torch/distributed/elastic/rendezvous/
"""

import json
import threading
import time
import uuid
from datetime import timedelta

from minitorch.distributed.errors import DistError
from minitorch.distributed.launcher.environment import Place
from minitorch.distributed.rendezvous import let_others_hear, sign_in
from minitorch.distributed.store import PrefixStore, TCPStore


class Nodes:
    """This node's seat among the nodes of a job; `place` says which workers it runs."""

    def __init__(
        self, node_rank: int, nnodes: int, nproc: int, addr: str, port: int, timeout: timedelta
    ):
        """Host (node 0) or find the store at addr:port and wait for the other nodes.

        Port 0 means a free one. Raises DistError when the place is taken or nodes are missing.
        """
        self._hosts = node_rank == 0
        self._nnodes = nnodes
        self._server = TCPStore(addr, port, is_master=self._hosts, timeout=timeout)
        self._store = PrefixStore("launcher", self._server)
        self._store.set(f"nproc of {node_rank}", str(nproc))
        try:
            sign_in(self._store, f"{addr}:{port}", node_rank, nnodes, timeout, noun="node rank")
        except DistError:
            if self._hosts:
                let_others_hear(self._store)
            self._server.close()
            raise
        counts = self._store.multi_get([f"nproc of {node}" for node in range(nnodes)])
        run_id = self._store.compare_set("run id", "", uuid.uuid4().hex)
        self.place = Place(
            node_rank, tuple(map(int, counts)), addr, self._server.port, run_id.decode()
        )
        self.outcome: dict | None = None  # {"exit_code": int, "message": str} when it is known
        if nnodes > 1:
            threading.Thread(target=self._listen, name="outcome", daemon=True).start()

    def _listen(self) -> None:
        """Wait for the outcome with a connection of our own, so that nobody waits for us."""
        try:
            store = PrefixStore("launcher", self._server.clone())
            while not store.wait_at_most(["outcome"], 5.0):
                pass
            self.outcome = json.loads(store.get("outcome"))
        except DistError as error:
            self.outcome = {"exit_code": 1, "message": f"the launcher of node 0 is gone: {error}"}

    def failed(self, exit_code: int, message: str) -> dict:
        """Tell everybody; returns what holds for all, which is what was told first."""
        mine = {"exit_code": exit_code, "message": message}
        try:
            return json.loads(self._store.compare_set("outcome", "", json.dumps(mine)))
        except DistError:
            return mine

    def succeeded(self) -> None:
        """This node's workers are through."""
        if self._store.add("succeeded", 1) == self._nnodes:
            self._store.compare_set("outcome", "", json.dumps({"exit_code": 0, "message": ""}))
        if self._nnodes == 1:
            self.outcome = {"exit_code": 0, "message": ""}

    def close(self) -> None:
        """Leave. The store ends with node 0's launcher, so that one leaves last."""
        try:
            left = self._store.add("left", 1)
            end = time.monotonic() + 5.0
            while self._hosts and left < self._nnodes and time.monotonic() < end:
                time.sleep(0.02)
                left = self._store.add("left", 0)
        except DistError:
            pass
        self._server.close()
