"""torch.cuda, for scripts that ask whether there is a GPU: there is none that can be used yet.

PyTorch: torch/cuda/__init__.py.
"""


def is_available() -> bool:
    """Whether tensors can live on a GPU: not in this version. Mirrors torch.cuda.is_available."""
    return False


def device_count() -> int:
    """The number of usable GPUs: 0 in this version. Mirrors torch.cuda.device_count."""
    return 0


def manual_seed(seed: int) -> None:
    """Seed the current GPU's generator: nothing to do without one. As torch.cuda.manual_seed."""


def manual_seed_all(seed: int) -> None:
    """Seed all GPUs' generators: nothing to do without one. As torch.cuda.manual_seed_all."""


def set_device(device) -> None:
    """Choose the GPU to work on; raises RuntimeError, for there is none."""
    raise RuntimeError(
        f"cannot use GPU {device}: this version of minitorch computes on the CPU only; ask "
        "torch.cuda.is_available() first"
    )
