"""minitorch: deep learning and distributed training, small enough to read.

`import minitorch as torch`: the names are PyTorch's. Where to start reading: docs/reading.md.
"""

import warnings as _warnings

# A NumPy ufunc warns where PyTorch silently gives inf or nan. Only warnings raised from this
# package's own lines are silenced; the user's NumPy stays as it was.
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"minitorch\.")

from . import autograd, dtypes, random
from . import missing as _missing
from .autograd.anomaly import is_anomaly_check_nan_enabled, is_anomaly_enabled
from .autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .creation import Generator
from .devices import device
from .dispatch.declare import functions as _functions
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
from .random import default_generator
from .tensor import Size, Tensor

_keep_freed_memory()

globals().update({d.name: d for d in dtypes.ALL} | dtypes.ALIASES)

from math import e, inf, nan, pi

from . import (
    accelerator,
    amp,
    backends,
    cuda,
    distributed,
    distributions,
    fft,
    func,
    functional,
    linalg,
    multiprocessing,
    nn,
    optim,
    sharing,
    special,
    storage,
    testing,
    utils,
    version,
    viz,
)
from .amp import GradScaler, autocast
from .cuda import OutOfMemoryError
from .cuda import amp as _cuda_amp
from .dlpack import from_dlpack
from .func import vmap
from .kernels import get_num_threads, set_num_threads
from .layouts import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    strided,
)
from .legacy import TYPES as _TYPES
from .legacy import get_default_device, set_default_device, set_default_tensor_type
from .printing import set_printoptions
from .serialization import load, save
from .settings import (
    are_deterministic_algorithms_enabled,
    compile,
    get_float32_matmul_precision,
    set_float32_matmul_precision,
    typename,
    use_deterministic_algorithms,
)
from .version import __version__

globals().update(_TYPES)
globals().update(_functions)  # those of functional, linalg and nn.functional are among them

newaxis = None


__getattr__ = _missing.getattr_for(__name__)
_missing.explain(Tensor)
