"""autocast: in PyTorch, a region in which matrix products choose a smaller type by themselves.

Here every op computes in the type of its inputs. So the region that is switched off is all there
is, as scripts write it that can do without: `torch.autocast("cpu", enabled=use_amp)`.
PyTorch: torch/amp/autocast_mode.py.
"""

from __future__ import annotations

import contextlib
import warnings

from .. import cuda, devices, dtypes


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` can be enabled on such a device: on none. Mirrors torch.amp's."""
    return False


class autocast(contextlib.ContextDecorator):
    """A region, or a decorated function, without automatic casts. Mirrors torch.autocast.

    device_type: "cuda" is switched off with a warning where there is no GPU, as in PyTorch. Raises
    NotImplementedError if it stays enabled, since results would have other types than PyTorch's.
    """

    def __init__(
        self,
        device_type: str,
        dtype: dtypes.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ):
        if not isinstance(device_type, str):
            raise ValueError(
                f"Expected `device_type` of type `str`, got: `{type(device_type).__name__}`"
            )
        self.device = devices.device(device_type).type
        self.fast_dtype = dtype or (dtypes.float16 if self.device == "cuda" else dtypes.bfloat16)
        if enabled and self.device == "cuda" and not cuda.is_available():
            warnings.warn(
                "User provided device_type of 'cuda', but CUDA is not available. Disabling",
                stacklevel=2,
            )
            enabled = False
        if enabled:
            raise NotImplementedError(
                f"autocast('{device_type}') is not here: every op computes in the type of its "
                "inputs. Pass enabled=False for full precision, or convert the model and its "
                f"inputs with .to({self.fast_dtype})"
            )
        self._enabled = False

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *exception) -> None:
        pass
