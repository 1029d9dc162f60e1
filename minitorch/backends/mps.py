"""torch.backends.mps: not here. See this package's `__init__`."""


def is_available() -> bool:
    """Whether this engine can be used: no. Mirrors torch.backends.mps.is_available."""
    return False


def is_built() -> bool:
    """Whether this was built with it: no. Mirrors torch.backends.mps.is_built."""
    return False
