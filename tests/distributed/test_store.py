"""The stores: each operation gives what PyTorch's gives, and no failure is a hang.

One list of calls is run on our store and on PyTorch's of each kind; results and kinds of error must
agree. Because the wire protocol is shared as well, each side is also tried as the other's client,
in processes of their own. What only concerns FileStore is in test_file_store.py, and what
strangers may do to a server in test_store_server.py.
"""

import contextlib
import inspect
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as torch_dist

import minitorch.distributed as dist
from minitorch.distributed import (
    DistNetworkError,
    DistStoreError,
    HashStore,
    PrefixStore,
    TCPStore,
)
from minitorch.distributed.store import protocol
from minitorch.distributed.store.protocol import READY, STOP_WAITING, WAIT_CANCELED, Query

from .faults import SECONDS
from .launching import free_port, wait_until

TINY = timedelta(seconds=0.1)
SHORT = timedelta(seconds=0.3)
LONG = timedelta(seconds=60)  # nothing takes that long, but what hangs
SOON = 25.0

CALLS = [
    ("num_keys",),
    ("list_keys",),
    ("set", "a", "1"),
    ("get", "a"),
    ("add", "a", 5),
    ("get", "a"),
    ("add", "counter", 0),
    ("get", "counter"),
    ("add", "counter", -3),
    ("get", "counter"),
    ("add", "wraps", 2**62),
    ("add", "wraps", 2**62),
    ("add", "true", True),
    ("add", "a", 2**63),
    ("add", "a", 1.5),
    ("add", "a", "1"),
    ("set", "bytes", b"\xff\x00x"),
    ("get", "bytes"),
    ("set", "empty", ""),
    ("get", "empty"),
    ("set", "ключ", "значение"),
    ("get", "ключ"),
    ("set", "a", 1),
    ("set", 1, "a"),
    ("get", 1),
    ("check", ["a"]),
    ("check", ["a", "absent"]),
    ("check", []),
    ("check", "ab"),
    ("check", [1]),
    ("wait", "ab"),
    ("compare_set", "c", "", "first"),
    ("compare_set", "c", "wrong", "second"),
    ("compare_set", "c", "first", "second"),
    ("compare_set", "absent", "expected", "desired"),
    ("check", ["absent"]),
    ("compare_set", "new", "", ""),
    ("check", ["new"]),
    ("num_keys",),
    ("delete_key", "a"),
    ("delete_key", "a"),
    ("check", ["a"]),
    ("num_keys",),
    ("append", "log", "xy"),
    ("append", "log", b"z"),
    ("get", "log"),
    ("multi_set", ["m1", "m2"], ["1", b"2"]),
    ("multi_get", ["m2", "m1"]),
    ("multi_get", []),
    ("has_extended_api",),
    ("wait", ["m1", "m2"]),
    ("wait", []),
    ("wait", ["absent"], TINY),
    ("wait", ["absent"], 0),
    ("get", "absent"),
    ("multi_get", ["absent", "m1"]),
    ("get", "m1"),
    ("queue_push", "q", "1"),
    ("queue_push", "q", b"2"),
    ("queue_len", "q"),
    ("check", ["q"]),
    ("wait", ["q"], TINY),
    ("queue_pop", "q"),
    ("queue_pop", "q", False),
    ("queue_pop", "q", False),
    ("queue_pop", "q"),
    ("check", ["q"]),
    ("queue_len", "never"),
    ("queue_push", "m1", "both a queue and a value"),
    ("get", "m1"),
    ("delete_key", "m1"),
    ("queue_len", "m1"),
    ("barrier", "alone", 1),
    ("barrier", "alone", 1, TINY),
    ("barrier", "alone", 2, TINY),
    ("barrier", "crowd", 3, TINY),
    ("list_keys",),
    ("num_keys",),
    ("set_timeout", 3),
    ("set", "text", "abc"),
    ("add", "text", 1),
]

WAITS = [
    ("wait", ["absent"], TINY),
    ("get", "absent"),
    ("multi_get", ["absent", "m1"]),
    ("barrier", "crowd", 3, TINY),
]

# Where we differ on purpose.
BETTER = {
    "hash": [],
    "tcp": [],
    "file": [
        ("delete_key", "a"),  # torch's always says that it was there
        ("list_keys",),  # torch's shows its own key, without its first letter
    ],
    "prefix": [],
    "prefix file": [("delete_key", "a")],
}


def outcome(store, call):
    name, *arguments = call
    try:
        result = getattr(store, name)(*arguments)
        return sorted(result) if name == "list_keys" else result
    except Exception as error:
        return error


def agree(ours, theirs):
    """Equal, of one type, and errors of a kind: a handler for torch's catches ours."""
    if isinstance(theirs, Exception):
        return type(theirs).__name__ in [kind.__name__ for kind in type(ours).__mro__]
    return type(ours) is type(theirs) and ours == theirs


KINDS = list(BETTER)


def stores(kind, folder=None):
    """A minitorch and a PyTorch store of one kind."""
    both = []
    for package in (dist, torch_dist):
        if kind == "hash":
            store = package.HashStore()
        elif "file" in kind:
            store = package.FileStore(str(folder / package.__name__), 1)
        else:
            store = package.TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
        store.set_timeout(TINY)
        both.append(package.PrefixStore("some", store) if "prefix" in kind else store)
    return both


@pytest.mark.parametrize("kind", KINDS)
def test_every_operation_agrees_with_pytorch(kind, tmp_path):
    ours, theirs = stores(kind, tmp_path)
    different = []
    # torch's FileStore rounds each time-out up to a second; with "file" we have seen them.
    waits = WAITS if kind == "prefix file" else []
    for call in [call for call in CALLS if call not in waits]:
        mine, torchs = outcome(ours, call), outcome(theirs, call)
        if not agree(mine, torchs):
            assert call in BETTER[kind], (call, mine, torchs)
            different.append(call)
    assert all(call in different for call in BETTER[kind])
    assert ours.timeout == theirs.timeout == TINY


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


@pytest.mark.parametrize("name", ["Store", "HashStore", "FileStore", "PrefixStore", "TCPStore"])
def test_no_method_or_parameter_of_pytorchs_is_missing(name):
    ours, theirs = getattr(dist, name), getattr(torch_dist, name)
    attributes = public(ours)
    if name != "Store":  # what __init__ sets
        attributes |= {"host", "port", "path", "underlying_store"}
    assert public(theirs) <= attributes
    signature = theirs.__init__.__doc__.splitlines()[0]
    wanted = [part.split(":")[0] for part in signature.split("(self")[1].split(", ")[1:]]
    has = list(inspect.signature(ours.__init__).parameters)[1:]
    assert has[: len(wanted)] == wanted


def test_a_bare_store_says_what_it_lacks():
    with pytest.raises(NotImplementedError, match="Store has no get"):
        dist.Store().get("key")
    assert not dist.Store().has_extended_api()


@pytest.mark.parametrize("kind", KINDS)
def test_where_pytorch_breaks_we_do_not(kind, tmp_path):
    """Values too few: torch's HashStore sets the first, its FileStore reads beyond the list."""
    store = stores(kind, tmp_path)[0]
    with pytest.raises(DistStoreError, match="2 keys but 1 values"):
        store.multi_set(["a", "b"], ["1"])
    assert store.list_keys() == []
    store.set("empty", "")
    assert store.add("empty", 1) == 1  # torch's TCPStore hangs up


@pytest.mark.parametrize("kind", KINDS)
def test_a_clone_sees_the_same_table(kind, tmp_path):
    store = stores(kind, tmp_path)[0]
    clone = store.clone()
    clone.set("key", "value")
    assert store.get("key") == b"value"
    assert type(clone) is type(store) and clone.timeout == store.timeout == TINY


@pytest.mark.parametrize("kind", KINDS)
def test_barrier_and_queue_bring_threads_together(kind, tmp_path):
    store = stores(kind, tmp_path)[0]
    store.set_timeout(LONG)
    passed = []

    def come(clone):
        clone.barrier("here", 3)
        passed.append(time.monotonic())
        if "file" not in kind:
            passed.append(clone.queue_pop("work"))

    threads = [threading.Thread(target=come, args=(store.clone(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert passed == []
    store.barrier("here", 3)
    if "file" not in kind:
        for work in ("1", "2"):
            store.queue_push("work", work)
    for thread in threads:
        thread.join(60)
    assert len(passed) == (2 if "file" in kind else 4)
    assert "file" in kind or {b"1", b"2"} <= set(passed)


def test_a_barrier_that_fails_says_how_many_came(caplog, monkeypatch):
    monkeypatch.setattr("minitorch.distributed.store.patience.REPORT_EVERY", 0.05)
    for kind in ("hash", "tcp"):
        store = stores(kind)[0]
        with pytest.raises(DistStoreError, match="'b'.*: 1 of 3 came within 0.1 s"):
            store.barrier("b", 3)
    assert "waiting for the others of 3 at barrier 'b' in TCPStore" in caplog.text


def test_prefix_store_names_its_keys_as_pytorch_does():
    ours, theirs = HashStore(), torch_dist.HashStore()
    PrefixStore("a", PrefixStore("b", ours)).set("key", "value")
    torch_dist.PrefixStore("a", torch_dist.PrefixStore("b", theirs)).set("key", "value")
    assert theirs.list_keys() == ["b/a/key"]
    assert ours.get("b/a/key") == b"value"


def test_barrier_is_shared_with_pytorchs_clients():
    with served("minitorch") as (port, _):
        ours = TCPStore("127.0.0.1", port, timeout=LONG)
        theirs = torch_dist.TCPStore("127.0.0.1", port, is_master=False, timeout=LONG)
        thread = threading.Thread(target=theirs.barrier, args=("both", 2))
        thread.start()
        ours.barrier("both", 2)
        thread.join(60)
        assert not thread.is_alive()


@contextlib.contextmanager
def served(package, timeout=60):
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
    for client in (TCPStore, torch_dist.TCPStore):
        theirs = torch_dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        with served("minitorch") as (port, _):
            for server, place in (("minitorch", port), ("torch", theirs.port)):
                store = client("127.0.0.1", place, is_master=False, timeout=LONG)
                store.set_timeout(TINY)
                results[server, client] = [outcome(store, call) for call in CALLS]
    expected = results["torch", torch_dist.TCPStore]
    for who, got in results.items():
        for call, mine, theirs in zip(CALLS, got, expected, strict=True):
            assert agree(mine, theirs), (who, call, mine, theirs)


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
    assert 0.15 < time.monotonic() - start < SOON


def test_large_values_pass_whole():
    value = os.urandom(20_000_000)
    with served("minitorch") as (port, _):
        store = TCPStore("127.0.0.1", port, timeout=LONG)
        store.multi_set(["a", "b"], [value, value[::-1]])
        assert store.multi_get(["b", "a"]) == [value[::-1], value]


def test_what_is_too_large_is_refused_before_it_is_sent(monkeypatch):
    store = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    with pytest.raises(DistStoreError, match="SET of 67108.*collective"):
        store.set("key", bytes(protocol.MAX_REQUEST))
    with pytest.raises(DistStoreError, match="too many for one request"):
        store.check(["key"] * (protocol.MAX_KEYS + 1))
    store.set("key", "still at work")


def test_time_out_names_the_missing_keys_and_the_place():
    store = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    store.set("there", "1")
    with pytest.raises(DistStoreError, match=rf"'absent'.*127.0.0.1:{store.port}.*0.3 s") as info:
        store.wait(["there", "absent"], SHORT)
    assert "'there'" not in str(info.value)


def test_waiting_is_reported(caplog, monkeypatch):
    monkeypatch.setattr("minitorch.distributed.store.patience.REPORT_EVERY", 0.05)
    store = HashStore(SHORT)
    with caplog.at_level(logging.WARNING, "minitorch.distributed"), pytest.raises(DistStoreError):
        store.get("absent")
    assert "waiting for 'absent'" in caplog.text


def test_refused_connection_is_an_error_that_names_the_place_and_the_time():
    port, start = free_port(), time.monotonic()
    with pytest.raises(DistNetworkError, match=rf"127.0.0.1:{port} for 0\.3 s.*refused"):
        TCPStore("127.0.0.1", port, timeout=SHORT)
    assert time.monotonic() - start < SOON


def test_connection_is_tried_again_until_the_server_is_there():
    port, servers = free_port(), []
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
            TCPStore("127.0.0.1", port, timeout=timedelta(seconds=1.5))


def test_dead_server_is_an_error_for_a_waiting_client_at_once():
    with served("minitorch") as (port, server):
        store = TCPStore("127.0.0.1", port, timeout=LONG)
        threading.Timer(0.2, server.kill).start()
        start = time.monotonic()
        with pytest.raises(DistNetworkError, match=f"lost the store at 127.0.0.1:{port}"):
            store.get("absent")
        assert time.monotonic() - start < SECONDS
        with pytest.raises(DistNetworkError, match="lost the store"):
            store.set("key", "value")


def test_frozen_server_is_an_error_after_the_time_out():
    with served("minitorch") as (port, server):
        store = TCPStore("127.0.0.1", port, timeout=LONG)
        store.set_timeout(timedelta(seconds=1))
        server.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, server.pid, os.WSTOPPED)
        start = time.monotonic()
        with pytest.raises(DistNetworkError, match="lost the store"):
            store.add("counter", 1)
        assert time.monotonic() - start < SOON
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

    def interrupt():
        if wait_until(lambda: store._server._board._waiting):
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
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


def test_a_socket_that_listens_already_is_served():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    store = TCPStore(
        "127.0.0.1", port, is_master=True, master_listen_fd=listener.detach(), timeout=LONG
    )
    assert store.port == port
    TCPStore("127.0.0.1", port, timeout=LONG).set("key", "value")
    assert store.get("key") == b"value"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_store_for_this_machine_listens_on_loopback_only(host):
    store = TCPStore(host, 0, is_master=True, timeout=LONG)
    listening = f"0100007F:{store.port:04X}"  # as Linux writes 127.0.0.1
    assert listening in Path("/proc/net/tcp").read_text()
    assert f":{store.port:04X}" not in Path("/proc/net/tcp6").read_text()


def test_an_unknown_host_is_named_as_such():
    with pytest.raises(DistNetworkError, match="nowhere.invalid:1 .*name could not be resolved"):
        TCPStore("nowhere.invalid", 1, timeout=SHORT)


def test_a_server_that_never_answers_is_given_up(caplog, monkeypatch):
    monkeypatch.setattr("minitorch.distributed.store.patience.REPORT_EVERY", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        start = time.monotonic()
        with pytest.raises(DistNetworkError, match="nothing answers there"):
            TCPStore("127.0.0.1", port, timeout=timedelta(seconds=1))
        assert time.monotonic() - start < SOON
    assert f"waiting for the store at 127.0.0.1:{port} (nothing answers there)" in caplog.text


def test_the_server_ends_with_its_store():
    store = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    port, thread = store.port, store._server._thread
    assert thread.is_alive()
    del store
    thread.join(SOON)
    assert not thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("keep", ["store", "builtins.store"])
def test_a_store_that_is_never_closed_does_not_hold_up_the_exit(keep):
    program = f"""
import builtins
from minitorch.distributed.store import TCPStore
{keep} = TCPStore("127.0.0.1", 0, is_master=True)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0


def test_master_waits_for_its_workers_and_counts_them():
    with pytest.raises(DistStoreError, match="only 1 of 3 clients"):
        TCPStore("127.0.0.1", 0, world_size=3, is_master=True, timeout=SHORT)

    port = free_port()
    join = threading.Timer(0.2, lambda: TCPStore("127.0.0.1", port, 2, timeout=LONG))
    join.start()
    master = TCPStore("127.0.0.1", port, 2, is_master=True, timeout=LONG)
    join.join()
    assert master.num_keys() == 1  # the key that counts the clients, as in PyTorch


def test_the_address_to_tell_peers_is_the_one_that_reaches_the_store():
    with served("minitorch") as (port, _):
        store = TCPStore("127.0.0.1", port, timeout=LONG)
        assert store.local_address == PrefixStore("a", store).local_address == "127.0.0.1"
        store.host = "node-0"  # as if this name were mapped to a loopback address here
        assert store.local_address == "node-0"
    assert not hasattr(PrefixStore("a", HashStore()), "local_address")
