"""Races, in programs made by chance: the emulator's verdict against the definition of a race.

Two accesses of one element race if they are by different threads, one of them is a write, and no
chain of barriers leads from one to the other. Here all pairs are looked at, with all that lies
between; the emulator keeps a few words for each element, and must come to the same verdict and
name a pair that does race.
"""

import re

import numpy as np
import pytest

from minitorch.cuda import emulator
from minitorch.cuda.emulator import KernelError

CELLS, WARPS = 3, 2
READ, WRITE, WARP, BLOCK = range(4)
SOURCE = r"""
#line 1 "races.cu"
extern "C" __global__ void play(const unsigned* steps, int count, float* global, int in_global,
                                float* y) {
    __shared__ float cells[3];
    if (threadIdx.x < 3) cells[threadIdx.x] = 0;
    __syncthreads();
    float* memory = in_global ? global : cells;
    float sum = 0;
    for (int i = 0; i < count; i++) {
        unsigned kind = steps[4 * i], who = steps[4 * i + 1], what = steps[4 * i + 2];
        bool mine = who == blockIdx.x * blockDim.x + threadIdx.x;
        if (kind == 0 && mine)
            sum += memory[what];
        else if (kind == 1 && mine)
            memory[what] = i + 1;
        else if (kind == 2 && threadIdx.x / 32 == who && what >> threadIdx.x % 32 & 1)
            __syncwarp(what);
        else if (kind == 3)
            __syncthreads();
    }
    y[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
"""
PLACE = {"read": 12, "write": 14}
MESSAGE = re.compile(
    r"race on (shared|global) memory: (read|write) of (?:cells|global)\[(\d)\] "
    r"after (?:block \((\d),0,0\) )?thread \((\d+),0,0\)'s (read|write) \(races.cu:(\d+)\), "
    r"races.cu:(\d+), block \((\d),0,0\) thread \((\d+),0,0\)"
)


@pytest.fixture(scope="module")
def play():
    return emulator.RawModule(code=SOURCE).get_function("play")


def program(random, blocks: int) -> np.ndarray:
    """Steps (kind, thread or warp, element or mask) that all threads go through in this order."""
    lanes = random.choice(32, 5, replace=False)
    steps = []
    for _ in range(random.integers(2, 14)):
        kind = random.choice([READ, WRITE, WARP, BLOCK], p=[0.5, 0.2, 0.25, 0.05])
        warp = random.integers(WARPS)
        if kind == WARP:
            some = [1 << int(lane) for lane in lanes if random.random() < 0.6]
            steps.append((kind, warp, random.choice([0xFFFFFFFF, sum(some) or 1]), 0))
        else:
            thread = 32 * WARPS * random.integers(blocks) + 32 * warp + random.choice(lanes)
            steps.append((kind, thread, random.integers(CELLS), 0))
    return np.array(steps, np.uint32)


def races(steps: np.ndarray, blocks: int) -> set:
    """All pairs of accesses that race, each as a set of two (kind, thread), with their element."""
    threads = 32 * WARPS * blocks
    past: list[set[int]] = [set() for _ in range(threads)]  # the steps that happened before
    accesses, found = [], set()
    for i, (kind, who, what, _) in enumerate(steps.tolist()):
        if kind in (READ, WRITE):
            for j in accesses:
                other, its_thread, its_element, _ = steps[j].tolist()
                if its_element == what and WRITE in (kind, other) and j not in past[who]:
                    pair = frozenset([(kind, who), (other, its_thread)])
                    found.add((pair, what))
            accesses.append(i)
            past[who].add(i)
            continue
        for block in range(blocks):
            all_of_it = range(32 * WARPS * block, 32 * WARPS * (block + 1))
            group = all_of_it
            if kind == WARP:
                warp = all_of_it[32 * who : 32 * who + 32]
                group = [thread for thread in warp if what >> thread % 32 & 1]
            known = set().union(*(past[thread] for thread in group))
            for thread in group:
                past[thread] = set(known)
    return found


@pytest.mark.parametrize("blocks, in_global", [(1, False), (1, True), (2, True)])
def test_the_verdict_is_that_of_the_definition(play, blocks, in_global):
    random, seen = np.random.default_rng(0), [0, 0]
    for _ in range(80):
        steps = program(random, blocks)
        truth = races(steps, blocks)
        arguments = (
            emulator.asarray(steps),
            np.int32(len(steps)),
            emulator.zeros(CELLS, "float32"),
            np.int32(in_global),
            emulator.zeros(32 * WARPS * blocks, "float32"),
        )
        error = ""
        try:
            play((blocks,), (32 * WARPS,), arguments)
        except KernelError as found:
            error = str(found)
        seen[bool(truth)] += 1
        assert bool(truth) == bool(error), (steps.tolist(), truth, error)
        if error:
            where, did, element, block, thread, had, line, its_line, mine, my_thread = (
                MESSAGE.search(error).groups()
            )
            assert where == ("global" if in_global else "shared")
            assert int(line) == PLACE[had] and int(its_line) == PLACE[did], error
            first = 32 * WARPS * int(mine)
            other = 32 * WARPS * int(block or mine) + int(thread)
            kinds = {"read": READ, "write": WRITE}
            pair = frozenset([(kinds[did], first + int(my_thread)), (kinds[had], other)])
            assert (pair, int(element)) in truth, (steps.tolist(), truth, error)
    assert min(seen) > 20, "programs of both kinds"
