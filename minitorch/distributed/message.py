"""The header of every message: a fingerprint of the call that sent it.

A collective works only if all ranks call the same one, in the same order, with the same sizes.
When they do not, a library that trusts them hangs or adds floats to integers. So every message
opens with 36 bytes that say which call it belongs to, and a receiver compares them with its own:
one comparison of bytes where they agree, and where they differ, both calls can be named.

Invariant: two calls have equal headers exactly if they may be paired.
PyTorch has this only under TORCH_DISTRIBUTED_DEBUG=DETAIL (ProcessGroupWrapper.cpp).
"""

import struct
import zlib
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from minitorch.distributed.reduce_op import ReduceOp


class Kind(IntEnum):
    """What a message is for."""

    HELLO = 1  # the first on a connection: number = the sender's rank
    DATA = 2  # a part of a collective, or of a send
    WAITING = 3  # "I have been in this call for a while": tells the late from the waiting
    ABORT = 4  # "I have failed", with the reason
    GOODBYE = 5  # "I leave, after this many collectives in each group"


OPS: list[str] = ["barrier", "all_reduce", "broadcast", "reduce", "all_gather", "send"]
OPS += ["reduce_scatter", "all_to_all", "gather", "scatter", "new_group", "calibration"]
# The calls that have no data.
EMPTY = ("barrier", "new_group", "calibration")
DTYPES: list[str] = [
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
]

_OP_CODES = {op: code for code, op in enumerate(OPS)}
_DTYPE_CODES = {dtype: code for code, dtype in enumerate(DTYPES)}
_LAYOUT = struct.Struct("<BBBBIqqiII")
HEADER_BYTES = _LAYOUT.size
_NONE = 255


class Fingerprint(NamedTuple):
    """One call of one group.

    `number` counts the group's collectives from 1; a send or recv has -1 - tag instead. Together
    with the group it says which call a message belongs to, and the rest must then agree. Where
    blocks have different sizes, `elements` counts all of them and `splits` is a checksum of their
    sizes. In an all_to_all only pairs of ranks must agree: `elements` is what one sends the other.
    `named` is a checksum of the algorithms that the program has named (table.py), if any.
    """

    op: str
    group: int = 0
    number: int = 0
    dtype: str = "uint8"
    elements: int = 0
    reduce_op: ReduceOp | None = None
    root: int | None = None
    splits: int = 0
    named: int = 0

    def pack(self, kind: Kind = Kind.DATA) -> bytes:
        """The header's bytes."""
        return _LAYOUT.pack(
            kind,
            _OP_CODES[self.op],
            _NONE if self.reduce_op is None else self.reduce_op.value,
            _DTYPE_CODES[self.dtype],
            self.group,
            self.number,
            self.elements,
            -1 if self.root is None else self.root,
            self.splits,
            self.named,
        )

    def __str__(self) -> str:
        """The call in words: `all_reduce(SUM, 10 x float32)`."""
        if self.op in EMPTY:
            return f"{self.op}({f'{self.elements} ranks' if self.elements else ''})"
        words = [f"{self.elements} x {self.dtype}"]
        if self.splits:
            words.append("in uneven blocks")
        if self.op == "all_to_all":
            words.append("between the two")
        if self.reduce_op is not None:
            words.insert(0, self.reduce_op.name)
        if self.root is not None:
            words.append(f"root={self.root}")
        if self.op == "send":
            words.append(f"tag={-1 - self.number}")
        return f"{self.op}({', '.join(words)})"


def unpack(header: bytes | memoryview) -> tuple[Kind, Fingerprint]:
    """The reverse of `pack`. Raises ValueError if the bytes are no header of ours."""
    try:
        kind, op, reduce_op, dtype, group, number, elements, root, splits, named = _LAYOUT.unpack(
            header
        )
        return Kind(kind), Fingerprint(
            OPS[op],
            group,
            number,
            DTYPES[dtype],
            elements,
            None if reduce_op == _NONE else ReduceOp(reduce_op),
            None if root < 0 else root,
            splits,
            named,
        )
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError(f"not a minitorch message: {bytes(header)[:HEADER_BYTES]!r}") from error


def checksum(numbers: Iterable) -> int:
    """What stands for a list of sizes, names or ranks in a header; never 0, which means none."""
    return zlib.crc32(repr(list(numbers)).encode()) or 1


_LANE = struct.Struct("<Iq")


def lane_of(header: bytes | memoryview) -> tuple[int, int]:
    """Only the group and number of a header, which say whom a message is for."""
    return _LANE.unpack_from(header, 4)
