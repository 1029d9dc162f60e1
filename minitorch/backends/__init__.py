"""torch.backends: what scripts ask and set there. None of these engines is here.

Each is a module, so that it can be imported, and its flags keep what is assigned to them.
PyTorch: torch/backends/.
"""

from . import cuda, cudnn, mkl, mkldnn, mps, openmp
