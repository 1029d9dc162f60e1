"""A rank fails while the ranks come together: the others hear of it, and soon."""

import errno
import os
import signal
import socket
import sys
import threading
import time
from datetime import timedelta

import pytest

from .faults import SECONDS, check
from .harness import run_ranks, try_ranks
from .launching import free_port

TIMEOUT = 9.0  # of the group, where nothing but time tells; no more than a test can wait
LONG = 40.0  # elsewhere


def befall(how):
    """Let the fault happen to this process."""
    if how in ("SIGKILL", "SIGSTOP", "SIGINT"):
        os.kill(os.getpid(), getattr(signal, how))
        time.sleep(100)
    if how == "_exit":
        os._exit(0)
    if how == "exit 0":
        sys.exit(0)
    raise ValueError("the user's own")


def come_together(rank, world_size, moment, how, port, victim, limit):
    """init_process_group, in which the fault befalls the victim at some moment."""
    import minitorch.distributed as dist
    from minitorch.distributed import handshake, process_group

    rendezvous = sys.modules["minitorch.distributed.rendezvous"]  # the name is a function's, too
    if rank == victim:
        if moment == "before signing in":
            rendezvous.sign_in = lambda *_: befall(how)
        if moment == "signed in":
            rendezvous.wait_until = lambda *_: befall(how)
        if moment == "with its address given":
            handshake.Handshake._listen = lambda *_: befall(how)
        if moment == "before it is connected":
            handshake.Handshake._greet = lambda *_: befall(how)
        if moment == "when it is connected":
            process_group.calibrate = lambda *_: befall(how)
    if moment == "signed in" and rank == 2:
        time.sleep(100)  # so that the others have somebody to wait for
    start = time.monotonic()
    try:
        dist.init_process_group(
            init_method=f"tcp://127.0.0.1:{port}",
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=limit),
        )
    except RuntimeError as error:
        return str(error), time.monotonic() - start
    return None


def outcomes_of(moment, how, victim=1):
    survivors = {0, 1, 2} - {victim} - ({2} if moment == "signed in" else set())
    limit = TIMEOUT if how == "SIGSTOP" or moment == "before signing in" else LONG
    outcomes = try_ranks(
        come_together,
        3,
        *(moment, how, free_port(), victim, limit),
        process_group=False,
        timeout=limit + 45,
        awaited=survivors,
        method="forkserver",
    )
    for rank in survivors:
        assert outcomes[rank].value is not None, outcomes[rank].error or "no error"
    return {rank: outcomes[rank].value for rank in survivors}


@pytest.mark.parametrize("how", ["SIGKILL", "exception", "SIGINT", "_exit", "exit 0"])
def test_a_rank_that_dies_having_signed_in(how):
    raised = outcomes_of("signed in", how)
    check(
        f"{how} while it waits for others to sign in", raised, "rank 1", "ended before all had come"
    )


DEATHS = {
    "with its address given": ["init_process_group: rank 1 ended before all ranks were connected"],
    "before it is connected": ["rank 1"],
    "when it is connected": ["rank 1"],
}


@pytest.mark.parametrize("moment", DEATHS)
def test_a_rank_that_dies_in_the_handshake(moment):
    raised = outcomes_of(moment, "SIGKILL")
    check(f"SIGKILL {moment}", raised, *DEATHS[moment])
    if moment == "when it is connected":
        check_connected(raised)


def test_the_rank_that_hosts_the_store_dies():
    raised = outcomes_of("with its address given", "SIGKILL", victim=0)
    check("SIGKILL of rank 0, which hosts the store", raised, "lost the store at", "rank 0")


def test_a_rank_that_dies_before_it_signs_in():
    raised = outcomes_of("before signing in", "SIGKILL")
    check(
        "SIGKILL before it has signed in",
        raised,
        "rank 1 of 3 did not come to 127.0.0.1",
        within=TIMEOUT + SECONDS,
    )


@pytest.mark.parametrize(
    "moment", ["signed in", "with its address given", "before it is connected"]
)
@pytest.mark.slow
def test_a_rank_that_is_stopped_while_they_connect(moment):
    raised = outcomes_of(moment, "SIGSTOP")
    check(f"SIGSTOP {moment}", raised, "rank", within=TIMEOUT + SECONDS)


def test_a_rank_that_is_stopped_when_it_is_connected():
    raised = outcomes_of("when it is connected", "SIGSTOP")
    check("SIGSTOP when it is connected", raised, "rank 1")
    check_connected(raised)


def check_connected(raised):
    """Either its HELLO had left for the others, or it had not."""
    for text, _ in raised.values():
        assert "lost rank 1: killed, stopped" in text or "rank 1 hung up" in text


def test_a_port_that_is_taken():
    import minitorch.distributed as dist

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        start = time.monotonic()
        with pytest.raises(dist.DistNetworkError) as info:
            dist.init_process_group(init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=2)
    check(
        "a port that is taken",
        {0: (str(info.value), time.monotonic() - start)},
        f"could not listen there: {os.strerror(errno.EADDRINUSE)}",
        "Is another process started as rank 0, or another job at this port?",
        ranks=2,
    )


def join_one_of_two_jobs(rank, world_size, port):
    """The last one is rank 0 as well, of another job, and comes when two of three have come."""
    import minitorch.distributed as dist

    if rank == 2:
        store = dist.TCPStore("127.0.0.1", port, wait_for_workers=False)
        store.wait([f"rendezvous 0.0/rank {other}" for other in (0, 1)])
    start = time.monotonic()
    try:
        dist.init_process_group(
            init_method=f"tcp://127.0.0.1:{port}",
            rank=rank % 2,
            world_size=3,
            timeout=timedelta(seconds=4 * LONG),
        )
    except RuntimeError as error:
        return str(error), time.monotonic() - start
    return None


def test_two_jobs_at_one_port():
    """The rank 1 that has come might be either's, so neither may go on."""
    *others, last = run_ranks(join_one_of_two_jobs, 3, free_port(), process_group=False)
    assert "could not listen there" in last[0] and "another job at this port?" in last[0]
    # Their seconds include those that the last process took to start.
    words = "as rank 0 at 127.0.0.1:", "are two jobs started at one port?"
    check("two jobs at one port", dict(enumerate(others)), *words, within=2 * LONG)


def come_to_a_full_disk(rank, world_size, path, full):
    import minitorch.distributed as dist

    real = os.pwrite

    def pwrite(file, data, offset):
        if rank == 1 and offset >= full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data, offset)

    os.pwrite = pwrite
    start = time.monotonic()
    try:
        dist.init_process_group(
            init_method=f"file://{path}",
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=5),
        )
    except RuntimeError as error:
        return str(error), time.monotonic() - start
    return None


def test_a_full_disk_under_a_file_store(tmp_path):
    path = tmp_path / "store"
    outcomes = try_ranks(
        come_to_a_full_disk, 2, str(path), 200, process_group=False, method="forkserver"
    )
    raised = {rank: outcome.value for rank, outcome in enumerate(outcomes)}
    assert None not in raised.values(), outcomes
    check("a full disk under a FileStore", {1: raised[1]}, "No space left on device", ranks=2)
    check("a full disk under a FileStore, the others", {0: raised[0]}, "rank 1", ranks=2, within=15)


def test_a_last_will_comes_into_force_when_its_client_has_gone():
    from minitorch.distributed import PrefixStore, TCPStore

    server = TCPStore("127.0.0.1", 0, is_master=True)
    client = PrefixStore("ours", TCPStore("127.0.0.1", server.port))
    client.set("set already", "before")
    client.last_will("set already", "after")
    client.last_will("gone", "with these words")
    assert not server.check(["ours/gone"]) and server.num_keys() == 1
    threading.Timer(0.2, client.underlying_store.close).start()
    assert server.get("ours/gone") == b"with these words"  # and who waits is woken
    assert server.get("ours/set already") == b"before"
    server.close()


def test_pytorchs_server_has_nothing_against_a_last_will():
    import torch

    from minitorch.distributed import TCPStore

    server = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    client = TCPStore("127.0.0.1", server.port)
    client.last_will("gone", "words")
    client.set("key", "value")
    assert server.get("key") == b"value"
    client.close()
    assert not server.check(["gone"])
