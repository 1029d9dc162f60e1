"""The collective algorithms: who sends which part of the data to whom, in which order.

Each is a generator over a link (link.py) and works on flat arrays, in place. In their pictures N is
the number of ranks, and S the size of the data in bytes. One file is one idea; read direct.py and
ring.py first. Which one a call takes is decided by table.py, from the prices in costs.py.

What they guarantee together:

- A reduction leaves bit-identical results on every rank: each element is combined in one order.
- Nobody leaves a collective before everybody has entered it. all_reduce, reduce_scatter, all_gather
  and all_to_all have this by nature (and send empty blocks, too, for its sake); those in which some
  ranks only send end in a barrier. It lets every rank notice that another called something else.
- A rank runs only a few segments ahead of its neighbours (pieces.py), so those that are early do
  not fill the memory of one that is late.

`combine` is a NumPy ufunc of two arrays. To add an algorithm, put a file into this folder:
docs/extending-collectives.md. PyTorch: gloo/allreduce.cc and its neighbours.

PyTorch's package of this name holds algorithms of training: `join`, `ddp_comm_hooks` and
`model_averaging` are here as well, so that scripts find them, and enter nothing in the table.
"""

import importlib
import pkgutil

from minitorch.distributed.algorithms.chosen import (
    all_gather,
    all_reduce,
    all_to_all,
    barrier,
    broadcast,
    gather,
    reduce,
    reduce_scatter,
    scatter,
)
from minitorch.distributed.algorithms.point_to_point import recv, send
from minitorch.distributed.algorithms.table import ALGORITHMS, algorithm, choice, predict, use

# In order of preference, should two cost the same; then whatever else is in this folder.
for _name in ("direct", "doubling", "ring", "tree"):
    importlib.import_module(f"{__name__}.{_name}")
for _module in pkgutil.iter_modules(__path__):
    if _module.name not in ("join", "ddp_comm_hooks", "model_averaging"):
        importlib.import_module(f"{__name__}.{_module.name}")
