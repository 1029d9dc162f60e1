"""torch.backends.cudnn: not here. See this package's `__init__`."""

enabled = benchmark = allow_tf32 = False
deterministic = True


def is_available() -> bool:
    """Whether this engine can be used: no. Mirrors torch.backends.cudnn.is_available."""
    return False


def version() -> None:
    """cuDNN's version: there is none. Mirrors torch.backends.cudnn.version."""
