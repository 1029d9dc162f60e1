"""What strangers may send to a store's port: it changes nothing, and is reported once."""

import logging
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from minitorch.distributed import DistNetworkError, TCPStore
from minitorch.distributed.store import conversation, server
from minitorch.distributed.store.protocol import MAGIC, MAX_REQUEST, Query, pack

from .launching import wait_until

LONG = timedelta(seconds=60)  # nothing takes that long, but what hangs
SOON = 25.0
HELLO = bytes([Query.VALIDATE]) + struct.pack("=I", MAGIC)
HUGE = b"\xff" * 8


@pytest.fixture
def store():
    with_server = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    yield with_server
    with_server.set("key", "value")
    assert with_server.get("key") == b"value"  # still at work
    with_server.close()


def stranger(store):
    connection = socket.create_connection(("127.0.0.1", store.port))
    connection.settimeout(60)
    return connection


def hung_up(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def resident_bytes():
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize(
    "noise, words",
    [
        (b"GET / HTTP/1.1\r\n\r\n", "does not speak the store's protocol"),
        (b"\0\0\0\0\0", "does not speak the store's protocol"),
        (b"\x01", "does not speak the store's protocol"),  # SET before the hello
        (HELLO + bytes([Query.SET]) + HUGE, "announced 18446744073709551"),
        (HELLO + bytes([Query.GET]) + struct.pack("=Q", MAX_REQUEST), "announced 671088"),
        (HELLO + bytes([Query.CHECK]) + HUGE, "announced 18446744073709551615 keys"),
        (HELLO + bytes([Query.MULTI_SET]) + HUGE, "announced 18446744073709551615 keys"),
        (HELLO + b"\xee", "unknown kind 238"),
        (HELLO + bytes([Query.GET]) + pack("absent"), "asked for a key that does not exist"),
        (HELLO + bytes([Query.GET]) + pack(b"\xff\xfe"), "utf-8"),
        (HELLO + bytes([Query.SET]) + pack("n") + pack("x")
         + bytes([Query.ADD]) + pack("n") + HUGE, "cannot add to b'x'"),
    ],
)  # fmt: skip
def test_nonsense_is_hung_up_on(store, noise, words, caplog):
    with stranger(store) as connection:
        connection.sendall(noise)
        assert hung_up(connection)
    assert f"the store at port {store.port} hung up on a client" in caplog.text
    assert words in caplog.text


def test_only_the_first_is_reported(store, caplog):
    for _ in range(5):
        with stranger(store) as connection:
            connection.sendall(b"SSH-2.0-x\r\n")
            assert hung_up(connection)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1 and "others will not be reported" in warnings[0].getMessage()


def fuzz(rng):
    """Something between pure noise and an almost proper request."""
    kind = rng.randrange(5)
    noise = rng.randbytes(rng.choice([0, 1, 7, 100, 5000]))
    if kind == 0:
        return noise
    if kind == 1:
        return HELLO + noise
    query = bytes([rng.randrange(20)])
    if kind == 2:
        return HELLO + query + noise
    key, number = pack(rng.choice(["/a", "/b", ""])), struct.pack("=q", rng.randrange(-9, 9))
    fields = [key, pack(noise), HUGE, number]
    request = query + b"".join(rng.choices(fields, k=rng.randrange(4)))
    return HELLO + (request[: rng.randrange(len(request) + 1)] if kind == 3 else request * 3)


def test_garbage_changes_nothing(store, caplog):
    """A thousand strangers of all kinds, while a client of the store does its work."""
    rng = random.Random(0)
    client = store.clone()
    client.set("mine", "value")
    before = resident_bytes()
    for number in range(1000):
        with stranger(store) as connection:
            try:
                connection.sendall(fuzz(rng))
                if rng.random() < 0.3:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it was hung up on while it was still talking
        if number % 10 == 0:
            assert client.add("counter", 1) == number // 10 + 1
    assert client.get("mine") == b"value"
    assert resident_bytes() - before < 20 << 20
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1


def test_announced_bytes_are_not_reserved(store):
    """Many clients announce almost the largest request, and send little of it."""
    before = resident_bytes()
    connections = [stranger(store) for _ in range(50)]
    for connection in connections:
        size = struct.pack("=Q", MAX_REQUEST - 1000)
        connection.sendall(HELLO + bytes([Query.SET]) + pack("/a") + size + b"x" * 1000)
    store.set("after", "them")
    assert resident_bytes() - before < 20 << 20
    for connection in connections:
        connection.close()


def test_whoever_does_not_read_is_not_answered_for_ever(store, monkeypatch):
    """Requests whose replies pile up: the server stops reading, and goes on with the others."""
    monkeypatch.setattr(conversation, "MAX_REQUEST", 1 << 20)
    monkeypatch.setattr(server, "MAX_REQUEST", 1 << 20)
    store.set("large", b"x" * 100_000)
    before = resident_bytes()
    with stranger(store) as connection:
        requests = HELLO + (bytes([Query.GET]) + pack("/large")) * 2000  # 200 MB of replies
        connection.sendall(requests)
        for _ in range(20):
            store.set("others", "go on")
            time.sleep(0.01)
        assert resident_bytes() - before < 50 << 20
        expected, received = 2000 * (100_000 + 8), 0
        while received < expected:  # who reads after all gets everything
            received += len(connection.recv(1 << 20))
        assert received == expected


def test_a_request_may_come_byte_by_byte(store):
    with stranger(store) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in HELLO + bytes([Query.SET]) + pack("/slow") + pack("loris"):
            connection.sendall(bytes([byte]))
        assert store.get("slow") == b"loris"


def test_who_says_nothing_is_hung_up_on_and_clients_may_be_silent(monkeypatch, caplog):
    monkeypatch.setattr(server, "HELLO_WITHIN", 0.5)
    store = TCPStore("127.0.0.1", 0, is_master=True, timeout=LONG)
    quiet = store.clone()
    with stranger(store) as silent, stranger(store) as slow:
        slow.sendall(HELLO[:3])
        assert hung_up(silent) and hung_up(slow)
    assert "did not say hello" in caplog.text
    quiet.set("key", "value")
    assert store.get("key") == b"value"


def test_connections_without_end_do_not_lock_clients_out():
    """With few file descriptors, strangers that hold theirs give way to whoever comes next."""
    program = """
import resource, sys
from minitorch.distributed import TCPStore
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
store = TCPStore("127.0.0.1", 0, is_master=True)
print(store.port, flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        port = int(process.stdout.readline())
        flood = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        client = TCPStore("127.0.0.1", port, timeout=LONG)
        client.set("key", "value")
        assert client.get("key") == b"value"
        for connection in flood:
            connection.close()
    finally:
        process.kill()
        _, err = process.communicate()
    assert err.count("hung up on a client: there are too many connections") == 1


def test_waiting_clients_that_die_leave_nothing_behind(store):
    board = server.StoreServer.at(store.port)._board
    for _ in range(20):
        with stranger(store) as connection:
            keys = struct.pack("=Q", 2) + pack("/a") + pack("/b")
            connection.sendall(HELLO + bytes([Query.WAIT]) + keys)
            connection.sendall(bytes([Query.WAIT]) + keys)  # without waiting for the first
    assert wait_until(lambda: store.num_keys() >= 0 and not board._waiting)


def test_a_client_in_the_middle_of_a_large_value_does_not_hold_up_others(store):
    with stranger(store) as connection:
        connection.sendall(HELLO + bytes([Query.SET]) + pack("/a") + struct.pack("=Q", 1 << 20))
        start = time.monotonic()
        for number in range(100):
            assert store.add("counter", 1) == number + 1
        assert time.monotonic() - start < SOON
        assert not store.check(["a"])


def test_a_client_hung_up_on_learns_it_at_once(store):
    client = store.clone()
    client.set("text", "abc")
    with pytest.raises(DistNetworkError, match="lost the store.*ADD ended with the server closed"):
        client.add("text", 1)


def test_the_wake_up_reaches_all_who_wait(store):
    woken = []

    def wait(clone):
        clone.wait(["both", "keys"])
        woken.append(1)

    threads = [threading.Thread(target=wait, args=(store.clone(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    store.set("both", "1")
    time.sleep(0.2)
    assert not woken
    store.multi_set(["keys", "more"], ["1", "2"])
    for thread in threads:
        thread.join(60)
    assert len(woken) == 8


FORKS = """
import os, sys
from minitorch.distributed import TCPStore
store = TCPStore("127.0.0.1", 0, is_master=True)
store.set("key", "value")
if os.fork() == 0:
    if sys.argv[1] == "another":
        TCPStore("127.0.0.1", store.port, is_master=True, multi_tenant=True).close()
    store.close()
    sys.exit(0)
os.wait()
print(store.get("key").decode())
"""


@pytest.mark.parametrize("what", ["close", "another"])
def test_a_forked_child_does_not_stop_the_server(what):
    command = [sys.executable, "-c", FORKS, what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "value\n", done.stderr
