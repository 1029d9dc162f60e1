"""The kernels on the CPU, in NumPy. One file per topic; minitorch.kernels finds them by name."""

from .activations import (
    erf,
    gelu_backward,
    gelu_forward,
    sigmoid_backward,
    sigmoid_forward,
    silu_backward,
    silu_forward,
    softplus_backward,
    softplus_forward,
)
from .conv import conv_backward_input, conv_backward_weight, conv_forward
from .cross_entropy import (
    cross_entropy_backward,
    cross_entropy_forward,
    nll_loss_backward,
    nll_loss_forward,
)
from .embedding import embedding_backward
from .layer_norm import layer_norm_backward, layer_norm_forward
from .matmul import matmul
from .optim import adam_step, sgd_step
from .pool import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
    max_pool2d_gather,
)
from .softmax import (
    log_softmax_backward,
    log_softmax_forward,
    softmax_backward,
    softmax_forward,
)
from .threads import get_num_threads, set_num_threads

__all__ = [
    "adam_step",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "conv_backward_input",
    "conv_backward_weight",
    "conv_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "embedding_backward",
    "erf",
    "gelu_backward",
    "gelu_forward",
    "get_num_threads",
    "layer_norm_backward",
    "layer_norm_forward",
    "log_softmax_backward",
    "log_softmax_forward",
    "matmul",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "max_pool2d_gather",
    "nll_loss_backward",
    "nll_loss_forward",
    "set_num_threads",
    "sgd_step",
    "sigmoid_backward",
    "sigmoid_forward",
    "silu_backward",
    "silu_forward",
    "softmax_backward",
    "softmax_forward",
    "softplus_backward",
    "softplus_forward",
]
