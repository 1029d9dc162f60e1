"""Rendezvous: all ranks come together, or each of them gets the same error in time.

Ranks are threads here (each a client of its own); real processes are in test_run.py.
"""

import logging
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
import torch.distributed as torch_dist

import minitorch.distributed as dist
from minitorch.distributed import DistError, DistNetworkError, DistStoreError, HashStore, TCPStore
from minitorch.distributed import rendezvous as lazy_rendezvous
from minitorch.distributed.rendezvous import sign_in

from .launching import free_port

LONG = timedelta(seconds=60)  # nothing takes that long, but what hangs
SOON = 25.0
SHORT = timedelta(seconds=0.5)


def rendezvous(*args, **kwargs):
    return next(lazy_rendezvous(*args, **kwargs))


def together(*calls):
    """Run the calls at the same time; each one's result, or the error it raised."""
    results = [None] * len(calls)

    def work(index, call):
        try:
            results[index] = call()
        except DistError as error:
            # Without its frames, which would keep rank 0's store alive for the others.
            results[index] = error.with_traceback(None)

    threads = [threading.Thread(target=work, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
        assert not thread.is_alive(), "a rank hangs"
    return results


def rank_calls(place, ranks, sizes, timeout):
    """`place` is a port, or the path of a file."""
    url = f"tcp://127.0.0.1:{place}" if isinstance(place, int) else f"file://{place}"
    return [
        lambda rank=rank, size=size: rendezvous(url, rank, size, timeout=timeout)
        for rank, size in zip(ranks, sizes, strict=True)
    ]


@pytest.fixture
def clean_environment(monkeypatch):
    names = ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"]
    for name in [*names, "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RESTART_COUNT"]:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture(params=["tcp", "file"])
def place(request, tmp_path):
    return free_port() if request.param == "tcp" else tmp_path / "meeting"


def test_ranks_meet_and_share_a_store(place):
    results = together(*rank_calls(place, [2, 0, 1], [3, 3, 3], LONG))
    assert [(rank, size) for _, rank, size in results] == [(2, 3), (0, 3), (1, 3)]
    results[0][0].set("key", "from rank 2")
    assert all(store.get("key") == b"from rank 2" for store, _, _ in results)


def test_query_of_the_url_gives_rank_and_size():
    url = f"tcp://127.0.0.1:{free_port()}"
    results = together(
        lambda: rendezvous(f"{url}?rank=0&world_size=2", timeout=LONG),
        lambda: rendezvous(f"{url}?rank=1", world_size=2, timeout=LONG),
    )
    assert [result[1:] for result in results] == [(0, 2), (1, 2)]


def test_env_takes_what_is_not_given(clean_environment):
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    for name, value in environment.items():
        clean_environment.setenv(name, value)
    results = together(
        lambda: rendezvous("env://", rank=0, timeout=LONG),
        lambda: rendezvous("env://", rank=1, timeout=LONG),
    )
    assert [result[1:] for result in results] == [(0, 2), (1, 2)]


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_env_names_the_missing_variable_as_pytorch_does(clean_environment, missing):
    values = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for name, value in values.items():
        if name != missing:
            clean_environment.setenv(name, value)
    words = f"environment variable {missing} expected, but not set"
    with pytest.raises(ValueError, match=words):
        rendezvous("env://", timeout=SHORT)
    with pytest.raises(ValueError, match=words):
        next(torch_dist.rendezvous("env://", timeout=SHORT))


@pytest.mark.parametrize(
    "url, arguments, words",
    [
        ("tcp://127.0.0.1", {"rank": 0, "world_size": 1}, "expected tcp://host:port"),
        ("tcp://127.0.0.1:1", {"rank": 0}, "world_size missing"),
        ("tcp://127.0.0.1:1?world_size=2", {}, "rank missing"),
        ("tcp://127.0.0.1:1?rank=x&world_size=2", {}, "rank must be an integer, got 'x'"),
        ("tcp://127.0.0.1:1", {"rank": 2, "world_size": 2}, "rank 2 is not one of the 2 ranks"),
        ("tcp://127.0.0.1:1", {"rank": -2, "world_size": 2}, "rank -2 is not one of the 2 ranks"),
        ("tcp://127.0.0.1:1?rank=0&world_size=0", {}, "world_size must be at least 1"),
        ("tcp://127.0.0.1:1?rank=0&world_size=2", {"rank": 1}, "rank is 0 in .* 1 as an argument"),
        ("file:///tmp/x", {"rank": 0}, "world_size missing"),
        ("file:///tmp/x?world_size=1", {}, "rank missing"),
        ("file://tmp/x", {"rank": 0, "world_size": 1}, "with three slashes"),
        ("file://", {"rank": 0, "world_size": 1}, "with three slashes"),
    ],
)
def test_wrong_arguments_are_named(url, arguments, words):
    with pytest.raises(ValueError, match=words):
        rendezvous(url, **arguments, timeout=SHORT)


def test_missing_ranks_are_named_on_every_rank(place):
    start = time.monotonic()
    results = together(*rank_calls(place, [0, 2], [4, 4], timedelta(seconds=2)))
    assert time.monotonic() - start < SOON
    for result in results:
        assert isinstance(result, DistStoreError)
        assert "ranks 1, 3 of 4 did not come to " in str(result) and str(place) in str(result)


def test_missing_rank_0_is_named_with_the_place():
    port = free_port()
    with pytest.raises(DistNetworkError, match=rf"rank 1: no store answered at 127.0.0.1:{port}"):
        rendezvous(f"tcp://127.0.0.1:{port}", 1, 2, timeout=SHORT)


def test_disagreement_on_the_size_is_told_to_every_rank(place):
    start = time.monotonic()
    results = together(*rank_calls(place, [0, 1], [2, 3], LONG))
    assert time.monotonic() - start < SOON
    for result in results:
        assert isinstance(result, DistStoreError)
        assert "start all with the same number" in str(result)


def test_a_rank_taken_twice_is_told_to_every_rank():
    store, errors = HashStore(LONG), []

    def sign(rank):
        try:
            sign_in(store, "somewhere:1", rank, 3, LONG)
        except DistStoreError as error:
            errors.append(str(error))

    start = time.monotonic()
    together(lambda: sign(0), lambda: sign(1), lambda: sign(1))
    assert time.monotonic() - start < SOON
    assert len(errors) == 3 and len(set(errors)) == 1
    assert "rank 1 at somewhere:1 is taken twice" in errors[0]


def test_a_late_double_does_not_disturb_those_who_met():
    store = HashStore(LONG)
    together(*[lambda r=r: sign_in(store, "somewhere:1", r, 2, LONG) for r in range(2)])
    with pytest.raises(DistStoreError, match="rank 0 at somewhere:1 is taken twice"):
        sign_in(store, "somewhere:1", 0, 2, LONG)
    assert store.get("go") == b"ok"


def test_a_scheme_without_a_handler_is_named_and_can_be_given_one():
    for package in (dist, torch_dist):
        with pytest.raises(RuntimeError, match="No rendezvous handler for .*pigeon://"):
            package.rendezvous("pigeon://loft")
    came = []

    def handler(url, **kwargs):
        came.append((url, kwargs))
        yield HashStore(), 3, 4

    dist.register_rendezvous_handler("pigeon", handler)
    result = rendezvous("pigeon://loft", 3, 4, timeout=LONG)
    assert result[1:] == (3, 4)
    assert came == [("pigeon://loft?rank=3&world_size=4", {"timeout": LONG})]
    with pytest.raises(RuntimeError, match="pigeon:// already registered"):
        dist.register_rendezvous_handler("pigeon", handler)


def test_a_host_that_nobody_knows_is_named(clean_environment):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_PORT": "1"}.items():
        clean_environment.setenv(name, value)
    clean_environment.setenv("MASTER_ADDR", "nowhere.invalid")
    words = "rank 1: no store answered at nowhere.invalid:1 .*name could not be resolved"
    with pytest.raises(DistNetworkError, match=words):
        rendezvous("env://", timeout=SHORT)


def test_a_server_that_is_no_store_is_told_to_those_who_come_there():
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]

        def greet():
            try:
                while True:
                    connection = stranger.accept()[0]
                    connection.sendall(b"220 mail ready\r\n")
                    connection.close()
            except OSError:
                pass

        threading.Thread(target=greet, daemon=True).start()
        words = "rank 1: .*whatever listens there is no store"
        with pytest.raises(DistNetworkError, match=words):
            rendezvous(f"tcp://127.0.0.1:{port}", 1, 2, timeout=timedelta(seconds=1.5))
        # Rank 0 would host a store there, and cannot.
        with pytest.raises(DistNetworkError, match="rank 0: .*in use.*another job at this port"):
            rendezvous(f"tcp://127.0.0.1:{port}", 0, 2, timeout=SHORT)
        stranger.shutdown(socket.SHUT_RDWR)


def test_a_file_left_over_from_an_earlier_run_is_said_to_be_one(tmp_path):
    """Its ranks were killed, so nobody removed it."""
    path = tmp_path / "meeting"
    program = f"""
import os
from minitorch.distributed import rendezvous
store = next(rendezvous("file://{path}", 0, 1))
os.kill(os.getpid(), {int(signal.SIGKILL)})
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    with pytest.raises(DistStoreError, match="rank 0 at file .* is taken twice.*or the file"):
        rendezvous(f"file://{path}", 0, 1, timeout=SHORT)
    path.unlink()
    assert rendezvous(f"file://{path}", 0, 1, timeout=SHORT)[1:] == (0, 1)


def test_the_file_goes_with_the_last_rank(tmp_path):
    path = tmp_path / "meeting"
    results = together(*rank_calls(path, [0, 1], [2, 2], LONG))
    assert path.exists()
    del results[0]
    assert path.exists()
    results.clear()
    assert not path.exists()


def test_a_process_group_meets_in_a_file(tmp_path):
    program = """
import sys
import minitorch as torch
import minitorch.distributed as dist
dist.init_process_group("gloo", f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
t = torch.ones(3)
dist.all_reduce(t)
print(t.tolist())
dist.destroy_process_group()
"""
    path = tmp_path / "meeting"
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), str(rank)], stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    assert [rank.communicate(timeout=120)[0] for rank in ranks] == ["[2.0, 2.0, 2.0]\n"] * 2
    assert not path.exists()


def test_a_taken_port_is_an_error_that_names_rank_0():
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]
    with other, pytest.raises(DistNetworkError, match=rf"rank 0: .*127.0.0.1:{port}.*in use"):
        rendezvous(f"tcp://127.0.0.1:{port}", 0, 2, timeout=SHORT)


def test_ranks_meet_again_at_the_same_place(place):
    for round_number in range(3):
        results = together(*rank_calls(place, [0, 1], [2, 2], LONG))
        store = results[0][0]
        assert not store.check(["key"]), "left over from the meeting before"
        store.set("key", str(round_number))
        if round_number == 0:
            kept = results  # as when the old group is still alive: its server is shared
    assert kept[0][0].get("key") == b"0"


def test_every_rank_is_a_client_where_the_launcher_hosts(clean_environment):
    launcher = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    clean_environment.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    clean_environment.setenv("MASTER_ADDR", "127.0.0.1")
    clean_environment.setenv("MASTER_PORT", str(launcher.port))
    clean_environment.setenv("WORLD_SIZE", "2")
    together(*[lambda r=r: rendezvous("env://", rank=r, timeout=LONG)[0] for r in range(2)])
    assert launcher.num_keys() > 0
    # Another place than the launcher's is hosted by rank 0 all the same.
    results = together(*rank_calls(free_port(), [0, 1], [2, 2], LONG))
    assert results[0][1:] == (0, 2)


def test_waiting_names_the_ranks(caplog, monkeypatch):
    monkeypatch.setattr("minitorch.distributed.store.patience.REPORT_EVERY", 0.02)
    with caplog.at_level(logging.WARNING, "minitorch.distributed"), pytest.raises(DistStoreError):
        sign_in(HashStore(), "somewhere:1", 1, 4, SHORT)
    assert re.search(r"waiting for ranks 0, 2, 3 at somewhere:1, \d+ s", caplog.text)
