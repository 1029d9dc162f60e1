"""Planted faults: the emulator finds each, and names its line."""

import re

import numpy as np
import pytest

from minitorch.cuda import emulator
from minitorch.cuda.emulator import KernelError
from minitorch.cuda.emulator.compiler import CompileError

from .sources import module_of, source_of

LINES = source_of("faults.cu").splitlines()
TEMPLATES = ["buffer_used_twice<float>"]
N = np.int32(100)


def kernel(name: str):
    return module_of("faults.cu", TEMPLATES).get_function(name)


def floats(n=256):
    return emulator.asarray(np.arange(1, n + 1, dtype=np.float32))


def marked_lines(name: str) -> set[int]:
    """The numbers of the lines marked FAULT in this function."""
    start = next(i for i, line in enumerate(LINES) if re.search(rf"\b{name}\(", line))
    end = next(i for i in range(start, len(LINES)) if LINES[i] == "}")
    return {i + 1 for i in range(start, end) if "// FAULT" in LINES[i]}


TRIPLE = r"\(\d+,\d+,\d+\)"
AFTER = (
    rf"after (block {TRIPLE} )?thread {TRIPLE}'s (read|write|atomic operation) \(faults.cu:\d+\)"
)
RACE = r"race on shared memory: (read|write|atomic operation) of {} " + AFTER
GLOBAL = r"race on global memory: (read|write) of (y|partial)\[\d+\] " + AFTER
UNWRITTEN = r"read of shared memory that no thread of this block has written: {}"
OUTSIDE = r"out of bounds: {} of {}\[{}\], where there are \d+ elements"
EMPTY = r"read of memory that nothing has written: y\[{}\]"
PART = RACE.format(r"part\[\d+\]") + "|" + UNWRITTEN.format(r"part\[\d+\]")
SCALAR = RACE.format(r"largest\[0\]") + "|" + UNWRITTEN.format("largest")
DEADLOCK = r"waits for ever: its mask 0xffffffff names lane \d+, which waits at"
SOURCE = r"shuffle from lane \d+, which is not in the mask 0x"

FAULTS = [
    # kernel, grid, block, further arguments, dynamic shared memory, what is said
    ("no_barrier_after_write", 1, 64, (), 0, PART),
    ("no_barrier_after_read", 1, 64, (), 0, RACE.format(r"part\[\d+\]")),
    ("no_barrier_in_tree", 1, 64, (), 256, RACE.format(r"part\[\d+\]")),
    ("shared_scalar", 1, 64, (), 0, SCALAR),
    ("slot_of_two_warps", 1, 64, (), 0, RACE.format(r"slot\[0\]")),
    ("no_syncwarp", 1, 64, (), 0, PART),
    ("syncwarp_of_the_other_half", 1, 32, (), 0, PART),
    ("shuffle_orders_nothing", 1, 32, (), 0, RACE.format(r"part\[\d+\]")),
    ("volatile_is_no_barrier", 1, 32, (), 0, PART),
    ("single_buffered", 1, 64, (), 0, RACE.format(r"tile\[\d+\]")),
    ("atomic_then_plain", 1, 64, (), 0, RACE.format(r"sum\[0\]")),
    ("never_written", 1, 64, (), 0, UNWRITTEN.format(r"part\[\d+\]")),
    ("left_by_the_block_before", 2, 64, (), 0, UNWRITTEN.format(r"part\[\d+\]")),
    ("add_without_atomic", 2, 64, (), 0, GLOBAL),
    ("all_write_one", 1, 64, (), 0, GLOBAL),
    ("blocks_overlap", 3, 64, (), 0, GLOBAL),
    ("reads_what_another_block_writes", 2, 64, (), 0, GLOBAL),
    ("histogram_without_atomic", 1, 64, (), 0, GLOBAL),
    ("last_block_without_fence", 4, 32, (np.uint32,), 0, GLOBAL),
    ("last_block_overwrites", 4, 1, (np.uint32,), 0, GLOBAL),
    ("last_warp_overwrites", 1, 64, (), 0, RACE.format(r"slot\[0\]")),
    ("read_past_the_end", 1, 257, (np.int32(256),), 0, OUTSIDE.format("read", "x", 256)),
    ("write_past_the_end", 1, 300, (N,), 0, OUTSIDE.format("write", "y", r"2\d\d")),
    ("read_before_the_beginning", 1, 64, (N,), 0, OUTSIDE.format("read", "x", -1)),
    ("static_array", 1, 9, (), 0, r"index 8 is out of bounds for 'float \[8\]'"),
    ("local_array", 1, 1, (np.int32(4),), 0, r"index 4 is out of bounds for 'float \[4\]'"),
    ("too_little_dynamic_shared", 1, 64, (), 128, OUTSIDE.format("write", "part", r"\d\d")),
    ("misaligned_float4", 1, 8, (), 0, "address: 4 bytes past a multiple of 16.*float4"),
    ("float4_past_the_end", 1, 65, (np.int32(257),), 0, OUTSIDE.format("write", "y", 256)),
    ("misaligned_atomic", 1, 1, (), 0, "atomic operation: its address is no multiple of 4"),
    ("spinning", 1, 32, (), 0, "a thread spins, and what it waits for never comes"),
    ("write_to_const", 1, 8, (), 0, r"write to x\[\d\] through a pointer to const"),
    ("return_before_barrier", 1, 64, (np.int32(50),), 0, r"threads reach: thread \(\d+,0,0\) has"),
    ("barrier_in_a_branch", 1, 64, (), 0, "threads wait at different __syncthreads"),
    ("lane_not_in_mask", 1, 32, (), 0, "whose mask 0x0000ffff does not name it"),
    ("source_not_in_mask", 1, 32, (), 0, SOURCE),
    ("sum_of_half_a_warp", 1, 48, (), 0, "which does not exist in a block of 48"),
    ("shuffle_in_a_branch", 1, 32, (), 0, DEADLOCK),
    ("shuffles_in_two_branches", 1, 32, (), 0, DEADLOCK),
    ("shuffle_of_seven", 1, 32, (), 0, "shuffle of width 7, which is none of 1, 2, 4"),
    ("shuffle_from_the_gone", 1, 32, (), 0, r"shuffle from lane \d, which has returned"),
    ("mask_of_activemask", 1, 32, (), 0, SOURCE),
    ("int_overflow", 1, 64, (np.int32(1 << 26),), 0, "integer overflow in a product of 'int'"),
    ("sum_overflow", 1, 64, (np.int32(2**31 - 10),), 0, "integer overflow in a sum of 'int'"),
    ("shift_too_far", 1, 8, (np.int32(28),), 0, r"shift by 3\d bits of 'int'|shift by 3\d bits"),
    ("division_by_zero", 1, 8, (np.int32(0),), 0, "integer division by zero"),
    ("failing_assertion", 1, 8, (N,), 0, "assertion n > 100 fails"),
    ("buffer_used_twice<float>", 1, 64, (), 0, RACE.format(r"part\[\d\]")),
]  # fmt: skip


@pytest.mark.parametrize(
    "name, grid, block, more, shared, words", FAULTS, ids=[f[0] for f in FAULTS]
)
def test_fault_is_found_on_its_line(name, grid, block, more, shared, words):
    more = [emulator.zeros(1, a) if isinstance(a, type) else a for a in more]
    x, y = floats(), floats()
    before = y.get()
    with pytest.raises(KernelError, match=words) as error:
        kernel(name)((grid,), (block,), (x, y, *more), shared_mem=shared)
    text = str(error.value)
    named = {int(n) for n in re.findall(r"faults\.cu:(\d+)", text)}
    assert named and named <= marked_lines("block_sum" if "<" in name else name), text
    assert re.search(r"block \(\d+,\d+,\d+\) thread \(\d+,\d+,\d+\)$", text), text
    np.testing.assert_array_equal(y.get(), before)  # a launch that fails changes nothing


UNWRITTEN_MEMORY = {
    "adds_to_empty": r"\d+",
    "adds_atomically_to_empty": r"\d",
    "reads_empty_through_const": r"\d+",
    "sums_more_than_is_written": "100",
    "reads_a_vector_of_three": r"\d+",
    "writes_one_byte_of_four": r"\d+",
    "odd_elements_are_forgotten": "3",
}


@pytest.mark.parametrize("name", UNWRITTEN_MEMORY)
def test_read_of_an_array_made_empty(name):
    y = emulator.empty(256, "f")
    arguments = (y, floats()) if "const" in name else (floats(), y)
    arguments += (N,) if "sums" in name else ()
    with pytest.raises(KernelError, match=EMPTY.format(UNWRITTEN_MEMORY[name])) as error:
        kernel(name)((1,), (64,), arguments)
    named = {int(n) for n in re.findall(r"faults\.cu:(\d+)", str(error.value))}
    assert named == marked_lines(name), error.value


def test_empty_filled_in_part():
    y = emulator.empty(256, "f")
    y[:255] = 1
    add = kernel("adds_to_empty")
    add((1,), (255,), (floats(), y))
    with pytest.raises(KernelError, match=EMPTY.format(255)):
        add((1,), (256,), (floats(), y))
    with pytest.raises(KernelError, match=EMPTY.format(55)):
        add((1,), (56,), (floats(), y[200:]))


READERS = {
    "as a prototype": lambda y: (np.empty_like(y), np.zeros_like(y)),
    "by a ufunc": lambda y: np.multiply(y, 2),
    "by an operator": lambda y: y + 1,
    "by a reduction": lambda y: y.sum(axis=0),
    "by a function": lambda y: (np.where(y > 0, 1, 2), np.concatenate([y, y])),
    "as a source": lambda y: (floats().__setitem__(..., y), y.copy()),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_what_is_only_read_stays_unwritten(read):
    y = emulator.empty(256, "f")
    read(y)
    with pytest.raises(KernelError, match=EMPTY.format(r"\d+")):
        kernel("adds_to_empty")((1,), (64,), (floats(), y))


def test_result_that_depends_on_the_order():
    words = "the result depends on the order of threads: argument 1, element .0. is .* or"
    with pytest.raises(KernelError, match=words):
        kernel("last_one_wins")((1,), (32,), (floats(), floats(1)))


def test_too_much_static_shared_memory():
    words = "__shared__ variables take 56000 bytes, more than the 49152"
    with pytest.raises(KernelError, match=words):
        kernel("too_much_static_shared")((1,), (32,), (floats(), floats()))


def test_null_pointer():
    with pytest.raises(KernelError, match="out of bounds: read through a null pointer"):
        kernel("null_pointer")((1,), (8,), (np.uint64(0), floats()))


def strided():
    return floats()[::2]


REFUSED = [
    # grid, block, arguments, what is said
    (
        1,
        8,
        lambda: (floats(),),
        r"1 arguments for 3 parameters \(const float32 \*x, float32 \*y, int32 n\)",
    ),
    (
        1,
        8,
        lambda: (floats(), floats(), 100),
        "argument 2 is a Python number, which is passed",
    ),
    (
        1,
        8,
        lambda: (floats(), floats(), np.float32(1)),
        "2 is a float32; the parameter is int32 n",
    ),
    (1, 8, lambda: (floats(), floats(), floats(1)), "argument 2 is an array; "),
    (1, 8, lambda: (floats(), floats(), np.int64(1)), "argument 2 is an int64; "),
    (1, 8, lambda: (floats(), 7, N), "argument 1 is an int, not an array on a device"),
    (1, 8, lambda: (floats().astype("f8"), floats(), N), "argument 0 is an array of float64"),
    (1, 8, lambda: (floats(), np.ones(3, "f"), N), "argument 1 is an array on the host"),
    (1, 8, lambda: (strided(), floats(), N), r"argument 0 is .* strides \(8,\), not contiguous"),
    (0, 8, lambda: (floats(), floats(), N), r"grid \(0, 1, 1\).* must be positive"),
    ((1, 70000), 8, lambda: (floats(), floats(), N), "at most .2.31-1, 65535, 65535"),
    (1, 1025, lambda: (floats(), floats(), N), "more than 1024 threads"),
    (1, (1, 1, 65), lambda: (floats(), floats(), N), "more than 64 in z"),
]


@pytest.mark.parametrize("grid, block, arguments, words", REFUSED, ids=[w for *_, w in REFUSED])
def test_launch_is_refused(grid, block, arguments, words):
    grid, block = [size if isinstance(size, tuple) else (size,) for size in (grid, block)]
    with pytest.raises(KernelError, match=words):
        kernel("read_past_the_end")(grid, block, arguments())


@pytest.mark.parametrize("grid, block", [(1, (8,)), ((1,), 8), ((1,), [8])])
def test_sizes_are_tuples(grid, block):
    """CuPy's compiled code refuses anything else."""
    with pytest.raises(TypeError, match=r"'(grid|block)' .*expected tuple, got (int|list)\)"):
        kernel("read_past_the_end")(grid, block, (floats(), floats(), N))


def test_array_of_another_device():
    with emulator.cuda.Device(1):
        x = floats()
    with pytest.raises(KernelError, match="argument 0 is on device 1 while the current one is 0"):
        kernel("read_past_the_end")((1,), (8,), (x, floats(), N))


def test_shared_memory_beyond_48_kb_must_be_asked_for():
    tree = kernel("no_barrier_in_tree")
    with pytest.raises(KernelError, match="50000 bytes of dynamic shared memory are over"):
        tree((1,), (32,), (floats(), floats()), shared_mem=50000)
    tree.max_dynamic_shared_size_bytes = 50000
    tree((1,), (1,), (floats(), floats()), shared_mem=50000)


def test_block_larger_than_the_launch_bounds():
    with pytest.raises(KernelError, match=r"too many resources.*\(65, 1, 1\) has more .* 64 that"):
        kernel("bounded")((1,), (65,), (floats(), floats()))
    kernel("bounded")((1,), (64,), (floats(), floats()))


def test_static_and_dynamic_shared_memory_together():
    bounded = kernel("bounded")
    with pytest.raises(KernelError, match="4096 bytes of __shared__ .* 48000 of dynamic.* 49152"):
        bounded((1,), (64,), (floats(), floats()), shared_mem=48000)
    bounded.max_dynamic_shared_size_bytes = 48 << 11
    bounded((1,), (64,), (floats(), floats()), shared_mem=48000)


def test_unknown_kernel():
    with pytest.raises(KernelError, match="named symbol not found: 'nothing'.*no_barrier_in_tree"):
        kernel("nothing")


def test_source_that_is_wrong():
    source = '#line 7 "wrong.cu"\nextern "C" __global__ void k(float* y) { y[0] = z; }'
    with pytest.raises(CompileError, match="wrong.cu:7:.*'z' was not declared|wrong.cu:7"):
        emulator.RawModule(code=source).get_function("k")((1,), (1,), (floats(),))


def test_after_an_error_the_next_launch_is_right():
    with pytest.raises(KernelError):
        kernel("barrier_in_a_branch")((1,), (64,), (floats(), floats()))
    y = floats()
    kernel("write_past_the_end")((1,), (100,), (floats(), y, N))
    assert y.get()[:100].sum() == 100
