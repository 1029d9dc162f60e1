"""DeviceMesh: the ranks, laid out in a grid, and a process group along each of its lines.

Why: when a model is split in two ways at once, each rank has two sets of neighbours. On four ranks
as a 2 x 2 grid, `("dp", "tp")`,

               tp ->
        dp     0   1
         |     2   3
         v

ranks 0 and 1 hold the two halves of each layer, 0 and 2 the same half for different data. So
`mesh["tp"]` is, for rank 0, the line [0, 1], and `mesh["dp"]` the line [0, 2].

Invariant: all ranks make the same mesh, in the same order as their other groups; each is in exactly
one line along every dimension. Along a line ranks count in the mesh's order.

PyTorch: torch/distributed/device_mesh.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitorch.distributed import world
from minitorch.distributed.backend import ProcessGroup
from minitorch.distributed.groups import new_group

_entered: list[DeviceMesh] = []  # the meshes whose `with` blocks we are in


class DeviceMesh:
    """Ranks in an n-dimensional grid. Mirrors `torch.distributed.device_mesh.DeviceMesh`.

    device_type: "cpu" or "cuda". mesh: nested lists, an array or a tensor of global ranks.
    mesh_dim_names: names of the dimensions, by which `mesh["tp"]` finds them. Initialises the
    default process group if there is none. Raises RuntimeError for more ranks than there are,
    ValueError for one that is in it twice.
    """

    def __init__(
        self,
        device_type: str,
        mesh: Any,
        *,
        mesh_dim_names: tuple[str, ...] | None = None,
        _groups: list | None = None,
    ) -> None:
        self.device_type = device_type
        self._ranks = np.array(mesh, dtype=np.int32)
        self.mesh_dim_names = tuple(mesh_dim_names) if mesh_dim_names else None
        self._check()
        if not world.is_initialized():
            world.init_process_group()
        size = world.get_world_size()
        if self._ranks.max() >= size or self._ranks.min() < 0:
            raise RuntimeError(
                f"DeviceMesh: the mesh has ranks {self._ranks.min()} to {self._ranks.max()}, but "
                f"the world has only {size}: 0 to {size - 1}"
            )
        self._groups = self._make_groups() if _groups is None else _groups

    def _check(self) -> None:
        ranks, counts = np.unique(self._ranks, return_counts=True)
        if not self._ranks.size or counts.max() > 1:
            raise ValueError(
                f"DeviceMesh: each rank must be in the mesh once, got {self._ranks.tolist()}: "
                f"{ranks[counts > 1].tolist()} more than once"
            )
        names = self.mesh_dim_names
        if names and len(names) != self.ndim:
            raise RuntimeError(
                "mesh_shape and mesh_dim_names should have same length! Found "
                f"len(mesh_dim_names): {len(names)} and len(mesh_shape): {self.ndim}."
            )
        if names and len(set(names)) < len(names):
            raise RuntimeError(f"Each mesh_dim_name must be unique, got {names}")

    def _make_groups(self) -> list[Any]:
        """This rank's group along each dimension; None on a rank outside the mesh."""
        own: list[Any] = []
        for dim in range(self.ndim):
            lines = np.moveaxis(self._ranks, dim, -1).reshape(-1, self.shape[dim]).tolist()
            if lines == [list(range(world.get_world_size()))]:
                own.append(world.default_group())
                continue
            name = self.mesh_dim_names[dim] if self.mesh_dim_names else dim
            # Every rank makes every line's group, in this order; it is a member of one of them.
            made = [new_group(ln, group_desc=f"mesh_{name}", sort_ranks=False) for ln in lines]
            own.append(next((group for group in made if isinstance(group, ProcessGroup)), None))
        return own

    @property
    def mesh(self):
        """The global ranks, as a tensor of int32."""
        from minitorch.tensor import wrap

        return wrap(self._ranks.copy())

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of ranks along each dimension."""
        return self._ranks.shape

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._ranks.ndim

    def size(self, mesh_dim: int | str | None = None) -> int:
        """The number of ranks along a dimension; without one, of all."""
        return self._ranks.size if mesh_dim is None else self.shape[self._dim(mesh_dim)]

    def get_group(self, mesh_dim: int | str | None = None) -> ProcessGroup:
        """The process group of this rank's line along a dimension, given by number or by name.

        Raises RuntimeError if none is given and there are several, or if this rank is outside the
        mesh; KeyError for a name that is not there.
        """
        group = self._groups[self._dim(mesh_dim)]
        if group is None:
            raise RuntimeError(f"rank {world.get_rank()} is not part of {self}")
        return group

    def get_all_groups(self) -> list[ProcessGroup]:
        """`get_group` of every dimension."""
        return [self.get_group(dim) for dim in range(self.ndim)]

    def get_rank(self) -> int:
        """This process's global rank."""
        return world.get_rank()

    def get_local_rank(self, mesh_dim: int | str | None = None) -> int:
        """This process's place along a dimension; raises as `get_group`."""
        return self.get_group(mesh_dim).rank()

    def get_coordinate(self) -> tuple[int, ...] | None:
        """This process's place along every dimension; None if it is outside the mesh."""
        places = np.argwhere(self._ranks == world.get_rank())
        return tuple(places[0].tolist()) if len(places) else None

    def __getitem__(self, mesh_dim_names: str | tuple[str, ...]) -> DeviceMesh:
        """The part of the mesh along these dimensions in which this rank is.

        It shares the groups. Raises RuntimeError for a mesh without names, KeyError for a name that
        is not there, or names in another order than the mesh has them.
        """
        if self.mesh_dim_names is None:
            raise RuntimeError("Cannot slice a DeviceMesh without mesh_dim_names!")
        names = (mesh_dim_names,) if isinstance(mesh_dim_names, str) else tuple(mesh_dim_names)
        dims = [self._dim(name) for name in names]
        if dims != sorted(set(dims)):
            raise KeyError(f"{names}: give them once, in the mesh's order, {self.mesh_dim_names}")
        # The coordinates of the other dimensions are fixed: at ours, or, outside the mesh, at 0.
        here = self.get_coordinate() or (0,) * self.ndim
        part = self._ranks[tuple(slice(None) if d in dims else c for d, c in enumerate(here))]
        groups = [self._groups[dim] for dim in dims]
        return DeviceMesh(self.device_type, part, mesh_dim_names=names, _groups=groups)

    def _flatten(self, mesh_dim_name: str | None = None) -> DeviceMesh:
        """A mesh of one dimension with the same ranks, and a group of them all. Every rank of the
        world calls it, each on its own part."""
        name = mesh_dim_name or "_".join(self.mesh_dim_names or ("flat",))
        ranks = self._ranks.reshape(-1).tolist()
        group = new_group(
            ranks, use_local_synchronization=True, group_desc=f"mesh_{name}", sort_ranks=False
        )
        return DeviceMesh(self.device_type, ranks, mesh_dim_names=(name,), _groups=[group])

    @staticmethod
    def from_group(
        group: ProcessGroup | list[ProcessGroup],
        device_type: str,
        mesh: Any = None,
        *,
        mesh_dim_names: tuple[str, ...] | None = None,
    ) -> DeviceMesh:
        """A mesh of groups that exist: one along each dimension. `mesh`, needed for several, says
        where the ranks are. Raises ValueError if they do not fit together."""
        groups = [group] if isinstance(group, ProcessGroup) else list(group)
        if not groups:
            raise ValueError("Expects at least one ProcessGroup to be passed")
        if mesh is None and len(groups) > 1:
            raise ValueError("Must pass mesh if passing multiple ProcessGroups")
        if mesh_dim_names is None and len(groups) > 1:
            raise ValueError("Must pass mesh_dim_names if passing multiple ProcessGroups")
        ranks = np.array(groups[0].ranks if mesh is None else mesh, dtype=np.int32)
        if ranks.ndim != len(groups):
            raise ValueError(
                "Expects mesh with ndim equal to number of ProcessGroups but got mesh "
                f"{ranks.tolist()} and {len(groups)} ProcessGroups"
            )
        made = DeviceMesh(device_type, ranks, mesh_dim_names=mesh_dim_names, _groups=groups)
        here = made.get_coordinate()
        for dim, one in enumerate(groups):
            if here is not None:
                line = np.moveaxis(ranks, dim, -1)[here[:dim] + here[dim + 1 :]]
                if line.tolist() != one.ranks:
                    raise ValueError(
                        f"Invalid mesh {ranks.tolist()} for ProcessGroup with ranks {one.ranks}"
                    )
        return made

    def _dim(self, mesh_dim: int | str | None) -> int:
        """The number of a dimension that is given by number, by name, or not at all."""
        if isinstance(mesh_dim, str):
            if mesh_dim not in (self.mesh_dim_names or ()):
                raise KeyError(
                    f"Mesh dimension '{mesh_dim}' does not exist. Available mesh dimensions are: "
                    f"mesh_dim_names={self.mesh_dim_names}"
                )
            assert self.mesh_dim_names is not None
            return self.mesh_dim_names.index(mesh_dim)
        if mesh_dim is None and self.ndim > 1:
            raise RuntimeError(
                f"Found the DeviceMesh have {self.ndim} dimensions. Optional kwarg `mesh_dim` "
                "needs to be specified when device_mesh.ndim > 1."
            )
        return mesh_dim or 0

    def __enter__(self) -> DeviceMesh:
        """In the block it is the mesh of those functions that are not given one."""
        _entered.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _entered.pop()

    def __deepcopy__(self, memo: dict) -> DeviceMesh:
        """Itself: the copy of a model talks to the same ranks."""
        return self

    def __repr__(self) -> str:
        names = self.mesh_dim_names
        shape = (
            ", ".join(f"{n}={s}" for n, s in zip(names, self.shape, strict=True)) if names else ""
        )
        return f"DeviceMesh({f'({shape})' if names else self.shape}, '{self.device_type}')"

    def _key(self) -> tuple:
        return self.device_type, self.shape, self.mesh_dim_names, self._ranks.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceMesh) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


def init_device_mesh(
    device_type: str,
    mesh_shape: tuple[int, ...],
    *,
    mesh_dim_names: tuple[str, ...] | None = None,
    backend_override: Any = None,
) -> DeviceMesh:
    """The mesh of ranks 0, 1, 2, ... in this shape, the last dimension changing fastest.

    Mirrors `torch.distributed.device_mesh.init_device_mesh`; `backend_override` is refused. Raises
    RuntimeError for a device with a number ("cuda:0"), and as DeviceMesh.
    """
    if not device_type.isalpha():
        raise RuntimeError(
            f"Device type with index is not supported but got {device_type}: give 'cpu' or 'cuda'"
        )
    if backend_override is not None:
        raise NotImplementedError("init_device_mesh: every group has the default group's backend")
    ranks = np.arange(np.prod(mesh_shape, dtype=int)).reshape(mesh_shape)
    return DeviceMesh(device_type, ranks, mesh_dim_names=mesh_dim_names)


def current_mesh() -> DeviceMesh:
    """The mesh of the innermost `with mesh:`. Raises RuntimeError outside of one."""
    if not _entered:
        raise RuntimeError("No device mesh is currently active: give one, or use `with mesh:`")
    return _entered[-1]
