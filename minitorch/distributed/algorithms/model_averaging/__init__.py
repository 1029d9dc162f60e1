"""Averaging the parameters every few steps, in place of the gradients in every step.

PyTorch: torch/distributed/algorithms/model_averaging/.
"""

from . import averagers, utils
