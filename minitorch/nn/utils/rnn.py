"""Sequences of different lengths in one tensor: padded, or packed time step by time step.

A packed batch has its sequences sorted, the longest first; the data of time step 0 of all of them
comes first, then step 1 of those that are that long, and so on: batch_sizes says how many. So a
recurrent layer never computes on padding. PyTorch: torch/nn/utils/rnn.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ... import devices
from ...dispatch.declare import functions
from ...tensor import Tensor, wrap, wrap_beside


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


class PackedSequence(_Packed):
    """A packed batch, made by pack_padded_sequence. Mirrors torch's PackedSequence.

    data (sum of lengths, *); batch_sizes (longest,); sorted_indices: the sequences by length;
    unsorted_indices: the way back.
    """

    __slots__ = ()

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if unsorted_indices is None and sorted_indices is not None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args, **kwargs):
        """The same with `data` converted."""
        return type(self)(self.data.to(*args, **kwargs), *self[1:])


def invert_permutation(permutation):
    """The permutation that undoes this one; None stays None."""
    if permutation is None:
        return None
    with devices.guard(permutation.array):
        return wrap(np.argsort(permutation.array))


def _places(batch_sizes, n: int):
    """Where the packed rows are among those of (longest, n): as flat indices."""
    return np.flatnonzero(np.arange(n) < batch_sizes[:, None])


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Pack (longest, n, *), or (n, longest, *) with `batch_first`. lengths: of the n sequences.

    enforce_sorted: they have to be sorted, the longest first (else they are sorted here). Raises
    RuntimeError where they are not, or one is 0. Mirrors torch's pack_padded_sequence.
    """
    if isinstance(lengths, Tensor) and not lengths.is_cpu:
        raise RuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {lengths.device} tensor"
        )
    lengths = np.asarray(lengths.array if isinstance(lengths, Tensor) else lengths)
    order = None
    if not enforce_sorted:
        sorting = np.argsort(-lengths, kind="stable")
        order = wrap_beside(sorting, input)
        input = input.index_select(0 if batch_first else 1, order)
        lengths = lengths[sorting]
    if batch_first:
        input = input.transpose(0, 1)
    n = input.shape[1]
    if len(lengths) != n:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} "
            f"(batch_size={n})"
        )
    if len(lengths) and lengths.min() <= 0:
        raise RuntimeError("Length of all samples has to be greater than 0, but found one <= 0")
    if (np.diff(lengths) > 0).any():
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to have them sorted."
        )
    sizes = (np.arange(lengths.max())[:, None] < lengths).sum(1)
    rows = input.reshape(-1, *input.shape[2:])
    return PackedSequence(rows[wrap_beside(_places(sizes, n), rows)], wrap(sizes), order)


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """The reverse of pack_padded_sequence: (padded tensor, lengths). Mirrors torch's function.

    total_length: of the padded dimension, if not the longest sequence.
    """
    sizes = sequence.batch_sizes.array
    n, longest = int(sizes[0]), len(sizes)
    if total_length is not None:
        if total_length < longest:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, "
                f"but got total_length={total_length} and max sequence length being {longest}"
            )
        longest = total_length
    data = sequence.data
    padding = data.new_full((1, *data.shape[1:]), padding_value)
    where = np.full(longest * n, len(data))  # the row of padding
    where[_places(sizes, n)] = np.arange(len(data))
    rows = functions["cat"]([data, padding])[wrap_beside(where, data)]
    padded = rows.reshape(longest, n, *data.shape[1:])
    lengths = wrap((np.arange(n) < sizes[:, None]).sum(0))
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices.cpu()]
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Tensors (length, *) of different lengths as one: (longest, n, *), or (n, longest, *).

    Mirrors torch.nn.utils.rnn.pad_sequence.
    """
    if padding_side not in ("right", "left"):
        raise RuntimeError("Expected padding_side to be one of left or right")
    longest = max(s.shape[0] for s in sequences)
    padded = []
    for sequence in sequences:
        missing = longest - sequence.shape[0]
        if missing:
            filled = sequence.new_full((missing, *sequence.shape[1:]), padding_value)
            both = [sequence, filled] if padding_side == "right" else [filled, sequence]
            sequence = functions["cat"](both)
        padded.append(sequence)
    return functions["stack"](padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The reverse of pad_sequence: a list. Mirrors torch.nn.utils.rnn.unpad_sequence."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [s[: int(n)] for s, n in zip(padded_sequences, lengths, strict=True)]


def pack_sequence(sequences, enforce_sorted=True):
    """Pack tensors (length, *). Mirrors torch.nn.utils.rnn.pack_sequence."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The reverse of pack_sequence: a list. Mirrors torch.nn.utils.rnn.unpack_sequence."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences))
