"""minitorch: deep learning and distributed training, small enough to read.

`import minitorch as torch`: the names are PyTorch's. Where to start reading: docs/reading.md.
"""

import warnings as _warnings
from typing import Any as _Any

# A NumPy ufunc warns where PyTorch silently gives inf or nan. Only warnings raised from this
# package's own lines are silenced; the user's NumPy stays as it was.
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"minitorch\.")

from . import autograd, dtypes, random
from .autograd.grad_mode import (
    enable_grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from .devices import device
from .dtypes import (
    can_cast,
    dtype,
    finfo,
    get_default_dtype,
    iinfo,
    promote_types,
    set_default_dtype,
)
from .memory import keep_freed_memory as _keep_freed_memory
from .ops.declare import functions as _functions
from .ops.random import Generator
from .random import default_generator
from .tensor import Size, Tensor

_keep_freed_memory()

globals().update(_functions)
globals().update({d.name: d for d in dtypes.ALL} | dtypes.ALIASES)

from math import e, inf, nan, pi

from . import cuda, distributed, nn, optim, utils
from .kernels import get_num_threads, set_num_threads
from .printing import set_printoptions
from .serialization import load, save

__version__ = "0.1.0"
newaxis = None
strided = contiguous_format = preserve_format = None  # layouts: there is one, and it is strided


def __getattr__(name: str) -> _Any:
    raise AttributeError(
        f"module 'minitorch' has no attribute '{name}'. If PyTorch has it, it is not here yet: "
        "docs/differences.md says what is."
    )
