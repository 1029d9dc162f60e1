"""PyTorch's path to `errors`: what a launched process writes about its own end.

PyTorch: torch/distributed/elastic/multiprocessing/__init__.py.
"""

from . import errors
