"""Who can get in: nobody who does not know the secret, whatever is sent to whichever port."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zmq

from minitorch.distributed import handshake
from minitorch.distributed.errors import DistNetworkError
from minitorch.distributed.process_group import ZmqProcessGroup
from minitorch.distributed.reduce_op import ReduceOp
from minitorch.distributed.security import Keys, encrypts, job_secret
from minitorch.distributed.store import HashStore

from .launching import wait_until
from .strangers import dial, impostors, throw_garbage
from .threads import endpoints, job, on_all, start

WAYS = [("memory", "always"), ("ipc", "network"), ("ipc", "always"), ("tcp", "network")]
WAYS += [("tcp", "always")]


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
def way(request, monkeypatch):
    """Each transport, with and without encryption."""
    monkeypatch.setenv("MINITORCH_TRANSPORT", request.param[0])
    monkeypatch.setenv("MINITORCH_ENCRYPT", request.param[1])
    monkeypatch.setenv("MINITORCH_SECRET", "the secret of this test")


def reduce_for(seconds: float):
    """All-reduces large and small ones for a while, checking every result."""

    def run(group: ZmqProcessGroup) -> int:
        end = time.monotonic() + seconds
        count = 0
        # The ranks agree on the end, as none may stop before the others.
        while True:
            go_on = np.array([time.monotonic() < end])
            group.all_reduce(go_on, ReduceOp.MIN).wait()
            if not go_on[0]:
                return count
            for size in (1, 1000, 300_000):
                array = np.arange(size, dtype=np.float32) * (group.rank() + 1)
                group.all_reduce(array, ReduceOp.SUM).wait()
                factor = group.size() * (group.size() + 1) // 2
                assert np.array_equal(array, np.arange(size, dtype=np.float32) * factor)
            count += 1

    return run


def warnings_about_strangers(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if "not of this job" in r.getMessage()]


def attack(places: list[str], rounds: int, seed: int) -> None:
    """Everything at every place, `rounds` times."""
    context = zmq.Context()
    kept = []
    try:
        for turn in range(rounds):
            for number, place in enumerate(places):
                kept += throw_garbage(place, seed + 1000 * turn + number)
                impostors(context, place)
        time.sleep(0.3)
    finally:
        for connection in kept:
            connection.close()
        context.destroy(0)


def under_attack(places: list[str], rounds: int, seed: int) -> Future:
    """The same in the background."""
    return ThreadPoolExecutor(1).submit(attack, places, rounds, seed)


def test_garbage_changes_nothing_and_is_reported_once(way, caplog):
    store = HashStore()
    with caplog.at_level(logging.WARNING), job(3, store) as groups:
        places = endpoints(store, 3)
        assert len(places) == 6
        attacker = under_attack(places, 1, 0)
        counts = on_all(groups, reduce_for(1.5))
        attacker.result()
        on_all(groups, reduce_for(0.3))
        assert all(count > 0 for count in counts)
    said = warnings_about_strangers(caplog)
    assert len(said) == 3, said  # one for each rank, of hundreds of connections
    assert all(any(place in text for place in places) for text in said)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_much_garbage(way, seed, caplog):
    store = HashStore()
    with job(2, store) as groups:
        attacker = under_attack(endpoints(store, 2), 10, seed)
        on_all(groups, reduce_for(10))
        attacker.result()
        on_all(groups, reduce_for(0.5))
    assert len(warnings_about_strangers(caplog)) == 2


class BesiegedStore(HashStore):
    """A store that lets strangers reach every endpoint before the ranks learn of it."""

    def __init__(self):
        super().__init__()
        self.context = zmq.Context()
        self.kept = []
        self._once = threading.RLock()
        self._attacked = False

    def wait_at_most(self, keys, seconds):
        there = super().wait_at_most(keys, seconds)
        if there and keys[0].startswith("endpoints"):
            with self._once:
                if not self._attacked:
                    self._attacked = True
                    super().wait_at_most(["endpoints/0", "endpoints/1"], 60)
                    for number, place in enumerate(endpoints(self, 2)):
                        self.kept += throw_garbage(place, number)
                        self.kept += impostors(self.context, place)
                    time.sleep(0.3)
        return there


def test_strangers_who_come_before_the_peers(way, caplog):
    store = BesiegedStore()
    try:
        with job(2, store) as groups:
            assert all(on_all(groups, reduce_for(0.3)))
    finally:
        for connection in store.kept:
            connection.close()
        store.context.destroy(0)
    assert len(warnings_about_strangers(caplog)) == 2


def test_a_second_visitor_with_the_right_keys_is_refused(way, monkeypatch):
    """Not even a process of the job can take the place of a rank once all are connected."""
    store = HashStore()
    context = zmq.Context()
    try:
        with job(2, store) as groups:
            keys = Keys(job_secret(2), store.get("job/0"))
            visitor = context.socket(zmq.PAIR)
            visitor.reconnect_ivl = -1
            keys.show(visitor, 0, 1, encrypts(same_host=True))
            monitor = visitor.get_monitor_socket(
                zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECTED
            )
            place = endpoints(store, 2)[0]
            visitor.connect(place)
            with contextlib.suppress(zmq.Again):  # it may have been turned away already
                visitor.send(b"\x02" + bytes(31), zmq.NOBLOCK)
            assert all(on_all(groups, reduce_for(0.5)))
            events = []
            while monitor.poll(200):
                events.append(int.from_bytes(monitor.recv_multipart()[0][:2], "little"))
            assert zmq.EVENT_CONNECTED in events
            assert zmq.EVENT_HANDSHAKE_SUCCEEDED not in events
    finally:
        context.destroy(0)


def test_keys_belong_to_one_job_and_one_direction():
    keys = Keys(b"secret", b"job")
    assert keys.verify("rank/0", keys.sign("rank/0", "text, more")) == "text, more"
    for other in (Keys(b"Secret", b"job"), Keys(b"secret", b"another"), Keys(b"", b"job")):
        assert other.verify("rank/0", keys.sign("rank/0", "text")) is None
        assert other.password(0, 1) != keys.password(0, 1)
        assert other.curve_pair(0) != keys.curve_pair(0)
    assert keys.verify("rank/1", keys.sign("rank/0", "text")) is None
    assert keys.verify("rank/0", keys.sign("rank/0", "text") + "!") is None
    assert keys.verify("rank/0", "") is None and keys.verify("rank/0", "\ufffd é") is None
    assert keys.password(0, 1) != keys.password(1, 0)
    assert keys.curve_pair(0) != keys.curve_pair(1)
    assert keys.curve_pair(0)[0] == zmq.curve_public(keys.curve_pair(0)[1])


def test_ranks_with_different_secrets_say_so_at_once(monkeypatch):
    monkeypatch.setattr(handshake, "job_secret", lambda _: threading.current_thread().name.encode())
    began = time.monotonic()
    results = start(2, timeout=60)
    assert time.monotonic() - began < 25
    for rank, error in enumerate(results):
        assert isinstance(error, DistNetworkError)
        assert f"what rank {1 - rank} left in the store is not signed" in str(error)
        assert "MINITORCH_SECRET_FILE" in str(error)


class ForgedStore(HashStore):
    """Somebody sends rank 1 to a port of his own."""

    def __init__(self, place):
        super().__init__()
        self.place = place

    def get(self, key):
        value = super().get(key)
        if key == "endpoints/0":
            signature, _, text = value.partition(b" ")
            assert b"ipc://@" in text
            return signature + b' {"1": "' + self.place.encode() + b'"}'
        return value


def test_a_forged_endpoint_is_not_called(monkeypatch):
    monkeypatch.setenv("MINITORCH_SECRET", "the secret of this test")
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.5)
        results = start(2, ForgedStore(f"tcp://127.0.0.1:{trap.getsockname()[1]}"), timeout=60)
        with pytest.raises(TimeoutError):
            trap.accept()
    assert "what rank 0 left in the store is not signed" in str(results[1])
    assert "rank 1" in str(results[0])  # it left while they were connecting


def test_the_store_holds_no_secret(monkeypatch):
    """All that is in it: the job's number, and names and places with their signatures."""
    monkeypatch.setenv("MINITORCH_SECRET", "the secret of this test")
    store = HashStore()
    with job(2, store):
        keys = Keys(b"the secret of this test", store.get("job/0"))
        hidden = [b"the secret of this test"]
        for rank in (0, 1):
            hidden += [keys.curve_pair(rank)[1], keys.password(rank, 1 - rank)]
        for value in store._table.values():
            assert not any(word in value for word in hidden)


def test_a_secret_file(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    monkeypatch.setenv("MINITORCH_SECRET", "of the launcher")
    assert job_secret(2) == b"of the launcher"
    monkeypatch.setenv("MINITORCH_SECRET_FILE", str(path))
    with pytest.raises(ValueError, match=r"secret: No such file.*head -c 32 /dev/urandom"):
        job_secret(2)
    path.write_text("0123456789abcdef0123456789\n")
    path.chmod(0o600)
    assert job_secret(2) == b"0123456789abcdef0123456789"
    for mode in (0o640, 0o604, 0o620, 0o666):
        path.chmod(mode)
        with pytest.raises(ValueError, match=r"only you may .*chmod 600"):
            job_secret(2)
    path.write_text("too short\n")
    path.chmod(0o400)
    with pytest.raises(ValueError, match="holds 9 bytes, at least 16"):
        job_secret(2)


def test_the_words_of_a_wrong_setting(monkeypatch):
    monkeypatch.setenv("MINITORCH_ENCRYPT", "yes")
    with pytest.raises(ValueError, match="always, network, never, not 'yes'"):
        encrypts(same_host=True)


def launch(tmp_path, *lines: str, **environment: str) -> list[str]:
    script = tmp_path / "script.py"
    script.write_text("\n".join(lines))
    command = [sys.executable, "-m", "minitorch.distributed.run", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, str(script)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [line.partition("] ")[2] for line in done.stdout.splitlines()]


def test_the_launcher_draws_a_secret_for_each_job(tmp_path):
    say = "import os; print(os.environ.get('MINITORCH_SECRET'))"
    one, two = launch(tmp_path, say), launch(tmp_path, say)
    assert one[0] == one[1] and two[0] == two[1]
    assert one[0] != two[0]
    assert len(bytes.fromhex(one[0])) == 32
    assert launch(tmp_path, say, MINITORCH_SECRET_FILE="elsewhere") == ["None", "None"]


def test_other_users_cannot_read_the_secret(tmp_path):
    """What security.py says of /proc/PID/environ."""
    if not sys.platform.startswith("linux") or os.getuid() != 0:
        pytest.skip("needs root, to become another user")
    sleeper = subprocess.Popen(["sleep", "600"], env={"MINITORCH_SECRET": "x"})
    try:
        place = f"/proc/{sleeper.pid}/environ"
        assert wait_until(lambda: b"MINITORCH_SECRET" in Path(place).read_bytes())
        spy = subprocess.run(["cat", place], user=65534, capture_output=True, text=True)
        assert spy.returncode != 0 and "Permission denied" in spy.stderr
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_job_on_one_host_listens_on_loopback_only(tmp_path):
    """Neither the launcher, nor the store, nor the ranks can be reached from outside."""
    lines = launch(
        tmp_path,
        "import minitorch.distributed as dist",
        "dist.init_process_group()",
        "if dist.get_rank() == 0:",
        "    for kind in ('tcp', 'tcp6'):",
        "        for line in list(open(f'/proc/net/{kind}'))[1:]:",
        "            fields = line.split()",
        "            if fields[3] == '0A':",
        "                print(fields[1].split(':')[0], fields[9])",
        "    import os",
        "    for pid in (os.getpid(), os.getppid()):",
        "        for fd in os.listdir(f'/proc/{pid}/fd'):",
        "            try: print('fd', os.readlink(f'/proc/{pid}/fd/{fd}'))",
        "            except OSError: pass",
        "dist.barrier()",
        MINITORCH_TRANSPORT="tcp",
    )
    held = {line.split("[")[1].rstrip("]") for line in lines if line.startswith("fd socket:")}
    listening = dict(reversed(line.split()) for line in lines if not line.startswith("fd"))
    ours = [address for inode, address in listening.items() if inode in held]
    assert len(ours) == 2  # the store, in the launcher, and rank 0, for rank 1
    loopback = "0100007F"  # 127.0.0.1, as a number in the machine's order
    assert set(ours) <= {loopback, "0" * 16 + "FFFF0000" + loopback, "0" * 24 + "01000000"}


def test_a_dialler_reaches_both_kinds_of_place(way):
    """The attacks above would prove nothing if they missed."""
    store = HashStore()
    with job(2, store):
        for place in endpoints(store, 2):
            connection = dial(place)
            assert connection.recv(10)[:1] == b"\xff"  # ZeroMQ's greeting
            connection.close()
