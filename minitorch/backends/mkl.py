"""torch.backends.mkl: not here. See this package's `__init__`."""


def is_available() -> bool:
    """Whether this engine can be used: no. Mirrors torch.backends.mkl.is_available."""
    return False
