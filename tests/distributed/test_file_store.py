"""FileStore: whole records only, whoever writes, dies or finds the disk full."""

import errno
import fcntl
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as torch_dist

import minitorch.distributed as dist
from minitorch.distributed import DistStoreError, FileStore

TINY = timedelta(seconds=0.1)
LONG = timedelta(seconds=60)  # nothing takes that long, but what hangs

FORK = multiprocessing.get_context("fork")  # quicker than to import two frameworks again


def work(package, path, count, name, winners):
    store = package.FileStore(path, -1)
    for number in range(count):
        store.add("counter", 1)
        store.append("log", "x")
        store.set(f"{name} {number}", b"v" * number)
    if store.compare_set("winner", "", name) == name.encode():
        winners.put(name)


def run_together(path, count, *packages):
    """The processes' names that won."""
    winners = FORK.SimpleQueue()
    workers = [
        FORK.Process(target=work, args=(package, path, count, f"p{i}", winners))
        for i, package in enumerate(packages)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * len(packages)
    return [winners.get() for _ in iter(winners.empty, True)]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store")


def test_concurrent_processes_lose_nothing_pytorchs_among_them(path):
    """Four processes, two of them PyTorch's, add and append to the same keys."""
    watcher = FileStore(path)
    winners = run_together(path, 100, dist, torch_dist, dist, torch_dist)
    # PyTorch's append is a get and a set, so that the log may lose something here.
    assert watcher.get("counter") == b"400"
    assert len(winners) == 1 and watcher.get("winner") == winners[0].encode()
    for i in range(4):
        for number in (0, 57, 99):
            assert watcher.get(f"p{i} {number}") == b"v" * number
    theirs = torch_dist.FileStore(path, -1)
    assert theirs.get("counter") == b"400" and theirs.num_keys() == watcher.num_keys()


def test_append_is_atomic(path):
    run_together(path, 60, dist, dist, dist)
    assert FileStore(path).get("log") == b"x" * 180


def test_each_reads_what_the_other_writes(path):
    ours, theirs = FileStore(path, 2), torch_dist.FileStore(path, 2)
    ours.set("ours", "1")
    theirs.set("theirs", b"\xff\x00")
    assert theirs.get("ours") == b"1" and ours.get("theirs") == b"\xff\x00"
    assert ours.add("ours", 1) == 2 and theirs.add("ours", 1) == 3
    theirs.delete_key("ours")
    assert not ours.check(["ours"])
    ours.delete_key("theirs")
    assert not theirs.check(["theirs"])
    thread = threading.Thread(target=theirs.barrier, args=("both", 2))
    thread.start()
    ours.barrier("both", 2)
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("order", ["ours leaves last", "pytorch leaves last"])
def test_the_last_to_leave_removes_the_file(path, order):
    ours, theirs = FileStore(path, 2), torch_dist.FileStore(path, 2)
    if order == "ours leaves last":
        del theirs
        assert os.path.exists(path)
        ours.close()
    else:
        ours.close()
        assert os.path.exists(path)
        del theirs
    assert not os.path.exists(path)


def test_when_the_file_goes(path):
    FileStore(path, 2).close()
    assert os.path.exists(path), "the second of two is still to come"
    second = FileStore(path, 2)
    clone = second.clone()
    second.close()
    assert os.path.exists(path), "the clone is still there"
    del clone
    assert not os.path.exists(path)
    FileStore(path).close()
    assert os.path.exists(path), "nobody knows how many there are"


def test_threads_may_share_a_store(path, monkeypatch):
    # Give way in the middle: flock(2) does not hold up another thread with the same file.
    monkeypatch.setattr(FileStore, "_has_its_name", lambda self: time.sleep(0.0001) or True)
    store = FileStore(path)

    def work():
        for _ in range(50):
            store.add("counter", 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("counter") == b"200"


@pytest.mark.parametrize("way", ["size limit", "patched"])
def test_a_full_disk_is_an_error_and_the_file_stays_whole(path, way, monkeypatch):
    """The operating system writes what fits, then refuses: half a record must not stay."""
    store = FileStore(path)
    store.set("before", "1")
    size = os.path.getsize(path)
    if way == "patched":
        real = os.pwrite
        calls = []

        def full(file, data, offset):
            calls.append(1)
            if len(calls) > 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(file, data[:100], offset)

        monkeypatch.setattr(os, "pwrite", full)
        words = "No space left on device"
    else:
        old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
        words = "File too large"
    try:
        start_time = time.monotonic()
        with pytest.raises(
            DistStoreError, match=rf"could not write 10\d+ bytes to {path}.*{words}"
        ):
            store.set("large", bytes(10_000))
        assert time.monotonic() - start_time < 25
    finally:
        if way == "patched":
            monkeypatch.undo()
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, old)
    assert os.path.getsize(path) == size
    assert not store.check(["large"]) and store.get("before") == b"1"
    store.set("after", "2")
    assert torch_dist.FileStore(path, -1).get("after") == b"2"


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this process may not mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full(small_disk):
    path = str(small_disk / "store")
    store = FileStore(path, 1)
    with pytest.raises(DistStoreError, match=f"write .* {path}.*No space left on device"):
        for number in range(100):
            store.set(f"key {number}", bytes(5000))
    assert store.get("key 0") == bytes(5000) and not store.check([f"key {number}"])
    store.close()  # leaving would write, too
    (small_disk / "filler").write_bytes(bytes(60 << 10))
    with pytest.raises(DistStoreError, match="No space left on device"):
        second = FileStore(str(small_disk / "second"), 1)
        second.set("key", bytes(8192))


def test_what_a_killed_writer_left_is_not_a_record(path):
    store = FileStore(path)
    store.set("key", "1")
    with open(path, "ab") as file:
        file.write(b"\x05\0\0\0/half\xff\0\0\0only this" + bytes(200))
    assert store.num_keys() == 2 and not store.check(["half"])
    other = FileStore(path)
    other.set("key", "2")
    assert store.get("key") == b"2"
    assert torch_dist.FileStore(path, -1).get("key") == b"2"


def test_a_lock_that_is_never_released_is_an_error(path):
    """As when its holder is stopped in the middle of a write."""
    store = FileStore(path)
    store.set_timeout(TINY)
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        start_time = time.monotonic()
        with pytest.raises(DistStoreError, match=f"another process kept {path} locked for 1 s"):
            store.set("key", "value")
        assert time.monotonic() - start_time < 25
    store.set("key", "value")


def test_a_killed_process_does_not_keep_the_lock(path):
    store = FileStore(path, timeout=LONG)
    program = """
import fcntl, sys, time
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
    process.stdout.readline()
    threading.Timer(0.3, process.kill).start()
    store.set("key", "value")
    assert process.wait(60) == -signal.SIGKILL
    process.stdout.close()


def test_a_foreign_file_is_left_alone(path):
    Path(path).write_text("my thesis, the only copy")
    with pytest.raises(DistStoreError, match="is not a store's file: it begins with b'my thesis"):
        FileStore(path)
    assert Path(path).read_text() == "my thesis, the only copy"


def test_an_empty_file_will_do(path):
    Path(path).touch()  # as of tempfile.NamedTemporaryFile
    FileStore(path).set("key", "value")


@pytest.mark.parametrize("place, words", [("missing/store", "No such file"), ("", "directory")])
def test_a_path_that_cannot_be_is_an_error_at_once(tmp_path, place, words):
    start_time = time.monotonic()
    with pytest.raises(DistStoreError, match=f"could not open .*{words}"):
        FileStore(str(tmp_path / place))
    assert time.monotonic() - start_time < 25


def test_a_file_removed_in_use_is_an_error(path):
    store = FileStore(path)
    os.remove(path)
    with pytest.raises(DistStoreError, match=f"{path} was removed while"):
        store.set("key", "value")
    FileStore(path)  # somebody starts anew
    with pytest.raises(DistStoreError, match=f"{path} was removed while"):
        store.get("key")


def test_a_file_that_the_last_one_removes_while_it_is_opened(path, monkeypatch):
    """The next generation must not write into a file without a name."""
    first = FileStore(path, 1)
    real = FileStore._open
    opened = []

    def open_and_be_late(self):
        file = real(self)
        if not opened:
            first.close()  # removes the file
        opened.append(file)
        return file

    monkeypatch.setattr(FileStore, "_open", open_and_be_late)
    second = FileStore(path, 1)
    assert len(opened) == 2
    second.set("key", "value")
    assert torch_dist.FileStore(path, -1).get("key") == b"value"


def test_a_forked_child_is_told_to_open_its_own(path):
    store = FileStore(path, 1)
    queue = FORK.SimpleQueue()

    def child():
        try:
            store.set("key", "value")
        except DistStoreError as error:
            queue.put(str(error))

    process = FORK.Process(target=child)
    process.start()
    assert "make a FileStore in each process" in queue.get()
    process.join()
    store.set("key", "value")  # the child's end has not removed the file


def test_a_closed_store_says_so(path):
    store = FileStore(path)
    store.close()
    store.close()
    with pytest.raises(DistStoreError, match="was closed here"):
        store.set("key", "value")
