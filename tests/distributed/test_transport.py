"""How ranks find and reach each other, and what is said while they do not."""

import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from minitorch.distributed import addresses, handshake
from minitorch.distributed.errors import DistError, DistNetworkError, DistStoreError
from minitorch.distributed.reduce_op import ReduceOp
from minitorch.distributed.store import HashStore
from minitorch.distributed.transport import Transport

from .threads import endpoints, job, on_all, start


def together(size: int, store: HashStore) -> list[Transport]:
    """Transports of all ranks."""
    made: dict[int, Transport] = {}
    threads = [
        threading.Thread(target=lambda r=rank: made.update({r: Transport(r, size, store, 60)}))
        for rank in range(size)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [made[rank] for rank in range(size)]


def rank_of_this_thread() -> int:
    return int(threading.current_thread().name.split()[-1])


def test_ranks_of_one_host_meet_over_ipc_and_leave_no_file():
    store = HashStore()
    transports = together(3, store)
    assert all(place.startswith("ipc://@minitorch-") for place in endpoints(store, 3))
    for transport in transports:
        assert transport.hosts == [0, 0, 0]
        transport.close(0)


def test_tcp_on_one_host_uses_loopback(monkeypatch):
    monkeypatch.setenv("MINITORCH_TRANSPORT", "tcp")
    store = HashStore()
    with job(2, store):
        assert all(place.startswith("tcp://127.0.0.1:") for place in endpoints(store, 2))


@pytest.mark.parametrize("interface", ["127.0.0.1", "lo", "::1"])
def test_hosts_have_numbers_and_meet_over_tcp(interface, monkeypatch):
    """Ranks 0 and 2 share a host, 1 and 3 another."""
    monkeypatch.setattr(handshake, "host_identity", lambda: f"host {rank_of_this_thread() % 2}")
    monkeypatch.setenv("MINITORCH_INTERFACE", interface)
    store = HashStore()
    with job(4, store) as groups:
        for group in groups:
            assert group._progress.transport.hosts == [0, 1, 0, 1]
        places = endpoints(store, 4)
        schemes = [place.split(":")[0] for place in places]
        assert schemes.count("tcp") == 8 and schemes.count("ipc") == 4
        wanted = "tcp://[::1]:" if interface == "::1" else "tcp://127.0.0.1:"
        assert all(place.startswith(("ipc://@", wanted)) for place in places), places

        def reduce(group):
            array = np.full(100_000, group.rank(), np.float32)
            group.all_reduce(array, ReduceOp.SUM).wait()
            return array

        assert all((array == 6).all() for array in on_all(groups, reduce))


def test_the_address_is_the_one_on_the_way_to_the_peer():
    assert addresses._address_towards("127.0.0.1") == "127.0.0.1"
    assert addresses._address_towards("::1") == "::1"
    assert addresses._address_towards("localhost") in ("127.0.0.1", "::1")
    with pytest.raises(DistNetworkError, match="no way to 'nowhere.invalid'"):
        addresses._address_towards("nowhere.invalid")


def test_an_address_that_leads_back_home(monkeypatch):
    """Another host cannot be at 127.0.0.1: somebody told a rank so."""
    monkeypatch.setattr(handshake, "host_identity", lambda: f"host {rank_of_this_thread()}")
    for error in start(2, timeout=60):
        assert isinstance(error, DistError)
        assert "MASTER_ADDR" in str(error) and "MINITORCH_INTERFACE" in str(error)


def test_an_interface_that_is_none(monkeypatch):
    monkeypatch.setattr(handshake, "host_identity", lambda: f"host {rank_of_this_thread()}")
    monkeypatch.setenv("MINITORCH_INTERFACE", "eth99")
    for rank, error in enumerate(start(2, timeout=60)):
        assert isinstance(error, DistNetworkError)
        assert f"rank {rank} could not listen at tcp://eth99:* for rank {1 - rank}" in str(error)


def test_the_words_of_a_wrong_transport(monkeypatch):
    monkeypatch.setenv("MINITORCH_TRANSPORT", "pigeon")
    for error in start(2, timeout=60):
        assert isinstance(error, ValueError) and "not 'pigeon'" in str(error)


def test_a_rank_that_never_comes():
    began = time.monotonic()
    results = start(4, timeout=2.0, ranks=[0, 2])
    assert time.monotonic() - began < 25
    for rank, error in zip((0, 2), results, strict=True):
        assert isinstance(error, DistStoreError)
        # Whoever is a moment later has heard it from the other.
        assert f"rank {rank} waited 2 s" in str(error) or f"rank {rank} in init_p" in str(error)
        assert "ranks 1, 3 of 4 did not come" in str(error)


class Halfway(HashStore):
    """Rank 2 leaves its endpoints, and there it stops."""

    def set(self, key, value):
        super().set(key, value)
        if key == "endpoints/2":
            raise DistStoreError("rank 2 has ended")


def test_a_rank_that_ends_while_connecting():
    """Nobody waits for the time-out: a refused call is a sign."""
    began = time.monotonic()
    results = start(3, Halfway(), timeout=90)
    assert time.monotonic() - began < 45
    assert "rank 2 has ended" in str(results[2])
    for rank in (0, 1):
        assert isinstance(results[rank], DistNetworkError)
        assert f"rank 2 hung up on rank {rank}" in str(results[rank]), results


def test_waiting_is_reported(monkeypatch, caplog):
    monkeypatch.setattr("minitorch.distributed.store.patience.REPORT_EVERY", 0.1)
    start(3, timeout=1.5, ranks=[0])
    said = [record.getMessage() for record in caplog.records]
    assert all(re.fullmatch(r"waiting for ranks 1, 2, \d s", text) for text in said)
    assert len(said) >= 3


def test_a_silent_rank_is_reported_and_named(monkeypatch, caplog):
    monkeypatch.setattr("minitorch.distributed.store.patience.REPORT_EVERY", 0.3)
    greet, given_up = handshake.Handshake._greet, threading.Event()

    def keep_silent(self, doorkeeper):
        if self._rank != 1:
            try:
                return greet(self, doorkeeper)
            finally:
                given_up.set()
        while not given_up.wait(0.01):
            doorkeeper.answer()
        raise DistStoreError("rank 1 gives up")

    monkeypatch.setattr(handshake.Handshake, "_greet", keep_silent)
    results = start(2, timeout=1.5)
    assert isinstance(results[0], DistNetworkError)
    assert "rank 0 could not connect to rank 1 within 1.5 s: no answer" in str(results[0])
    said = [record.getMessage() for record in caplog.records]
    assert any(text.startswith("waiting for rank 1, ") for text in said), said


def test_the_log_tells_who_met_whom_and_how(caplog):
    with caplog.at_level(logging.DEBUG, "minitorch.distributed"), job(2):
        pass
    said = [record.getMessage() for record in caplog.records]
    assert any(text.startswith("listening for rank 1 at ipc://@minitorch-") for text in said)
    assert any(text.startswith("calling rank 0 at ipc://@minitorch-") for text in said)
    assert "heard from rank 0" in said and "heard from rank 1" in said
    assert any(text.startswith("connected: 2 ranks on 1 host") for text in said)


def log_of(level: str | None, *lines: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "MINITORCH_LOG"} | {"RANK": "3"}
    if level is not None:
        environment["MINITORCH_LOG"] = level
    script = "\n".join(["import logging", "from minitorch.distributed.log import logger", *lines])
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )


SPEAK = ("logger.debug('a')", "logger.info('b')", "logger.warning('c %d', 7)")


def test_the_log_is_quiet_by_default():
    done = log_of(None, *SPEAK)
    assert done.stderr == "[rank 3] warning: c 7\n" and done.stdout == ""
    assert log_of("Info", *SPEAK).stderr == "[rank 3] b\n[rank 3] warning: c 7\n"
    assert log_of("debug", *SPEAK).stderr.startswith("[rank 3] debug: a\n")
    assert log_of("error", *SPEAK).stderr == ""
    assert "MINITORCH_LOG must be one of debug, info" in log_of("loud").stderr


def test_a_program_with_its_own_logging_gets_each_line_once():
    done = log_of("info", "logging.basicConfig(format='mine: %(message)s')", *SPEAK)
    assert done.stderr == "mine: b\nmine: c 7\n"


SCRIPT = """
import sys, json, numpy as np
import minitorch as torch, minitorch.distributed as dist
from minitorch.distributed import handshake
listened = []
bind = handshake.network_endpoint
handshake.network_endpoint = lambda *a: listened.append(bind(*a)) or listened[-1]
dist.init_process_group(init_method=sys.argv[1], rank=int(sys.argv[2]), world_size=3)
tensor = torch.full((200_000,), float(dist.get_rank() + 1))
dist.all_reduce(tensor)
group = dist.group.WORLD
assert (tensor == 6).all()
print(json.dumps([group._progress.transport.hosts, listened]))
dist.destroy_process_group()
"""


@pytest.fixture
def two_hosts(tmp_path):
    """Two network namespaces with a cable between them: to us, two hosts."""
    if os.name != "posix" or os.getuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2, to lay a cable between two network namespaces")
    names = [f"minitorch-{os.getpid()}-{side}" for side in "ab"]
    ends = [f"mt{os.getpid()}{side}" for side in "ab"]

    def ip(*words: str) -> None:
        done = subprocess.run(["ip", *words], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no network namespaces here: {done.stderr}")

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for number, (name, end) in enumerate(zip(names, ends, strict=True), 1):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "addr", "add", f"10.213.7.{number}/24", "dev", end)
            ip("-n", name, "addr", "add", f"fd00:213::{number}/64", "dev", end, "nodad")
        yield names
    finally:
        subprocess.run(["ip", "link", "del", ends[0]], capture_output=True)
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def on_hosts(names, url, tmp_path, **environment) -> list[subprocess.Popen]:
    """Rank 0 on one host, ranks 1 and 2 on the other."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return [
        subprocess.Popen(
            ["ip", "netns", "exec", names[host], sys.executable, str(script), url, str(rank)],
            env=os.environ | {"MINITORCH_LOG": "debug"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, host in enumerate((0, 1, 1))
    ]


@pytest.mark.parametrize("family", ["10.213.7.", "fd00:213::"])
def test_two_hosts(two_hosts, family, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef")
    secret.chmod(0o600)
    host = f"[{family}1]" if ":" in family else f"{family}1"
    processes = on_hosts(
        two_hosts, f"tcp://{host}:29511", tmp_path, MINITORCH_SECRET_FILE=str(secret)
    )
    for rank, process in enumerate(processes):
        out, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        own = f"{family}1" if rank == 0 else f"{family}2"
        own = f"[{own}]" if ":" in own else own
        peers_abroad = 2 if rank == 0 else 1
        listened = f'["tcp://{own}:*"' + (f', "tcp://{own}:*"' * (peers_abroad - 1)) + "]"
        assert out.strip() == f"[[0, 1, 1], {listened}]"
        assert said.count(", encrypted") == 2
        assert "share no secret" not in said


def test_two_hosts_without_a_secret_say_so(two_hosts, tmp_path):
    for process in on_hosts(two_hosts, "tcp://10.213.7.1:29512", tmp_path):
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert "share no secret" in said and ", encrypted" in said
