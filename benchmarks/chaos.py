"""Random faults at random moments of random collectives: does every rank hear of it, and soon?

    python benchmarks/chaos.py                    # 300 jobs of 2 to 4 ranks
    python benchmarks/chaos.py --jobs 20 --seed 7 --only SIGSTOP late
    python benchmarks/chaos.py --job 1234         # one again, as it was
    python benchmarks/chaos.py --jobs 1 --only hang    # do we see what we look for?

In each job all ranks run the same random program of collectives, messages and sub-groups, and one
rank, the victim, meets with one fault. Then every other rank must end with an error that blames the
victim, and only the victim, and names the operation: within DEATH_SECONDS when the victim died,
within the time-out and GRACE_SECONDS otherwise. Counted are ranks that do not end, late errors,
errors that blame nobody or somebody else, and what is left behind: processes, files in the
temporary folder, shared-memory segments and sockets. PLANTED are faults of ours, on purpose, that
show that the run finds them; they are only made when asked for.
"""

import argparse
import contextlib
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import re
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

TIMEOUT = 4.0  # of the process groups
DEATH_SECONDS = 6.0
GRACE_SECONDS = 4.0  # to notice, to tell the others, and for this machine to get round to it
CALLS = 40  # of a program; it starts again at its end
MARK = "MINITORCH_CHAOS"  # in the environment of all processes of this run

SIGNALS = ("SIGKILL", "SIGSTOP", "SIGINT")  # sent at a random time
EARLY = ("SIGKILL early", "SIGSTOP early")  # the same, while the ranks connect
EXITS = ("exception", "exit 0", "vanish", "leave")
LATE = ("late", "skip", "order")
MISTAKES = ("size", "dtype", "reduction", "root", "other op")
FAULTS = (*SIGNALS, *EARLY, *EXITS, *LATE, *MISTAKES)
PLANTED = ("hang", "orphan", "file", "segment", "wrong rank", "slow")
DEATHS = (*SIGNALS, *EXITS)  # the victim is gone: no need to wait for a time-out

# What an error says of the ranks at fault.
BLAMES = (
    r"has lost ranks? ([\d, ]+)",
    r"ranks? ([\d, ]+) left the process group",
    r"ranks? ([\d, ]+) failed",
    r"ranks? ([\d, ]+) did not call it",
    r"ranks? ([\d, ]+) has not sent",
    r"ranks? ([\d, ]+) of \d+ did not come",
    r"ranks? ([\d, ]+)(?: of \d+)? ended before",
    r"could not connect to ranks? ([\d, ]+)",
    r"ranks? ([\d, ]+) hung up",
    r"hosts it \(rank (0)",
)
NAMED = r"rank (\d+) called|waiting for rank (\d+)|rank (\d+) is in"


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
        at_seconds = chance.choice((0.0, 0.005, 0.05, 0.3)) * chance.uniform(0.5, 2)
        victim, at_call = chance.randrange(ranks), chance.randrange(CALLS)
        return cls(seed, ranks, victim, chance.choice(faults), at_call, at_seconds)


class Step(NamedTuple):
    """One call of a program, by the members of a group; the root is a group rank."""

    members: list[int]
    name: str
    elements: int
    dtype: str
    op: str
    root: int
    later: bool  # asynchronous


def program(job: Job) -> list[Step]:
    """The calls of a job, in the default group and two others."""
    chance = random.Random(job.seed + 1)
    names = ("all_reduce", "broadcast", "reduce", "all_gather", "reduce_scatter", "all_to_all")
    everyone = list(range(job.ranks))
    groups = [everyone]
    for _ in range(2):
        groups.append(sorted(chance.sample(everyone, chance.randint(2, job.ranks))))
    return [
        Step(
            members := groups[chance.choice((0, 0, 1, 2))],
            chance.choice((*names, "barrier", "pass on")),
            int(10 ** chance.uniform(0, 6.3)),
            chance.choice(("float32", "float64", "int32")),
            chance.choice(("SUM", "MAX")),
            chance.randrange(len(members)),
            chance.random() < 0.3,
        )
        for _ in range(CALLS)
    ]


def call(rank: int, step: Step, group: Any) -> Any:
    """Make one call; returns its Work if it is asynchronous."""
    import minitorch.distributed as dist

    members, name, elements, dtype, op, root, later = step
    array = np.ones(elements, dtype)
    blocks = np.ones((len(members), elements), dtype)
    how: dict[str, Any] = {"group": group, "async_op": later}
    reduction = getattr(dist.ReduceOp, op)
    if name == "all_reduce":
        return dist.all_reduce(array, reduction, **how)
    if name == "broadcast":
        return dist.broadcast(array, group_src=root, **how)
    if name == "reduce":
        return dist.reduce(array, op=reduction, group_dst=root, **how)
    if name == "all_gather":
        return dist.all_gather_into_tensor(blocks, array, **how)
    if name == "reduce_scatter":
        return dist.reduce_scatter_tensor(array, blocks, reduction, **how)
    if name == "all_to_all":
        return dist.all_to_all_single(np.empty_like(blocks), blocks, **how)
    if name == "pass on":  # a message to the right, and one from the left
        place = members.index(rank)
        work = dist.isend(array, members[(place + 1) % len(members)], group)
        dist.recv(np.empty_like(array), members[place - 1], group)
        return work
    return dist.barrier(**how)


def misbehave(job: Job, steps: list[Step], turn: int) -> list[Step] | None:
    """What the victim does in place of its call; None: the fault makes no difference to it."""
    step = steps[turn % CALLS]._replace(later=False)
    following = steps[(turn + 1) % CALLS]
    if job.fault == "exception":
        raise ValueError("the user's own error")
    if job.fault == "exit 0":
        sys.exit(0)
    if job.fault == "vanish":
        os._exit(0)
    if job.fault == "late":
        time.sleep(TIMEOUT + 2)
        return [step]
    if job.fault == "skip":
        return []
    if job.fault == "order":
        same = job.victim in following.members and following.members == step.members
        return [following, step] if same and following[1:6] != step[1:6] else None
    has_reduction = step.name in ("all_reduce", "reduce", "reduce_scatter")
    if job.fault == "size":
        return None if step.name == "barrier" else [step._replace(elements=step.elements + 1)]
    if job.fault == "dtype":
        other = "float32" if step.dtype != "float32" else "int32"
        return None if step.name == "barrier" else [step._replace(dtype=other)]
    if job.fault == "reduction":
        other = "MAX" if step.op == "SUM" else "SUM"
        return [step._replace(op=other)] if has_reduction else None
    if job.fault == "root":
        other_root = (step.root + 1) % len(step.members)
        rooted = step.name in ("broadcast", "reduce")
        return [step._replace(root=other_root)] if rooted else None
    return [step._replace(name="barrier" if step.name != "barrier" else "all_reduce")]


def plant(job: Job) -> str:
    """Do on purpose what must be found; on a survivor, at the end. Returns its words, if wrong."""
    if job.fault == "hang":
        time.sleep(1000)
    if job.fault == "slow":
        time.sleep(DEATH_SECONDS)
    if job.fault == "file":
        tempfile.mkstemp(prefix="planted")
    if job.fault in ("orphan", "segment") and os.fork() == 0:
        if job.fault == "segment":
            os.memfd_create("minitorch")
        os.setsid()
        time.sleep(1000)
    if job.fault == "wrong rank":
        return f"[rank 0] barrier #1: rank 0 has lost rank {job.victim + 1}: planted"
    return ""


def run(rank: int, job: Job, port: int, pipe: Any) -> None:
    """One rank. Reports "ready" once it is in the group, and how it ended."""
    sys.stderr = sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" has it ignored
    import minitorch.distributed as dist

    timeout = timedelta(seconds=TIMEOUT)
    try:
        pipe.send("begun")
        dist.init_process_group(
            init_method=f"tcp://127.0.0.1:{port}",
            rank=rank,
            world_size=job.ranks,
            timeout=timeout if job.fault in EARLY else timedelta(seconds=60),
        )
        dist.group.WORLD.set_timeout(timeout)
        pipe.send("ready")
        steps = program(job)
        lists = dict.fromkeys(tuple(step.members) for step in steps)
        groups = {members: dist.new_group(list(members), timeout) for members in sorted(lists)}
        works: list[Any] = []
        struck = False
        for turn in range(1_000_000):
            step = steps[turn % CALLS]
            if rank not in step.members:
                continue
            todo: list[Step] | None = [step]
            at_fault = rank == job.victim and turn >= job.at_call and not struck
            if at_fault and job.fault in (*EXITS, *LATE, *MISTAKES, *PLANTED):
                pipe.send(("fault", time.time()))
                if job.fault == "leave" or job.fault in PLANTED:
                    return dist.destroy_process_group()
                todo = misbehave(job, steps, turn)
                struck = todo is not None  # or it is tried again at the next call
            for one in [step] if todo is None else todo:
                works.append(call(rank, one, groups[tuple(one.members)]))
            if len(works) > 4 and (work := works.pop(0)) is not None:
                work.wait()
    except RuntimeError as error:
        words = str(error)
        if rank == (job.victim + 1) % job.ranks:
            words = plant(job) or words
        pipe.send(("error", time.time(), type(error).__name__, words))
    except BaseException as error:
        pipe.send(("own", time.time(), type(error).__name__, str(error)))
        raise


class Result(NamedTuple):
    """What one job came to; `complaints` is empty if all was well."""

    job: Job
    complaints: list[str]
    seconds: float
    words: str


def play(job: Job, context: Any, patience: float) -> Result:
    """Run a job and judge it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
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
    seen: dict[str, set[int]] = {"begun": set(), "ready": set()}
    struck = 0.0  # when the fault happened
    open_pipes = dict(zip(pipes, range(job.ranks), strict=True))
    deadline = time.time() + patience
    survivors = set(range(job.ranks)) - {job.victim}
    while open_pipes and time.time() < deadline and not survivors <= errors.keys():
        for pipe in multiprocessing.connection.wait(list(open_pipes), 0.05):
            rank = open_pipes[pipe]
            try:
                message = pipe.recv()
            except EOFError:
                del open_pipes[pipe]
                continue
            if isinstance(message, str):
                seen[message].add(rank)
            elif message[0] == "fault":
                struck = message[1]
            else:
                errors[rank] = message[1:]
        early = job.fault in EARLY
        if not struck and (early or job.fault in SIGNALS):
            if len(seen["begun" if early else "ready"]) < job.ranks:
                continue
            time.sleep(job.at_seconds)
            struck = time.time()
            os.kill(processes[job.victim].pid, getattr(signal, job.fault.split()[0]))

    complaints = []
    slowest, words = 0.0, ""
    for rank in sorted(survivors):
        if rank not in errors:
            complaints.append(f"hang: rank {rank} did not end")
            continue
        when, name, words = errors[rank]
        struck = struck or when
        slowest = max(slowest, when - struck)
        complaints += judge(job, rank, when - struck, name, words)
    for rank, process in enumerate(processes):
        if rank == job.victim and "SIGSTOP" in job.fault:
            process.kill()
        process.join(8)
        if process.is_alive():
            complaints.append(f"no end: the process of rank {rank} is still there")
            process.kill()
            process.join()
        elif process.exitcode not in (0, 1) and rank != job.victim:
            complaints.append(f"crash: the process of rank {rank} ended with {process.exitcode}")
        elif process.exitcode == -signal.SIGABRT:
            complaints.append(f"crash: the victim, rank {rank}, was aborted")
    for pipe in pipes:
        pipe.close()
    return Result(job, complaints, slowest, words)


def judge(job: Job, rank: int, seconds: float, name: str, words: str) -> Iterator[str]:
    """What there is to complain about in an error that a survivor raised after so many seconds."""
    blamed = {int(n) for pattern in BLAMES for m in re.findall(pattern, words) for n in numbers(m)}
    named = {int(n) for m in re.findall(NAMED, words) for n in m if n}
    if not (blamed == {job.victim} or (blamed <= {job.victim} and job.victim in named)):
        yield f"name: rank {rank} raised {name}: {words}"
    in_setup = job.fault in EARLY and ("init_process_group" in words or "rank" in words)
    if not (re.search(r"\w+ #\d+|recv \(", words) or in_setup):
        yield f"operation: rank {rank} raised {name}: {words}"
    allowed = DEATH_SECONDS if job.fault in (*DEATHS, *PLANTED) else TIMEOUT + GRACE_SECONDS
    if seconds > allowed:
        yield f"late: rank {rank} raised after {seconds:.1f} s: {words}"


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+", text)


def remains(folder: Path, own: set[int]) -> list[str]:
    """What this run has left: processes, and what any of them holds; files."""
    found = [f"file: {path}" for path in folder.rglob("*")]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={folder}".encode() not in (process / "environ").read_bytes().split(b"\0"):
                continue
            if int(process.name) not in own:
                found.append(f"orphan: process {process.name}")
            held = [os.readlink(link) for link in (process / "fd").iterdir()]
            if "memfd:minitorch" in (process / "maps").read_text() + "".join(held):
                found.append(f"segment: in process {process.name}")
            inodes = {link[len("socket:[") : -1] for link in held if link.startswith("socket:[")}
            for line in (process / "net/unix").read_text().splitlines():
                if "@minitorch" in line and line.split()[6] in inodes:
                    found.append(f"socket: {line.split()[7]} in process {process.name}")
    return found


def helpers() -> set[int]:
    """The processes of multiprocessing itself, which stay until the end."""
    from multiprocessing import forkserver, resource_tracker

    return {
        os.getpid(),
        forkserver._forkserver._forkserver_pid,  # type: ignore[attr-defined]
        resource_tracker._resource_tracker._pid,  # type: ignore[attr-defined]
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", type=int, help="play only the job with this number")
    parser.add_argument("--only", nargs="+", default=FAULTS, choices=[*FAULTS, *PLANTED])
    parser.add_argument("--patience", type=float, default=30.0, help="seconds until it is a hang")
    parser.add_argument("--json", type=Path, help="write what was counted to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        os.environ[MARK] = os.environ["TMPDIR"] = folder  # for the processes that we start
        return play_all(options, Path(folder))


def play_all(options: argparse.Namespace, folder: Path) -> int:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["minitorch.distributed"])
    seeds = range(options.seed, options.seed + options.jobs)
    results = []
    for seed in seeds if options.job is None else [options.job]:
        result = play(Job.draw(seed, tuple(options.only)), context, options.patience)
        result.complaints.extend(clean_up(folder))
        results.append(result)
        for complaint in result.complaints:
            print(f"{result.job}: {complaint}", flush=True)
    counts = Counter(c.split(":")[0] for result in results for c in result.complaints)
    print(f"{len(results)} jobs; complaints: {dict(counts) or 'none'}")
    print(f"{'fault':<14} jobs  slowest error, s   the words, once")
    for fault in dict.fromkeys(options.only):
        if of_fault := [r for r in results if r.job.fault == fault]:
            slowest = max(r.seconds for r in of_fault)
            print(f"{fault:<14} {len(of_fault):>4} {slowest:>17.1f}   {of_fault[0].words[:160]}")
    if options.json:
        options.json.write_text(json.dumps({"jobs": len(results), "complaints": counts}))
    return 1 if counts else 0


def clean_up(folder: Path) -> list[str]:
    """Report what a job has left, and remove it, so that it is not counted again."""
    found = remains(folder, helpers())
    for what in found:
        kind, _, name = what.partition(": ")
        if kind == "orphan":
            os.kill(int(name.split()[-1]), signal.SIGKILL)
        elif kind == "file":
            Path(name).unlink(missing_ok=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
