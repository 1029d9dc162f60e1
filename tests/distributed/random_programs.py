"""Random programs of collectives, run by minitorch and by PyTorch's Gloo, and checked by NumPy.

A program is a handful of random calls (function, group, dtype, size, reduction, root, algorithm,
now or later) which all ranks draw from the same seed. As the ranks also draw each other's data, any
of them can say what must come out. `run_programs` is the part of one rank.
"""

import argparse
import random
import zlib
from functools import reduce as fold
from typing import Any, NamedTuple

import numpy as np

from .harness import run_ranks
from .launching import free_port

GLOO_DTYPES = ("float32", "float64", "float16", "int8", "uint8", "int32", "int64")
OWN_DTYPES = ("bool", "int16", "uint16", "uint32", "uint64", "complex64", "complex128")
REDUCTIONS = {
    "SUM": np.add,
    "AVG": np.add,
    "PRODUCT": np.multiply,
    "MIN": np.minimum,
    "MAX": np.maximum,
    "BAND": np.bitwise_and,
    "BOR": np.bitwise_or,
    "BXOR": np.bitwise_xor,
}
NAMES = (
    *("all_reduce", "broadcast", "reduce", "all_gather", "all_gather_into_tensor", "gather"),
    *("reduce_scatter", "reduce_scatter_tensor", "scatter", "all_to_all", "all_to_all_single"),
    *("send", "all_gather uneven", "all_to_all_single uneven", "barrier"),
)
GLOO_LACKS = {"all_to_all", "all_gather uneven"}


class Step(NamedTuple):
    """One call of a program; all ranks have the same."""

    name: str
    elements: int
    dtype: str
    reduction: str
    root: int  # a group rank
    later: bool
    seed: int


def draw(seed: int, size: int) -> list[Step]:
    """The calls of program `seed` in a group of `size` ranks."""
    chance = random.Random(seed)
    steps = []
    for turn in range(chance.randint(1, 6)):
        dtype = chance.choice(GLOO_DTYPES if chance.random() < 0.8 else OWN_DTYPES)
        kind = np.dtype(dtype).kind
        allowed = {"f": 5, "c": 3}.get(kind, 8)  # no bits of floats, no order of complex numbers
        reduction = list(REDUCTIONS)[chance.randrange(allowed)]
        if reduction == "AVG" and kind in "biu":
            reduction = "SUM"
        large = chance.random() < 0.03
        elements = int(10 ** chance.uniform(0, 6 if large else 3)) - (chance.random() < 0.05)
        steps.append(
            Step(
                chance.choice(NAMES),
                max(0, elements),
                dtype,
                reduction,
                chance.randrange(size),
                chance.random() < 0.3,
                seed * 10 + turn,
            )
        )
    return steps


def data(step: Step, rank: int, count: int) -> np.ndarray:
    """What a rank brings to a call: small whole numbers, so that sums and products stay finite."""
    generator = np.random.default_rng((step.seed, rank))
    values = generator.integers(0, 2 if step.reduction == "PRODUCT" else 5, count)
    if np.dtype(step.dtype).kind in "fc" and step.reduction != "PRODUCT":
        return (values + generator.integers(0, 4, count) / 4).astype(step.dtype)
    return values.astype(step.dtype)


class Call:
    """A call's input and output arrays on one rank, and what must be in the outputs."""

    def __init__(self, step: Step, rank: int, size: int) -> None:
        self.step, self.rank, self.size = step, rank, size
        n, blocks = step.elements, step.name.startswith(("reduce_scatter", "all_to_all"))
        self.splits = [(step.seed + r) % 5 * (n % 7) for r in range(size)]
        if step.name == "all_gather uneven":
            everything = [data(step, r, self.splits[r]) for r in range(size)]
        elif step.name == "all_to_all_single uneven":
            everything = [data(step, r, sum(self.splits)) for r in range(size)]
        elif blocks or step.name == "scatter":
            everything = [data(step, r, n * size) for r in range(size)]
        else:
            everything = [data(step, r, n) for r in range(size)]
        self.mine = everything[rank]
        self.expected = self._expected(everything)

    def _expected(self, everything: list[np.ndarray]) -> np.ndarray | None:
        """The outputs, one after the other; None if this rank has none."""
        step, rank, size, n = self.step, self.rank, self.size, self.step.elements
        name = step.name
        if name == "barrier":
            return None
        if name in ("all_reduce", "reduce", "reduce_scatter", "reduce_scatter_tensor"):
            if name == "reduce" and rank != step.root:
                return self.mine
            total = fold(REDUCTIONS[step.reduction], everything)
            if step.reduction == "AVG":
                total = total / np.asarray(size, total.dtype)
            return total if "scatter" not in name else total[n * rank : n * (rank + 1)]
        if name == "broadcast":
            return everything[step.root]
        if name == "scatter":
            return everything[step.root][n * rank : n * (rank + 1)]
        if name == "send":
            return everything[(rank - 1) % size]
        if name == "gather" and rank != step.root:
            return None
        if name == "all_to_all_single uneven":
            start = sum(self.splits[:rank])
            part = slice(start, start + self.splits[rank])
            return np.concatenate([array[part] for array in everything])
        if name.startswith("all_to_all"):
            return np.concatenate([a[n * rank : n * (rank + 1)] for a in everything])
        return np.concatenate(everything)

    def start(self, dist: Any, group: Any, tensor_of: Any, later: bool) -> tuple[Any, Any]:
        """Make the call with one library; returns its Work and a function that reads the result."""
        step, rank, size, n = self.step, self.rank, self.size, self.step.elements
        name, members = step.name, dist.get_process_group_ranks(group)
        options = {"group": group, "async_op": later}
        root = members[step.root]
        own = tensor_of(self.mine.copy())
        made: dict[int, np.ndarray] = {}

        def new(count: int) -> Any:
            array = np.zeros(count, step.dtype)
            made[len(made)] = array
            return tensor_of(array)

        def result() -> np.ndarray | None:
            return np.concatenate(list(made.values())) if made else None

        reduction = getattr(dist.ReduceOp, step.reduction)
        rows = (
            [tensor_of(r) for r in self.mine.reshape(size, -1).copy()]
            if name
            in (
                "reduce_scatter",
                "all_to_all",
                "scatter",
            )
            else []
        )
        if name in ("all_reduce", "reduce", "broadcast"):
            array = self.mine.copy()
            made[0] = array
            if name == "all_reduce":
                return dist.all_reduce(tensor_of(array), reduction, **options), result
            if name == "reduce":
                return dist.reduce(tensor_of(array), root, reduction, **options), result
            return dist.broadcast(tensor_of(array), root, **options), result
        if name == "all_gather":
            return dist.all_gather([new(n) for _ in range(size)], own, **options), result
        if name == "all_gather uneven":
            return dist.all_gather([new(k) for k in self.splits], own, **options), result
        if name == "all_gather_into_tensor":
            return dist.all_gather_into_tensor(new(n * size), own, **options), result
        if name == "gather":
            outputs = [new(n) for _ in range(size)] if rank == step.root else None
            return dist.gather(own, outputs, root, **options), result
        if name == "reduce_scatter":
            return dist.reduce_scatter(new(n), rows, reduction, **options), result
        if name == "reduce_scatter_tensor":
            return dist.reduce_scatter_tensor(new(n), own, reduction, **options), result
        if name == "scatter":
            inputs = rows if rank == step.root else None
            return dist.scatter(new(n), inputs, root, **options), result
        if name == "all_to_all":
            return dist.all_to_all([new(n) for _ in range(size)], rows, **options), result
        if name == "all_to_all_single":
            return dist.all_to_all_single(new(n * size), own, **options), result
        if name == "all_to_all_single uneven":
            mine = [self.splits[rank]] * size
            work = dist.all_to_all_single(new(sum(mine)), own, mine, self.splits, **options)
            return work, result
        if name == "send":
            work = None
            if size > 1:
                work = dist.isend(own, members[(rank + 1) % size], group, tag=step.seed % 3)
                dist.recv(new(n), members[(rank - 1) % size], group, tag=step.seed % 3)
            else:
                made[0] = self.mine
            return work, result
        return dist.barrier(**options), lambda: None

    def check(self, who: str, got: np.ndarray | None) -> None:
        """Compare an output with NumPy's."""
        if self.expected is None:
            return
        tolerances = {"float16": 2e-3, "float32": 1e-6, "complex64": 1e-6}
        tolerance = tolerances.get(self.step.dtype, 1e-14)
        exact = np.dtype(self.step.dtype).kind in "biu" or self.step.reduction in ("MIN", "MAX")
        np.testing.assert_allclose(
            got,
            self.expected,
            rtol=0 if exact else tolerance,
            err_msg=f"{who}, rank {self.rank} of {self.size}, {self.step}",
        )


def run_programs(rank: int, world_size: int, seed: int, count: int, gloo_port: int) -> dict:
    """One rank's part: run `count` programs.

    Returns how many calls were made and compared, and checksums of what must be alike on all ranks.
    """
    import torch
    import torch.distributed as gloo

    import minitorch.distributed as ours
    from minitorch.distributed import algorithms

    torch.set_num_threads(1)
    gloo.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{gloo_port}", rank=rank, world_size=world_size
    )
    chance = random.Random(seed)
    members = [list(range(world_size))]
    for _ in range(3):
        some = sorted(chance.sample(range(world_size), chance.randint(1, world_size)))
        members.append(some)
    groups = [(m, ours.new_group(m), gloo.new_group(m)) for m in members]

    counts = {"calls": 0, "compared with Gloo": 0}
    checksums: dict[int, int] = {}
    for program in range(seed, seed + count):
        chance = random.Random(-1 - program)
        which = 0 if chance.random() < 0.6 else chance.randrange(len(groups))
        ranks, our_group, gloo_group = groups[which]
        tables = algorithms.ALGORITHMS.items()
        algorithms.use(**{name: chance.choice([None, *table]) for name, table in tables})
        if rank not in ranks:
            continue
        pending = []
        for step in draw(program, len(ranks)):
            one = Call(step, ranks.index(rank), len(ranks))
            work, result = one.start(ours, our_group, lambda array: array, step.later)
            pending.append((one, work, result))
        for one, work, result in pending:
            if work is not None:
                work.wait()
            got = result()
            one.check("minitorch", got)
            counts["calls"] += 1
            step = one.step
            if got is not None and step.name in ("all_reduce", "broadcast", "all_gather"):
                checksums[which] = zlib.crc32(got.tobytes(), checksums.get(which, 0))
            if step.dtype in GLOO_DTYPES and step.name not in GLOO_LACKS and step.elements:
                work, result = one.start(gloo, gloo_group, torch.from_numpy, False)
                if work is not None:
                    work.wait()
                if step.name != "reduce" or one.rank == step.root:  # Gloo leaves garbage elsewhere
                    one.check("Gloo", result())
                    counts["compared with Gloo"] += 1
    gloo.destroy_process_group()
    return counts | {"checksums": checksums}


def check_programs(world_size: int, seed: int, count: int, timeout: float = 600.0) -> dict:
    """Run programs on so many ranks; returns rank 0's counts.

    Raises AssertionError if anything differs.
    """
    port = free_port()
    results = run_ranks(run_programs, world_size, seed, count, port, timeout=timeout)
    for which, checksum in results[0]["checksums"].items():
        for result in results[1:]:
            if which in result["checksums"]:
                assert result["checksums"][which] == checksum, f"the bits differ in group {which}"
    return {name: value for name, value in results[0].items() if name != "checksums"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--programs", type=int, default=10_000, help="for each number of ranks")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for ranks in options.ranks:
        counts = check_programs(ranks, options.seed, options.programs, timeout=36_000)
        print(f"{ranks} ranks, {options.programs} programs: nothing differs; {counts}", flush=True)


if __name__ == "__main__":
    main()
