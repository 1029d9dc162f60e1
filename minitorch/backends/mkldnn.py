"""torch.backends.mkldnn: not here. See this package's `__init__`."""

enabled = False


def is_available() -> bool:
    """Whether this engine can be used: no. Mirrors torch.backends.mkldnn.is_available."""
    return False
