"""A unit: parameters that are gathered, freed and reduced together. The engine of FSDP.

Data parallelism keeps N copies of the model, of its gradients and of the optimizer's state. Here
rank r keeps the r-th part of each parameter's rows (its *shard*), and the gradient and the
optimizer's state of these alone. A parameter is whole only while its layer works:

    forward     all-gather the shards; compute; free
    backward    all-gather them again; compute; reduce-scatter the gradients; free

This moves half as much again as an all-reduce of the gradients (which is a reduce-scatter and one
all-gather), for a memory that shrinks with the number of ranks.

What stands in the way is the graph: it saves the whole weights for backward, and so would keep
them. Therefore a unit watches what is recorded in its forward, and replaces each saved array that
lies in one of its whole weights by a note where ("all of weight 2, transposed"). When backward asks
for the value, the unit gathers its weights, if it has not yet, and makes the same view of them.

Invariants:
- A parameter stays the same object; what changes is its `array`: its shard, or the whole. Its node
  in the graph knows the whole's shape, always.
- .grad is this rank's rows of the mean over all ranks, but for the moment in which the engine hands
  a whole gradient over, between the two hooks.
- All ranks gather and reduce the same units in the same order: the graph's, which is the same.
PyTorch: torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

import numpy as np

from ... import devices
from ... import distributed as dist
from ...autograd.engine import current_pass, queue_callback
from ...autograd.grad_mode import Watcher, mode
from ...autograd.graph import edge_of
from ...autograd.saved import Packed
from ...dispatch.memory import address, owner, strided
from ...tensor import Tensor, wrap
from . import layout
from .sharding import Sharding


class Traffic:
    """What the units of one model know of each other."""

    def __init__(self) -> None:
        self.order: list[Unit] = []  # in which their forwards ran
        self.reducing: Unit | None = None  # one at a time: its gradients are held in memory

    def passes(self, unit: Unit) -> None:
        """Note that the forward of `unit` begins; what came after it was the last step's."""
        if unit in self.order:
            del self.order[self.order.index(unit) :]
        self.order.append(unit)

    def next_in_backward(self, unit: Unit) -> Unit | None:
        """The one before; after the outermost, which begins both ways, the last."""
        return self.order[self.order.index(unit) - 1] if unit in self.order else None


class Unit(Watcher):
    """The given parameters, by name, sharded over the ranks of `group`, beginning with rank 0's.

    gather_dtype: NumPy's dtype in which they travel and compute; reduce_dtype: in which gradients
    are added up; None for the parameters' own. Raises ValueError if these have several.
    """

    def __init__(self, named: dict[str, Any], group: Any, gather_dtype=None, reduce_dtype=None):
        dtypes = {p.array.dtype: f"{p.dtype} ({name})" for name, p in named.items()}
        if len(dtypes) > 1:
            raise ValueError(
                f"parameters that are sharded together must have one dtype, got "
                f"{' and '.join(dtypes.values())}: call fully_shard on their modules one by one"
            )
        self.parameters = list(named.values())
        self.group = group
        self.rank, self.ranks = dist.get_rank(group), dist.get_world_size(group)
        self.dtype = next(iter(dtypes), None)
        self.gather_dtype = gather_dtype or self.dtype
        self.reduce_dtype = reduce_dtype or self.gather_dtype
        self.reshard_after_forward = True
        self.sync = True  # reduce gradients at the end of backward, or add them up on each rank
        self.traffic = Traffic()
        self.shapes = [p.array.shape for p in self.parameters]
        self.shards: list[np.ndarray] = []  # set aside while the parameters are whole
        self.owners: dict[int, int] = {}  # likewise: id of the memory's owner -> parameter's number
        self.gathering: tuple | None = None  # (Work, blocks)
        self.notes = False  # whether the graph has notes that stand for weights
        self.hooked: set = set()
        self.backward: Any = None  # weak reference to the engine's pass that has reached this unit
        self.missing: set = set()  # parameters whose gradients that pass still has to bring
        self.kept: dict = {}  # parameter -> its .grad while the engine makes the new one
        self.unreduced: dict = {}  # parameter -> whole gradient, of this rank's data alone
        self.reduction: tuple | None = None  # (Work, parameters, this rank's part of each)
        root = dist.get_global_rank(group, 0) if group else 0
        for p in self.parameters:
            dist.broadcast(p.detach(), src=root, group=group)
            if getattr(p, "_sharding", None) is not None:
                raise ValueError(
                    "fully_shard: a parameter is split over ranks already (parallelize_module?); "
                    "splitting it once more is not supported"
                )
            p._sharding = Sharding(group or dist.group.WORLD, p.array.shape)
            with devices.guard(p.array):
                p.array = p._sharding.part(p.array).copy()

    # Whole and sharded

    def start_gathering(self) -> None:
        """Begin to fetch the others' shards, if that has not been done."""
        if self.shards or self.gathering or not self.parameters:
            return
        like = self.parameters[0].array
        blocks = layout.empty_blocks(self.shapes, self.ranks, self.gather_dtype, like)
        with devices.guard(like):
            own = np.concatenate([p.array.reshape(-1) for p in self.parameters])
            own = own.astype(self.gather_dtype, copy=False)
        room = list(map(wrap, blocks))
        self.gathering = dist.all_gather(room, wrap(own), self.group, async_op=True), blocks

    def unshard(self) -> None:
        """Make the parameters whole."""
        self.start_gathering()
        if self.gathering is None:
            return
        work, blocks = self.gathering
        work.wait()
        self.gathering = None
        self.shards = [p.array for p in self.parameters]
        for i, array in enumerate(layout.joined(blocks, self.shapes)):
            p = self.parameters[i]
            p.array = array
            self.owners[id(owner(array))] = i
            if p.requires_grad:
                self._attach(i, p)

    def reshard(self) -> None:
        """Free the whole parameters; what was changed in them is lost."""
        if self.shards:
            for p, shard in zip(self.parameters, self.shards, strict=True):
                p.array = shard
            self.shards = []
            self.owners.clear()

    def write_back(self) -> None:
        """Take what was changed in the whole parameters over into the shards."""
        for p, own in zip(self.parameters, self.shards, strict=True):
            devices.overwrite(own, p._sharding.part(p.array))

    @contextlib.contextmanager
    def forward(self):
        """The block inside is the forward of the unit's module."""
        again = current_pass() is not None  # computed once more, by a checkpoint in backward
        if again:
            self._begin_backward()
        self.unshard()
        frees = self.reshard_after_forward or not mode.enabled
        if mode.enabled and not again:
            self.traffic.passes(self)
            self.notes = False
        try:
            with self if frees and mode.enabled else contextlib.nullcontext():
                yield
        finally:
            if frees and not again:
                self.reshard()

    # What the graph saves

    def recorded(self, node) -> None:
        """Replace what `node` saves of the whole weights."""
        node.saved = [self._noted(*entry) for entry in node.saved]

    def _noted(self, value, edge, storage, version) -> tuple:
        array = value.array if isinstance(value, Tensor) else value
        is_array = bool(self.shards) and type(array) is type(self.shards[0])
        number = self.owners.get(id(owner(array))) if is_array else None
        if number is None:
            return value, edge, storage, version
        self.notes = True
        offset = address(array) - address(owner(array))
        where = number, offset, array.shape, array.strides
        return Packed(where, self._looked_up), edge, None, 0

    def _looked_up(self, where: tuple) -> Tensor:
        """The value that a note stands for."""
        self._begin_backward()
        self.unshard()
        number, offset, shape, strides = where
        array = self.parameters[number].array
        if (offset, shape, strides) != (0, array.shape, array.strides):
            array = strided(array, shape, strides, offset)
        return wrap(array)

    # Backward

    def _attach(self, number: int, p) -> None:
        """Have the gradients of `p`, which is whole now, come here."""
        node: Any = edge_of(p)
        node.shape, node.dtype = p.array.shape, p.array.dtype
        if p not in self.hooked:
            self.hooked.add(p)
            unit: Any = weakref.ref(self)  # a parameter must not keep the unit that keeps it
            p.register_hook(lambda grad: unit()._gradient_comes(number))
            p.register_post_accumulate_grad_hook(lambda p: unit()._gradient_came(p))

    def _begin_backward(self) -> None:
        """The first time that this pass comes here: see what it is going to bring."""
        now: Any = current_pass()
        if now is None or (self.backward is not None and self.backward() is now):
            return
        if self.backward is not None:
            self._start_over()
        self.backward = weakref.ref(now)
        self.missing = {p for p in self.hooked if p.requires_grad and now.awaits(edge_of(p))}
        queue_callback(self._finish)
        if self.notes:
            self.unshard()
        following = self.traffic.next_in_backward(self)
        if following is not None and following.notes and following.backward is None:
            following.start_gathering()

    def _gradient_comes(self, number: int) -> None:
        """The engine has the whole gradient of a parameter and is about to add it to .grad."""
        now: Any = current_pass()
        if now.sinks is None:  # not for autograd.grad, which leaves .grad alone
            self._begin_backward()
            p = self.parameters[number]
            self.kept[p], p._grad = p._grad, None

    def _gradient_came(self, p) -> None:
        """It has: take it from there."""
        grad, p._grad = p._grad.array, self.kept.pop(p)
        so_far = self.unreduced.get(p)
        with devices.guard(grad):
            self.unreduced[p] = grad if so_far is None else so_far + grad
        self.missing.discard(p)
        if not self.missing:
            self.reshard()
            self._reduce()

    def _reduce(self) -> None:
        """Start adding up the gradients over the ranks, each rank's part there."""
        taught = [p for p in self.parameters if p in self.unreduced]
        if not taught or not self.sync:
            return
        if self.traffic.reducing is not None:
            self.traffic.reducing._collect()
        arrays = [self.unreduced.pop(p) for p in taught]
        shapes = [array.shape for array in arrays]
        blocks = layout.blocks(arrays, self.ranks, self.reduce_dtype)
        del arrays  # whole gradients take room
        with devices.guard(blocks[0]):
            for block in blocks:
                block *= 1 / self.ranks
            own = np.empty_like(blocks[self.rank])
        terms = list(map(wrap, blocks))
        work = dist.reduce_scatter(wrap(own), terms, group=self.group, async_op=True)
        self.reduction = work, taught, layout.cut_block(own, shapes, self.rank, self.ranks)
        self.traffic.reducing = self

    def _collect(self) -> None:
        """Wait for the sums, and add them to .grad."""
        if self.reduction is None:
            return
        (work, taught, grads), self.reduction = self.reduction, None
        self.traffic.reducing = None
        work.wait()
        for p, grad in zip(taught, grads, strict=True):
            with devices.guard(grad):
                grad = grad.astype(self.dtype, copy=False)
                if p._grad is None:
                    p._grad = wrap(grad)
                else:
                    p._grad.array += grad
                    p._grad._bump_version()

    def _finish(self) -> None:
        """The end of backward."""
        self._reduce()  # what was left waiting for gradients that did not come
        self._collect()
        self._end_backward()

    def _start_over(self) -> None:
        """Clean up after a backward that ended in an exception."""
        if self.reduction is not None:
            with contextlib.suppress(RuntimeError):
                self.reduction[0].wait()
        self.reduction = self.traffic.reducing = None
        self.unreduced.clear()
        for p, grad in self.kept.items():
            p._grad = grad
        self.kept.clear()
        self._end_backward()

    def _end_backward(self) -> None:
        self.backward = None
        for unit in (self, *self.traffic.order):
            if unit.backward is None:  # it has ended, or this pass had no gradients for it
                unit.reshard()
                if unit.gathering is not None:
                    work, unit.gathering = unit.gathering[0], None
                    with contextlib.suppress(RuntimeError):
                        work.wait()
