"""torch.utils.dlpack: the older names of DLPack's two directions. See minitorch/dlpack.py."""

from ..dlpack import from_dlpack, to_capsule


def to_dlpack(tensor):
    """A capsule around the tensor's memory. Mirrors torch.utils.dlpack.to_dlpack."""
    return to_capsule(tensor)


__all__ = ["from_dlpack", "to_dlpack"]
