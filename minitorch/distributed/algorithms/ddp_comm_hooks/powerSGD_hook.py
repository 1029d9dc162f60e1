"""PowerSGD: gradients travel as two thin matrices (Vogels et al. 2019).

Why: the gradient of a layer, an n x m matrix M, is close to one of low rank. Send P (n x r) and Q
(m x r) in place of it, with M ~ P Q^T, and (n + m) r numbers travel, not n m. One step of the
power iteration finds good ones, and since it is linear in M, the ranks can add up P and Q instead
of M:

    P = sum over ranks of M Q;  orthogonalize P;  Q = mean over ranks of M^T P;  M <- P Q^T

What makes it work in practice: the next step starts from this step's Q (warm start), and what the
approximation has lost is added to the next gradient (error feedback). Vectors, and matrices for
which it does not pay, travel as they are.
Invariant: Q starts from the same random numbers on every rank, so that all project onto the same
subspace; they are PyTorch's, seed for seed.
PyTorch: torch/distributed/algorithms/ddp_comm_hooks/powerSGD_hook.py.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

import minitorch as torch
import minitorch.distributed as dist
from minitorch.distributed.algorithms.ddp_comm_hooks.default_hooks import mean
from minitorch.futures import Future

__all__ = ["PowerSGDState", "batched_powerSGD_hook", "powerSGD_hook"]

logger = logging.getLogger(__name__)


class PowerSGDState:
    """The options of PowerSGD, and what it remembers. Mirrors torch's PowerSGDState.

    matrix_approximation_rank: r; 1 to 4 are usual.
    start_powerSGD_iter: so many steps travel as they are, for early gradients are of high rank.
    min_compression_rate: a matrix is compressed if that saves more than this factor.
    orthogonalization_epsilon: added to the length of each column, lest a column of zeros be
        divided by 0; 1e-8 is a good value where a whole gradient can vanish.
    random_seed: of the first Q. batch_tensors_with_same_shape: multiply matrices of one shape in
    one go. Every compression_stats_logging_frequency steps, statistics go to the log.
    Raises ValueError for start_powerSGD_iter below 2 with error feedback or warm start: the first
    steps, before DDP has put its buckets into their final order, would be remembered wrongly.
    """

    def __init__(
        self,
        process_group: Any,
        matrix_approximation_rank: int = 1,
        start_powerSGD_iter: int = 1_000,
        min_compression_rate: float = 2,
        use_error_feedback: bool = True,
        warm_start: bool = True,
        orthogonalization_epsilon: float = 0,
        random_seed: int = 0,
        compression_stats_logging_frequency: int = 10_000,
        batch_tensors_with_same_shape: bool = False,
    ):
        if (use_error_feedback or warm_start) and start_powerSGD_iter <= 1:
            raise ValueError(
                "Expect `start_powerSGD_iter` > 1 if `use_error_feedback` or `warm_start` is "
                "enabled, because PowerSGD can only be applied after the first two iterations in "
                "DDP."
            )
        self.process_group = process_group
        self.matrix_approximation_rank = matrix_approximation_rank
        self.start_powerSGD_iter = start_powerSGD_iter
        self.min_compression_rate = min_compression_rate
        self.orthogonalization_epsilon = orthogonalization_epsilon
        self.use_error_feedback = use_error_feedback
        self.warm_start = warm_start
        self.batch_tensors_with_same_shape = batch_tensors_with_same_shape
        self.rng = np.random.RandomState(random_seed)
        # bucket's number -> what was lost, and all its P and all its Q, one after the other
        self.error_dict: dict[int, torch.Tensor] = {}
        self.p_memory_dict: dict[int, torch.Tensor] = {}
        self.q_memory_dict: dict[int, torch.Tensor] = {}
        self.iter = 0
        self.total_numel_before_compression = 0
        self.total_numel_after_compression = 0
        self.compression_stats_logging_frequency = max(1, compression_stats_logging_frequency)
        self.next_stats_report = 0

    def __getstate__(self) -> dict[str, Any]:
        """All but the process group, which belongs to this job alone."""
        return {**vars(self), "process_group": None}

    def maybe_increase_iter(self, bucket: dist.GradBucket) -> None:
        """Count the step, if this is its last bucket."""
        if bucket.is_last():
            self.iter += 1

    def compression_stats(self) -> tuple[float, int, int]:
        """(rate, elements before, elements after) of all compressed steps so far."""
        before, after = self.total_numel_before_compression, self.total_numel_after_compression
        return (before / after if after else 0, before, after)

    def _report(self, bucket: dist.GradBucket) -> None:
        if bucket.is_last() and self.iter >= self.next_stats_report:
            rate, before, after = self.compression_stats()
            logger.info("PowerSGD, step %d: %d / %d = %g", self.iter, before, after, rate)
            self.next_stats_report = self.iter + self.compression_stats_logging_frequency

    def _with_error(self, index: int, gradient: torch.Tensor) -> torch.Tensor | None:
        """Add what the last step lost; returns a copy, from which to see what this one loses."""
        if not self.use_error_feedback:
            return None
        if index in self.error_dict:
            gradient.add_(self.error_dict[index])
        return gradient.clone()

    def _keep_error(self, index: int, before: torch.Tensor | None, after: torch.Tensor) -> None:
        if before is not None:
            self.error_dict[index] = before - after


def powerSGD_hook(state: PowerSGDState, bucket: dist.GradBucket) -> Future:
    """The mean, each matrix of the bucket approximated. Mirrors torch's hook.

    A tensor of more than two dimensions counts as a matrix whose rows are its first dimension.
    """
    gradient, index = bucket.buffer(), bucket.index()
    if state.iter < state.start_powerSGD_iter:
        state.maybe_increase_iter(bucket)
        return mean(gradient, state.process_group)
    before = state._with_error(index, gradient)
    by_shape: dict[Any, list[torch.Tensor]] = {}
    plain = []
    for tensor in bucket.gradients():
        matrix = tensor.view(tensor.shape[0], -1) if tensor.dim() else tensor.view(1, 1)
        n, m = matrix.shape
        compressed = (n + m) * min(n, m, state.matrix_approximation_rank)
        worth_it = compressed * state.min_compression_rate < n * m
        if worth_it:
            by_shape.setdefault(matrix.shape, []).append(matrix)
        else:
            plain.append(tensor)
        state.total_numel_before_compression += n * m
        state.total_numel_after_compression += compressed if worth_it else n * m
    state._report(bucket)
    batches, copies = [], []  # of matrices of one shape; those that are copies, and of what
    for matrices in by_shape.values():
        if state.batch_tensors_with_same_shape and len(matrices) > 1:
            batches.append(torch.stack(matrices))
            copies.append((batches[-1], matrices))
        else:
            batches.extend(matrix.unsqueeze(0) for matrix in matrices)
    rest = torch.cat([t.reshape(-1) for t in plain]) if plain else gradient.new_empty(0)

    def put_back(_: Future) -> torch.Tensor:
        for tensor, part in zip(plain, rest.split([t.numel() for t in plain]), strict=True):
            tensor.copy_(part.view(tensor.shape))
        for batch, matrices in copies:
            for matrix, approximation in zip(matrices, batch.unbind(), strict=True):
                matrix.copy_(approximation)
        state._keep_error(index, before, gradient)
        state.maybe_increase_iter(bucket)
        return gradient

    return _mean_of_low_rank(state, index, batches, rest).then(put_back)


def batched_powerSGD_hook(state: PowerSGDState, bucket: dist.GradBucket) -> Future:
    """The mean, the whole bucket approximated as one square matrix. Mirrors torch's hook.

    Quicker than `powerSGD_hook`, and cruder: rows of the square are not rows of any layer.
    """
    gradient, index = bucket.buffer(), bucket.index()
    if state.iter < state.start_powerSGD_iter:
        state.maybe_increase_iter(bucket)
        return mean(gradient, state.process_group)
    side = math.ceil(math.sqrt(gradient.numel()))
    square = gradient.new_zeros(side * side)
    square[: gradient.numel()] = gradient
    before = state._with_error(index, square)
    state.total_numel_before_compression += gradient.numel()
    state.total_numel_after_compression += 2 * side * state.matrix_approximation_rank
    state._report(bucket)

    def put_back(_: Future) -> torch.Tensor:
        state._keep_error(index, before, square)
        state.maybe_increase_iter(bucket)
        return gradient.copy_(square[: gradient.numel()])

    nothing = gradient.new_empty(0)
    return _mean_of_low_rank(state, index, [square.view(1, side, side)], nothing).then(put_back)


def _mean_of_low_rank(
    state: PowerSGDState, index: int, batches: list[torch.Tensor], rest: torch.Tensor
) -> Future:
    """A Future that makes each of `batches`, (b, n, m), the mean's approximation, in place; and
    `rest` the mean."""
    group = state.process_group
    size = dist.get_world_size(group)
    shapes = []  # (b, n, m, r)
    for batch in batches:
        b, n, m = batch.shape
        shapes.append((b, n, m, min(n, m, state.matrix_approximation_rank)))
    first = index not in state.q_memory_dict
    if first:
        state.p_memory_dict[index] = rest.new_empty(sum(b * n * r for b, n, m, r in shapes))
        state.q_memory_dict[index] = rest.new_empty(sum(b * m * r for b, n, m, r in shapes))
    all_p, all_q = state.p_memory_dict[index], state.q_memory_dict[index]
    ps = _views(all_p, [(b, n, r) for b, n, m, r in shapes])
    qs = _views(all_q, [(b, m, r) for b, n, m, r in shapes])
    if first:
        generator = torch.Generator().manual_seed(int(state.rng.randint(1_000_000_000)))
        for q in qs:
            q.copy_(torch.randn(*q.shape, dtype=q.dtype, generator=generator))
    for q in qs:
        _orthogonalize(q, state.orthogonalization_epsilon)
    for batch, q, p in zip(batches, qs, ps, strict=True):
        torch.bmm(batch, q, out=p)  # (b, n, m) @ (b, m, r)
    rest_arrives: Any = dist.all_reduce(rest, group=group, async_op=True)
    p_arrives: Any = dist.all_reduce(all_p, group=group, async_op=True)

    def finish(_: Future) -> None:
        rest_arrives.wait()
        rest.div_(size)
        for batch, q, p in zip(batches, qs, ps, strict=True):
            _orthogonalize(p, state.orthogonalization_epsilon)
            torch.bmm(batch.transpose(1, 2), p, out=q)  # (b, m, n) @ (b, n, r)
        dist.all_reduce(all_q, group=group)
        all_q.div_(size)
        for batch, q, p in zip(batches, qs, ps, strict=True):
            torch.bmm(p, q.transpose(1, 2), out=batch)  # (b, n, r) @ (b, r, m)
        if not state.warm_start:
            del state.p_memory_dict[index], state.q_memory_dict[index]

    return p_arrives.get_future().then(finish)


def _views(memory: torch.Tensor, shapes: list[tuple[int, int, int]]) -> list[torch.Tensor]:
    parts = memory.split([math.prod(shape) for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def _orthogonalize(matrices: torch.Tensor, epsilon: float) -> None:
    """Make the columns of each (n, r) matrix in (b, n, r) orthonormal, in place."""
    rank = matrices.shape[2]
    if rank > 2 and matrices.dtype not in (torch.float16, torch.bfloat16):
        matrices.copy_(torch.linalg.qr(matrices)[0])
        return
    for i in range(rank):  # Gram-Schmidt: quicker for few columns
        column = matrices[:, :, i : i + 1]
        column /= torch.norm(column, dim=1, keepdim=True) + epsilon
        rest = matrices[:, :, i + 1 :]
        rest -= torch.sum(column * rest, dim=1, keepdim=True) * column
