"""The stores: each operation gives what PyTorch's gives, and no failure is a hang.

Every scenario is a list of calls, run on our store and on PyTorch's; results and kinds of error
must agree. Because the wire protocol is shared as well, each side is also tried as the other's
client, in processes of their own.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
import torch.distributed as torch_dist

from minitorch.distributed.errors import DistError, DistNetworkError, DistStoreError
from minitorch.distributed.store import HashStore, PrefixStore, TCPStore
from minitorch.distributed.store.server import READY, STOP_WAITING, WAIT_CANCELED, Query

SHORT = timedelta(seconds=0.3)
LONG = timedelta(seconds=20)

CALLS = [
    ("num_keys",),
    ("set", "a", "1"),
    ("get", "a"),
    ("add", "a", 5),
    ("get", "a"),
    ("add", "counter", 0),
    ("get", "counter"),
    ("add", "counter", -3),
    ("get", "counter"),
    ("set", "bytes", b"\xff\x00x"),
    ("get", "bytes"),
    ("set", "empty", ""),
    ("get", "empty"),
    ("set", "ключ", "значение"),
    ("get", "ключ"),
    ("check", ["a"]),
    ("check", ["a", "absent"]),
    ("check", []),
    ("compare_set", "c", "", "first"),
    ("compare_set", "c", "wrong", "second"),
    ("compare_set", "c", "first", "second"),
    ("compare_set", "absent", "expected", "desired"),
    ("check", ["absent"]),
    ("num_keys",),
    ("delete_key", "a"),
    ("delete_key", "a"),
    ("num_keys",),
    ("append", "log", "xy"),
    ("append", "log", b"z"),
    ("get", "log"),
    ("multi_set", ["m1", "m2"], ["1", b"2"]),
    ("multi_get", ["m2", "m1"]),
    ("multi_get", []),
    ("wait", ["m1", "m2"]),
    ("wait", []),
    ("wait", ["absent"], SHORT),
    ("get", "absent"),
    ("multi_get", ["absent", "m1"]),
    ("get", "m1"),
]


def outcome(store, call):
    name, *arguments = call
    try:
        return getattr(store, name)(*arguments)
    except (DistError, torch_dist.DistError) as error:
        return type(error).__name__


def stores(kind):
    """A minitorch and a PyTorch store of one kind."""
    if kind == "hash":
        ours, theirs = HashStore(), torch_dist.HashStore()
        theirs.set_timeout(SHORT)
    else:
        ours = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
        theirs = torch_dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
        theirs.set_timeout(SHORT)
    ours.set_timeout(SHORT)
    if kind == "prefix":
        return PrefixStore("some", ours), torch_dist.PrefixStore("some", theirs)
    return ours, theirs


@pytest.mark.parametrize("kind", ["hash", "tcp", "prefix"])
def test_every_operation_agrees_with_pytorch(kind):
    ours, theirs = stores(kind)
    for call in CALLS:
        assert outcome(ours, call) == outcome(theirs, call), call
    assert ours.timeout == theirs.timeout == SHORT


def test_prefix_store_names_its_keys_as_pytorch_does():
    ours, theirs = HashStore(), torch_dist.HashStore()
    PrefixStore("a", PrefixStore("b", ours)).set("key", "value")
    torch_dist.PrefixStore("a", torch_dist.PrefixStore("b", theirs)).set("key", "value")
    assert theirs.list_keys() == ["b/a/key"]
    assert ours.get("b/a/key") == b"value"


@contextlib.contextmanager
def served(package, timeout=20):
    """The port of a TCPStore of `package` (minitorch or torch) in a process of its own."""
    program = f"""
import sys
from datetime import timedelta
from {package}.distributed{".store" if package == "minitorch" else ""} import TCPStore
store = TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds={timeout}),
                 wait_for_workers=False)
print(store.port, flush=True)
sys.stdin.read()
"""
    server = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield int(server.stdout.readline()), server
    finally:
        server.kill()
        server.communicate()


def test_pytorch_is_a_client_of_our_server_and_we_of_pytorchs():
    results = {}
    for package in ("minitorch", "torch"):
        for client in (TCPStore, torch_dist.TCPStore):
            with served(package) as (port, _):
                store = client("127.0.0.1", port, is_master=False, timeout=LONG)
                store.set_timeout(SHORT)
                results[package, client] = [outcome(store, call) for call in CALLS]
    expected = results["torch", torch_dist.TCPStore]
    for who, got in results.items():
        assert got == expected, who


def test_both_kinds_of_clients_see_one_table():
    with served("minitorch") as (port, _):
        ours = TCPStore("127.0.0.1", port, timeout=LONG)
        theirs = torch_dist.TCPStore("127.0.0.1", port, is_master=False, timeout=LONG)
        theirs.set("from torch", "1")
        assert ours.add("from torch", 1) == 2
        assert theirs.get("from torch") == b"2"


def test_counters_and_compare_set_are_atomic():
    server = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    winners = []

    def work(name):
        store = server.clone()
        for _ in range(200):
            store.add("counter", 1)
        if store.compare_set("winner", "", name) == name.encode():
            winners.append(name)

    threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.get("counter") == b"1600"
    assert len(winners) == 1


@pytest.mark.parametrize("kind", ["hash", "tcp"])
def test_get_wakes_when_the_key_comes(kind):
    reader = stores(kind)[0]
    reader.set_timeout(LONG)
    writer = reader.clone() if kind == "tcp" else reader
    timer = threading.Timer(0.2, writer.set, ("late", "value"))
    timer.start()
    start = time.monotonic()
    assert reader.get("late") == b"value"
    assert 0.15 < time.monotonic() - start < 5


def test_large_values_pass_whole():
    value = os.urandom(5_000_000)
    with served("minitorch") as (port, _):
        store = TCPStore("127.0.0.1", port, timeout=LONG)
        store.multi_set(["a", "b"], [value, value[::-1]])
        assert store.multi_get(["b", "a"]) == [value[::-1], value]


def test_time_out_names_the_missing_keys_and_the_place():
    store = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    store.set("there", "1")
    with pytest.raises(DistStoreError, match=rf"'absent'.*127.0.0.1:{store.port}.*0.3 s") as info:
        store.wait(["there", "absent"], SHORT)
    assert "'there'" not in str(info.value)


def test_waiting_is_reported(caplog, monkeypatch):
    monkeypatch.setattr("minitorch.distributed.store.base.REPORT_EVERY", 0.1)
    store = HashStore(SHORT)
    with caplog.at_level(logging.WARNING, "minitorch.distributed"), pytest.raises(DistStoreError):
        store.get("absent")
    assert "waiting for 'absent'" in caplog.text


def test_refused_connection_is_an_error_that_names_the_place_and_the_time():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(DistNetworkError, match=rf"127.0.0.1:{port} for 0\.[3-9] s.*refused"):
        TCPStore("127.0.0.1", port, timeout=SHORT)
    assert time.monotonic() - start < 3


def test_connection_is_tried_again_until_the_server_is_there():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    servers = []
    timer = threading.Timer(
        0.3, lambda: servers.append(TCPStore("127.0.0.1", port, is_master=True, timeout=LONG))
    )
    timer.start()
    TCPStore("127.0.0.1", port, timeout=LONG).set("key", "value")
    timer.join()
    assert servers[0].get("key") == b"value"


def test_a_stranger_at_the_port_is_no_store():
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]

        def greet():
            while True:
                with contextlib.suppress(OSError):
                    connection, _ = stranger.accept()
                    connection.sendall(b"220 mail ready\r\n")
                if stranger.fileno() == -1:
                    return

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(DistNetworkError, match="is no store"):
            TCPStore("127.0.0.1", port, timeout=SHORT)


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0\0", b"\0\xce\xf7\x85\x3c\x01" + b"\xff" * 16, b"\x01"],
    ids=["http", "wrong magic", "absurd length", "set before hello"],
)
def test_noise_from_the_network_disturbs_nobody(noise):
    store = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    with socket.create_connection(("127.0.0.1", store.port)) as stranger:
        stranger.sendall(noise)
        stranger.settimeout(5)
        assert stranger.recv(1) == b""  # it was hung up on
        store.set("key", "value")
        assert store.get("key") == b"value"


def test_dead_server_is_an_error_for_a_waiting_client_at_once():
    with served("minitorch") as (port, server):
        store = TCPStore("127.0.0.1", port, timeout=LONG)
        threading.Timer(0.2, server.kill).start()
        start = time.monotonic()
        with pytest.raises(DistNetworkError, match=f"lost the store at 127.0.0.1:{port}"):
            store.get("absent")
        assert time.monotonic() - start < 6
        with pytest.raises(DistNetworkError, match="lost the store"):
            store.set("key", "value")


def test_frozen_server_is_an_error_after_the_time_out():
    with served("minitorch") as (port, server):
        store = TCPStore("127.0.0.1", port, timeout=timedelta(seconds=1))
        server.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, server.pid, os.WSTOPPED)
        start = time.monotonic()
        with pytest.raises(DistNetworkError, match="lost the store"):
            store.add("counter", 1)
        assert time.monotonic() - start < 6
        server.send_signal(signal.SIGCONT)


def test_a_key_that_comes_while_the_wait_is_withdrawn_counts():
    """A scripted server answers the wait and its withdrawal together, when it is withdrawn."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            hello = connection.recv(100, 0)
            connection.sendall(hello[-4:])  # the ping's nonce
            connection.recv(100)  # WAIT
            assert connection.recv(1) == bytes([Query.CANCEL_WAIT])
            connection.sendall(STOP_WAITING + WAIT_CANCELED)
            connection.recv(100)  # CHECK
            connection.sendall(READY)

        server = threading.Thread(target=serve)
        server.start()
        store = TCPStore("127.0.0.1", listener.getsockname()[1], timeout=LONG)
        store.wait(["key"], SHORT)
        assert store.check(["key"])
        server.join()


def test_an_interrupted_request_closes_the_connection():
    """Its reply is still to come, and must not be taken for that of the next request."""
    store = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        store.get("absent")
    with pytest.raises(DistNetworkError, match="WAIT ended with KeyboardInterrupt"):
        store.num_keys()


def test_port_taken_names_who_asked_and_for_what():
    first = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    with pytest.raises(
        DistNetworkError, match=rf"process {os.getpid()} .*127.0.0.1:{first.port}.*in use"
    ):
        TCPStore("127.0.0.1", first.port, is_master=True, timeout=LONG)


def test_multi_tenant_shares_the_server_until_the_last_closes():
    first = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    second = TCPStore("127.0.0.1", first.port, is_master=True, timeout=LONG, multi_tenant=True)
    first.set("key", "value")
    first.close()
    assert second.get("key") == b"value"
    port = second.port
    second.close()
    TCPStore("127.0.0.1", port, is_master=True, timeout=LONG).close()


def test_the_server_ends_with_its_store():
    before = threading.active_count()
    store = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    port = store.port
    assert threading.active_count() == before + 1
    del store
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("keep", ["store", "builtins.store"])
def test_a_store_that_is_never_closed_does_not_hold_up_the_exit(keep):
    program = f"""
import builtins
from minitorch.distributed.store import TCPStore
{keep} = TCPStore("127.0.0.1", 0, is_master=True)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=20).returncode == 0


def test_master_waits_for_its_workers_and_counts_them():
    with pytest.raises(DistStoreError, match="only 1 of 3 clients"):
        TCPStore("127.0.0.1", 0, world_size=3, is_master=True, timeout=SHORT)

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    join = threading.Timer(0.2, lambda: TCPStore("127.0.0.1", port, 2, timeout=LONG))
    join.start()
    master = TCPStore("127.0.0.1", port, 2, is_master=True, timeout=LONG)
    join.join()
    assert master.num_keys() == 1  # the key that counts the clients, as in PyTorch


def test_only_bytes_and_text_are_values():
    with pytest.raises(TypeError, match="bytes or str, not int"):
        HashStore().set("key", 3)


def test_the_address_to_tell_peers_is_the_one_that_reaches_the_store():
    with served("minitorch") as (port, _):
        store = TCPStore("127.0.0.1", port, timeout=LONG)
        assert store.local_address == PrefixStore("a", store).local_address == "127.0.0.1"
        store.host = "node-0"  # as if this name were mapped to a loopback address here
        assert store.local_address == "node-0"
    assert not hasattr(PrefixStore("a", HashStore()), "local_address")
