"""torch.backends: what the scripts ask and set there. None of these engines is here.

The flags keep what is assigned to them. PyTorch: torch/backends/.
"""

from types import SimpleNamespace


def _absent() -> bool:
    """Whether this engine can be used: no."""
    return False


cudnn = SimpleNamespace(
    enabled=False,
    benchmark=False,
    deterministic=True,
    allow_tf32=False,
    is_available=_absent,
    version=lambda: None,
)
cuda = SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False), is_built=_absent)
mps = SimpleNamespace(is_available=_absent, is_built=_absent)
mkl = SimpleNamespace(is_available=_absent)
mkldnn = SimpleNamespace(is_available=_absent, enabled=False)
openmp = SimpleNamespace(is_available=_absent)
