"""minitorch: deep learning and distributed training, small enough to read.

`import minitorch as torch`: the names are PyTorch's. Where to start reading: docs/reading.md.
"""

import warnings as _warnings

# A NumPy ufunc warns where PyTorch silently gives inf or nan. Only warnings raised from this
# package's own lines are silenced; the user's NumPy stays as it was.
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"minitorch\.")

from . import autograd, dtypes, random  # noqa: E402
from .autograd.grad_mode import (  # noqa: E402
    enable_grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from .devices import device  # noqa: E402
from .dtypes import dtype, get_default_dtype, promote_types, set_default_dtype  # noqa: E402
from .ops.declare import functions as _functions  # noqa: E402
from .ops.random import Generator  # noqa: E402
from .random import default_generator  # noqa: E402
from .tensor import Size, Tensor  # noqa: E402

globals().update(_functions)
globals().update({d.name: d for d in dtypes.ALL} | dtypes.ALIASES)

from . import distributed, nn, optim, utils  # noqa: E402
from .serialization import load, save  # noqa: E402
