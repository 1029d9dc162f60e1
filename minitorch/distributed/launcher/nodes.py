"""This launcher among those of the other nodes: what it tells them, and what it hears.

Why it exists: a worker's rank depends on how many workers the nodes before it run, and a failure on
one node must end the job on all. One launcher serves a store, for this and for the workers, and
runs the `Coordinator`. All of them, that one too, put events into the store's queue and read the
coordinator's journal.

The invariant: a launcher acts only on what the journal says, so that all launchers see the same
rounds, report the same root cause, and end with the same exit code.

PyTorch: torch/distributed/elastic/rendezvous/c10d_rendezvous_backend.py
"""

import contextlib
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from minitorch.distributed.errors import DistError
from minitorch.distributed.launcher.coordinator import Coordinator, Member
from minitorch.distributed.launcher.environment import Place
from minitorch.distributed.launcher.failure import Failure
from minitorch.distributed.launcher.job import Job
from minitorch.distributed.launcher.meeting import meet
from minitorch.distributed.store import PrefixStore
from minitorch.distributed.store.patience import REPORT_EVERY

LOOK_EVERY = 0.1  # how often the coordinator looks whether somebody has gone


@dataclass(frozen=True)
class Verdict:
    """How a round ended."""

    restart: bool
    why: str
    exit_code: int
    failures: tuple[Failure, ...] = ()


class NotNeeded(Exception):
    """The job has succeeded before this node got a place in it."""


class Nodes:
    """This node's seat among the nodes of a job."""

    def __init__(self, job: Job):
        """Serve the store at the job's address, or find it. Raises DistError when it cannot be."""
        self._job = job
        self._server, self.is_host = meet(job)
        self.address = f"{job.host}:{self._server.port}"
        self._server.set_timeout(timedelta(seconds=job.timeouts.silence))
        self._store = PrefixStore("launcher", self._server)
        self._pages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._id = self._store.add("launchers", 1)
        self._round = 0
        self.node = ""  # how messages call it, where there are several
        self._coordinator: Coordinator | None = None
        if self.is_host:
            self._coordinator = Coordinator(job, self.address, time.monotonic())
            threading.Thread(
                target=self._coordinate, args=(self._store.clone(),), daemon=True
            ).start()
        store = self._store.clone()
        store.last_will(f"gone {self._id}", "gone")
        threading.Thread(target=self._listen, args=(store,), daemon=True).start()

    def next_round(self, check: Callable[[], None], say: Callable[[str], None]) -> Place:
        """Wait until the nodes of the next round have come; the place of this one among them.

        Calls `check` all the while, which may raise. Raises DistError if the round does not begin,
        NotNeeded if it need not.
        """
        job = self._job
        name = f"process {os.getpid()} on {job.local_addr or socket.gethostname()}"
        nnodes = f"{job.min_nodes}:{job.max_nodes}"
        about = Member(
            self._id, name, job.nproc, job.role, nnodes, job.run_id, job.node_rank, self.is_host
        )
        self._tell("ready", about=asdict(about))
        start = time.monotonic()
        report, missing = start + REPORT_EVERY, ""
        while True:
            check()
            page = self._read(LOOK_EVERY)
            if page["kind"] == "waiting":
                missing = page["missing"]
            elif page["kind"] == "round" and (place := self._place(page)):
                return place
            elif page["kind"] == "end" and not page["exit_code"]:
                raise NotNeeded("the job has ended, and did not need this node")
            elif page["kind"] == "end" or (page["kind"], page.get("id")) == ("refused", self._id):
                raise DistError(page["why"])
            if missing and time.monotonic() > report:
                say(f"waiting for {missing}, {time.monotonic() - start:.0f} s")
                report += REPORT_EVERY

    def verdict(self, seconds: float = 0.0) -> Verdict | None:
        """How the round has ended; None if it goes on. Waits at most so many seconds for it."""
        page = self._read(seconds)
        if page["kind"] not in ("restart", "end"):
            return None
        failures = tuple(Failure(**failure) for failure in page["failures"])
        return Verdict(page["kind"] == "restart", page["why"], page["exit_code"], failures)

    def failed(self, failure: Failure) -> None:
        """A worker of this node has failed."""
        with contextlib.suppress(DistError):
            self._tell("failed", round=self._round, failure=asdict(failure))

    def idle(self) -> None:
        """All workers of this node have ended."""
        with contextlib.suppress(DistError):
            self._tell("idle", round=self._round)

    def leave(self, why: str, exit_code: int) -> None:
        """This launcher ends before the job does."""
        with contextlib.suppress(DistError):
            self._tell("leaving", why=why, exit_code=exit_code)

    def close(self) -> None:
        """Leave. The store ends with its host's launcher, so that one waits for the others."""
        self.leave("has left", 1)
        end = time.monotonic() + 5.0
        while self._coordinator and self._coordinator.listeners and time.monotonic() < end:
            time.sleep(0.01)
        self._server.close()

    def _tell(self, kind: str, **more: Any) -> None:
        self._store.queue_push("events", json.dumps({"kind": kind, "id": self._id, **more}))

    def _read(self, seconds: float) -> dict[str, Any]:
        try:
            return self._pages.get(timeout=seconds) if seconds else self._pages.get_nowait()
        except queue.Empty:
            return {"kind": "nothing"}

    def _place(self, page: dict[str, Any]) -> Place | None:
        """Our place in the round that begins; None if we have none."""
        ids = [seat["id"] for seat in page["seats"]]
        if self._id not in ids:
            return None
        self._round = page["round"]
        node_rank = ids.index(self._id)
        self.node = f"node {node_rank}" if len(ids) > 1 else ""
        return Place(
            node_rank,
            tuple(seat["nproc"] for seat in page["seats"]),
            tuple(seat["role"] for seat in page["seats"]),
            self._job.host,
            self._server.port,
            self._round,
        )

    # Threads. Each has a connection of its own, so that nobody waits for another's wait to end.

    def _listen(self, store: PrefixStore) -> None:
        """Pass the journal on, page by page, and give signs of life in between."""
        number = 0
        pause = min(1.0, self._job.timeouts.silence / 5)
        try:
            while True:
                if store.wait_at_most([f"page {number}"], pause):
                    self._pages.put(json.loads(store.get(f"page {number}")))
                    number += 1
                store.queue_push("events", json.dumps({"kind": "beat", "id": self._id}))
        except DistError:
            why = f"the launcher that serves the store at {self.address} is gone or does not answer"
            self._pages.put({"kind": "end", "why": why, "exit_code": 1, "failures": []})

    def _coordinate(self, store: PrefixStore) -> None:
        """Let the coordinator hear what comes, and publish what it writes."""
        coordinator = self._coordinator
        assert coordinator is not None
        published = 0
        with contextlib.suppress(DistError):  # the store is closed: we are through
            while True:
                store.wait_at_most(["events"], LOOK_EVERY)
                while store.queue_len("events"):
                    event = json.loads(store.queue_pop("events"))
                    coordinator.hear(event, time.monotonic())
                gone = [n for n in coordinator.listeners if store.check([f"gone {n}"])]
                coordinator.look(gone, time.monotonic())
                for page in coordinator.journal[published:]:
                    store.set(f"page {published}", json.dumps(page))
                    published += 1
