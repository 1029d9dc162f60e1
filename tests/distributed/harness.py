"""Run a function on several real processes, with a deadline, and leave nothing behind.

    def average(rank, world_size, start):
        tensor = np.full(3, start + rank)
        dist.all_reduce(tensor, dist.ReduceOp.AVG)
        return tensor

    results = run_ranks(average, 4, 10.0)       # one return value for each rank
    outcomes = try_ranks(average, 4, 10.0)      # one Outcome for each, failed or not

The function must be importable (defined at the top of a module), as its processes are spawned.
"""

import multiprocessing
import multiprocessing.connection
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

LAST_GASP = 30.0  # seconds that a process may take to end once it has its result


@dataclass
class Outcome:
    """How one rank ended.

    `error` is None, the name of an exception and its text, or what became of a process that could
    not say anything. `seconds` counts from the moment when the process group stood.
    """

    value: Any = None
    error: str | None = None
    traceback: str = ""
    seconds: float = 0.0
    exit_code: int | None = None


def run_ranks(fn: Callable, world_size: int, *args: Any, **options: Any) -> list:
    """Call `fn(rank, world_size, *args)` on every rank; returns the values in rank order.

    Takes the options of `try_ranks`. Raises AssertionError, with the tracebacks, if a rank failed.
    """
    outcomes = try_ranks(fn, world_size, *args, **options)
    failed = [
        f"rank {rank}: {outcome.error}\n{outcome.traceback}"
        for rank, outcome in enumerate(outcomes)
        if outcome.error
    ]
    assert not failed, "\n".join(failed)
    return [outcome.value for outcome in outcomes]


def try_ranks(
    fn: Callable,
    world_size: int,
    *args: Any,
    timeout: float = 120.0,
    process_group: bool = True,
    group_timeout: float = 30.0,
    destroy: bool = True,
    awaited: Iterable[int] | None = None,
    method: str = "spawn",
) -> list[Outcome]:
    """Call `fn(rank, world_size, *args)` on every rank; returns how each ended.

    Args:
        timeout: seconds after which all processes are killed.
        process_group: initialise the default process group before, and `destroy` it after.
        group_timeout: the process group's own time-out.
        awaited: the ranks whose results are waited for (all); then the others are killed.
        method: "forkserver" starts processes much sooner, but they do not see what the test has
            put into the environment.
    """
    server = None
    port = 0
    if process_group:
        from minitorch.distributed.store import TCPStore

        server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        port = server.port
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["minitorch.distributed", "pytest"])
    processes, pipes = [], []
    for rank in range(world_size):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_main,
            args=(fn, rank, world_size, args, theirs, port, group_timeout, destroy),
            daemon=True,
        )
        process.start()
        theirs.close()
        processes.append(process)
        pipes.append(ours)

    outcomes = [Outcome(error=f"no result within {timeout} s") for _ in processes]
    try:
        needed = set(range(world_size) if awaited is None else awaited)
        deadline = time.monotonic() + timeout
        silent = dict(zip(pipes, range(world_size), strict=True))
        while needed & set(silent.values()) and (left := deadline - time.monotonic()) > 0:
            for pipe in multiprocessing.connection.wait(list(silent), left):
                rank = silent.pop(pipe)
                try:
                    outcomes[rank] = pipe.recv()
                except EOFError:
                    processes[rank].join(LAST_GASP)
                    outcomes[rank] = Outcome(error="ended without a result")
        for rank in needed - set(silent.values()):
            processes[rank].join(LAST_GASP)
            outcomes[rank].exit_code = processes[rank].exitcode
            if processes[rank].exitcode is None:
                outcomes[rank].error = f"still running {LAST_GASP} s after its result"
    finally:
        for process in processes:
            process.kill()
        for process, pipe in zip(processes, pipes, strict=True):
            process.join()
            pipe.close()
        if server is not None:
            server.close()
    return outcomes


def play_cases(rank: int, world_size: int, cases: dict[str, tuple], folder: str) -> dict:
    """One rank's part in many small jobs, one after the other: case -> (what it raised, seconds).

    A case is a tuple of call(dist, rank), something for the test itself, and, if it is to be
    another than 20 seconds, the process group's time-out.
    """
    import minitorch.distributed as dist

    outcomes: dict[str, tuple[str, float]] = {}
    meeting = dist.FileStore(f"{folder}/meeting")
    for i, (name, (call, _, *timeout)) in enumerate(cases.items()):
        meeting.barrier(name, world_size)  # some may have been late in the case before
        dist.init_process_group(
            init_method=f"file://{folder}/{i}",
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=timeout[0] if timeout else 20),
        )
        start = time.monotonic()
        try:
            call(dist, rank)
            # A rank that only sends may have got through: it must hear of it in its next call.
            dist.barrier()
            outcomes[name] = "no error", 0
        except Exception as error:
            outcomes[name] = f"{type(error).__name__}: {error}", time.monotonic() - start
        dist.destroy_process_group()
    return outcomes


def _main(fn, rank, world_size, args, pipe, port, group_timeout, destroy) -> None:
    outcome = Outcome()
    start = time.monotonic()
    try:
        if port:
            import minitorch.distributed as dist

            store = dist.TCPStore("127.0.0.1", port, wait_for_workers=False)
            store.barrier("all have started", world_size)  # however long that takes
            dist.init_process_group(
                store=store,
                rank=rank,
                world_size=world_size,
                timeout=timedelta(seconds=group_timeout),
            )
            start = time.monotonic()
        outcome.value = fn(rank, world_size, *args)
    except BaseException as error:
        outcome.error = f"{type(error).__name__}: {error}"
        outcome.traceback = traceback.format_exc()
    outcome.seconds = time.monotonic() - start
    pipe.send(outcome)
    if port and destroy:
        import minitorch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
