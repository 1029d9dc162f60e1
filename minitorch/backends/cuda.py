"""torch.backends.cuda: not here. See this package's `__init__`."""

from types import SimpleNamespace

matmul = SimpleNamespace(allow_tf32=False)


def is_built() -> bool:
    """Whether this was built with it: no. Mirrors torch.backends.cuda.is_built."""
    return False
