"""PyTorch's path to `record`; the launcher itself is `minitorch.distributed.launcher`.

PyTorch: torch/distributed/elastic/__init__.py.
"""

from . import multiprocessing
