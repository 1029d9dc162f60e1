"""Random faults at random moments of random collectives: does every rank hear of it, and soon?

    python benchmarks/chaos.py                    # 300 jobs of 2 to 4 ranks
    python benchmarks/chaos.py --jobs 20 --seed 7 --only SIGSTOP late
    python benchmarks/chaos.py --job 1234         # one again, as it was

In each job all ranks run the same random program of collectives, and one rank, the victim, meets
with one fault. Then every other rank must end with an error that names the victim and the
operation: within DEATH_SECONDS when the victim died, within the time-out and GRACE_SECONDS else.
Counted are hangs (a rank that did not end), late errors, errors that named nobody or somebody else,
and what was left behind: processes, and files in the temporary folders.
"""

import argparse
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

TIMEOUT = 4.0  # of the process groups
DEATH_SECONDS = 6.0
GRACE_SECONDS = 4.0  # to notice, to tell the others, and for this machine to get round to it
HANG_SECONDS = 30.0
CALLS = 40  # of a program; it starts again at its end

SIGNALS = ("SIGKILL", "SIGSTOP", "SIGINT")  # sent at a random time
DEEDS = ("exception", "exit 0", "vanish", "late", "skip", "size", "dtype", "other op", "root")
DEATHS = ("SIGKILL", "SIGSTOP", "SIGINT", "exception", "exit 0", "vanish")
"""Faults after which the victim is gone: it need not run into a time-out to be noticed."""


class Job(NamedTuple):
    """What happens to whom and when; everything is drawn from `seed`."""

    seed: int
    ranks: int
    victim: int
    fault: str
    at_call: int
    at_seconds: float

    @classmethod
    def draw(cls, seed: int, faults: tuple[str, ...]) -> "Job":
        chance = random.Random(seed)
        ranks = chance.randint(2, 4)
        fault = chance.choice(faults)
        at_seconds = chance.choice((0.0, 0.005, 0.05, 0.3)) * chance.uniform(0.5, 2)
        return cls(seed, ranks, chance.randrange(ranks), fault, chance.randrange(CALLS), at_seconds)


def program(job: Job) -> list[tuple]:
    """The collectives of a job: (name, elements, dtype, root, whether it is asynchronous)."""
    chance = random.Random(job.seed + 1)
    names = ("all_reduce", "broadcast", "reduce", "all_gather", "reduce_scatter", "all_to_all")
    return [
        (
            chance.choice((*names, "barrier", "pass on")),
            int(10 ** chance.uniform(0, 6.3)),
            chance.choice(("float32", "float64", "int32")),
            chance.randrange(job.ranks),
            chance.random() < 0.3,
        )
        for _ in range(CALLS)
    ]


def call(rank: int, ranks: int, name: str, elements: int, dtype: str, root: int, later: bool):
    """Make one collective; returns its Work if it is asynchronous."""
    import minitorch.distributed as dist

    array = np.ones(elements, dtype)
    blocks = np.ones((ranks, elements), dtype)
    if name == "all_reduce":
        return dist.all_reduce(array, async_op=later)
    if name == "broadcast":
        return dist.broadcast(array, root, async_op=later)
    if name == "reduce":
        return dist.reduce(array, root, async_op=later)
    if name == "all_gather":
        return dist.all_gather_into_tensor(blocks, array, async_op=later)
    if name == "reduce_scatter":
        return dist.reduce_scatter_tensor(array, blocks, async_op=later)
    if name == "all_to_all":
        return dist.all_to_all_single(np.empty_like(blocks), blocks, async_op=later)
    if name == "pass on":  # a message to the right, and one from the left
        work = dist.isend(array, (rank + 1) % ranks)
        dist.recv(np.empty_like(array), (rank - 1) % ranks)
        return work
    return dist.barrier(async_op=later)


def misbehave(job: Job, step: list) -> list | None:
    """What the victim does in place of its call; None stands for nothing at all."""
    name, elements, dtype, root, _ = step
    if job.fault == "exception":
        raise ValueError("the user's own error")
    if job.fault == "exit 0":
        sys.exit(0)
    if job.fault == "vanish":
        os._exit(0)
    if job.fault == "late":
        time.sleep(TIMEOUT + 2)
        return step
    if job.fault == "skip":
        return None
    if job.fault == "size":
        return [name, elements + 1, dtype, root, False]
    if job.fault == "dtype":
        return [name, elements, "float32" if dtype != "float32" else "int32", root, False]
    if job.fault == "root":
        return ["broadcast", elements, dtype, (root + 1) % job.ranks, False]
    return ["barrier" if name != "barrier" else "all_reduce", elements, dtype, root, False]


def run(rank: int, job: Job, port: int, pipe) -> None:
    """One rank. Reports "ready" once it is in the group, and how it ended."""
    sys.stderr = sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    import minitorch.distributed as dist

    try:
        dist.init_process_group(
            init_method=f"tcp://127.0.0.1:{port}",
            rank=rank,
            world_size=job.ranks,
            timeout=timedelta(seconds=TIMEOUT),
        )
        pipe.send("ready")
        steps = program(job)
        works: list[Any] = []
        for turn in range(1_000_000):
            step: list | None = list(steps[turn % CALLS])
            if turn == job.at_call and rank == job.victim and job.fault in DEEDS:
                pipe.send(("fault", time.time()))
                step = misbehave(job, step)
            if step is not None:
                works.append(call(rank, job.ranks, *step))
            if len(works) > 4 and (work := works.pop(0)) is not None:
                work.wait()
    except RuntimeError as error:
        pipe.send(("error", time.time(), type(error).__name__, str(error)))
    except BaseException as error:
        pipe.send(("own", time.time(), type(error).__name__, str(error)))
        raise


class Result(NamedTuple):
    """What one job came to; `complaints` is empty if all was well."""

    job: Job
    complaints: list[str]
    seconds: float
    words: str


def play(job: Job, context) -> Result:
    """Run a job and judge it."""
    with __import__("socket").create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    pipes, processes = [], []
    for rank in range(job.ranks):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=run, args=(rank, job, port, theirs))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    errors: dict[int, tuple] = {}
    ready: set[int] = set()
    struck = None  # when the fault happened
    open_pipes = dict(zip(pipes, range(job.ranks), strict=True))
    deadline = time.time() + HANG_SECONDS
    survivors = set(range(job.ranks)) - {job.victim}
    while open_pipes and time.time() < deadline and not survivors <= errors.keys():
        for pipe in multiprocessing.connection.wait(list(open_pipes), 0.05):
            rank = open_pipes[pipe]
            try:
                message = pipe.recv()
            except EOFError:
                del open_pipes[pipe]
                continue
            if message == "ready":
                ready.add(rank)
            elif message[0] == "fault":
                struck = message[1]
            else:
                errors[rank] = message[1:]
        if struck is None and job.fault in SIGNALS and len(ready) == job.ranks:
            time.sleep(job.at_seconds)
            struck = time.time()
            os.kill(processes[job.victim].pid, getattr(signal, job.fault))

    complaints = []
    allowed = DEATH_SECONDS if job.fault in DEATHS else TIMEOUT + GRACE_SECONDS
    slowest, words = 0.0, ""
    for rank in survivors:
        if rank not in errors:
            complaints.append(f"hang: rank {rank} did not end")
            continue
        when, name, words = errors[rank]
        slowest = max(slowest, when - (struck or when))
        if when - (struck or when) > allowed:
            complaints.append(f"late: rank {rank} raised after {when - struck:.1f} s")
        named = f"rank {job.victim} " in words or f"rank {job.victim}:" in words
        listed = any(f"ranks {x}" in words for x in ("", *map(str, range(job.ranks))))
        if not (named or f"rank {job.victim}," in words or (listed and str(job.victim) in words)):
            complaints.append(f"name: rank {rank} raised {name}: {words}")
        if "#" not in words and "recv" not in words and "init_process_group" not in words:
            complaints.append(f"operation: rank {rank} raised {name}: {words}")
    for rank, process in enumerate(processes):
        if rank == job.victim and job.fault == "SIGSTOP":
            process.kill()
        process.join(8)
        if process.is_alive():
            complaints.append(f"orphan: rank {rank} is still there")
            process.kill()
            process.join()
    return Result(job, complaints, slowest, words)


def left_behind() -> set[str]:
    """Everything of ours in the folders where it could be."""
    folders = [Path(tempfile.gettempdir()), Path("/dev/shm")]
    return {str(p) for folder in folders if folder.is_dir() for p in folder.glob("*minitorch*")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", type=int, help="play only the job with this number")
    parser.add_argument("--only", nargs="+", default=[*SIGNALS, *DEEDS], metavar="FAULT")
    parser.add_argument("--json", type=Path, help="write what was counted to this file")
    options = parser.parse_args()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["minitorch.distributed"])
    before = left_behind()
    seeds = range(options.seed, options.seed + options.jobs)
    results = []
    for seed in seeds if options.job is None else [options.job]:
        result = play(Job.draw(seed, tuple(options.only)), context)
        results.append(result)
        for complaint in result.complaints:
            print(f"{result.job}: {complaint}", flush=True)
    kinds = Counter(c.split(":")[0] for result in results for c in result.complaints)
    files = left_behind() - before
    print(f"{len(results)} jobs; complaints: {dict(kinds) or 'none'}; files left: {len(files)}")
    print(f"{'fault':<12} jobs  slowest error, s   the words, once")
    for fault in options.only:
        of_fault = [r for r in results if r.job.fault == fault]
        if of_fault:
            slowest = max(r.seconds for r in of_fault)
            print(f"{fault:<12} {len(of_fault):>4} {slowest:>17.1f}   {of_fault[0].words[:150]}")
    if options.json:
        counts = {"jobs": len(results), "complaints": dict(kinds), "files": len(files)}
        options.json.write_text(json.dumps(counts))
    return 1 if kinds or files else 0


if __name__ == "__main__":
    sys.exit(main())
