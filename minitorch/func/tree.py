"""Trees: nested tuples, lists and dicts, taken apart into leaves and put together again.

Why: the functions that are transformed may take and return any nesting of tensors. A structure is
described by the tree itself with its leaves replaced by `LEAF`, so two structures can be compared
with == and printed as they are. PyTorch: torch/utils/_pytree.py.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any


class _Leaf:
    def __repr__(self) -> str:
        return "*"


LEAF = _Leaf()


def children(tree) -> list | None:
    """The (key, value) pairs of a node; None for a leaf, which is anything but a container."""
    if isinstance(tree, dict) and type(tree) in (dict, OrderedDict, defaultdict):
        return list(tree.items())
    if type(tree) in (tuple, list) or hasattr(tree, "_fields"):
        return list(enumerate(tree))
    return None


def rebuild(tree, values: list) -> Any:
    """A node like `tree`, with other values."""
    if isinstance(tree, dict):
        again = dict(zip(tree, values, strict=True))
        if isinstance(tree, defaultdict):
            return defaultdict(tree.default_factory, again)
        return type(tree)(again)
    return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)


def flatten(tree) -> tuple[list, Any]:
    """The leaves from left to right, and the structure."""
    nodes = children(tree)
    if nodes is None:
        return [tree], LEAF
    parts = [flatten(value) for _, value in nodes]
    leaves = [leaf for part, _ in parts for leaf in part]
    return leaves, rebuild(tree, [structure for _, structure in parts])


def unflatten(leaves, structure) -> Any:
    """The tree of that structure with these leaves, the inverse of `flatten`."""
    return _fill(iter(leaves), structure)


def _fill(leaves, structure):
    if structure is LEAF:
        return next(leaves)
    return rebuild(structure, [_fill(leaves, value) for _, value in children(structure) or ()])


def tree_map(function, tree) -> Any:
    """The tree with `function` applied to every leaf."""
    leaves, structure = flatten(tree)
    return unflatten([function(leaf) for leaf in leaves], structure)


def spread(prefix, structure) -> list | None:
    """One entry of `prefix` for every leaf of `structure`; None if the two do not fit.

    `prefix` has the same nesting up to some depth; what stands there holds for all leaves below.
    """
    inside = children(prefix)
    if inside is None:
        return [prefix] * len(flatten(structure)[0])
    below = children(structure)
    if below is None or type(prefix) is not type(structure):
        return None
    if [key for key, _ in inside] != [key for key, _ in below]:
        return None
    parts = [spread(p, s) for (_, p), (_, s) in zip(inside, below, strict=True)]
    if None in parts:
        return None
    return [entry for part in parts for entry in part]  # type: ignore[union-attr]
