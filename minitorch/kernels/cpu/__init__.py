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
from .batch_norm import batch_norm_backward, batch_norm_forward
from .choose import where
from .conv import conv_backward_input, conv_backward_weight, conv_forward
from .cross_entropy import (
    cross_entropy_backward,
    cross_entropy_forward,
    nll_loss_backward,
    nll_loss_forward,
)
from .ctc import ctc_loss_backward, ctc_loss_forward
from .embedding import embedding_backward
from .gamma import digamma, lgamma, zeta
from .group_norm import group_norm_backward, group_norm_forward
from .inverse import inverse
from .layer_norm import layer_norm_backward, layer_norm_forward
from .lstm import lstm_backward, lstm_forward
from .matmul import matmul
from .optim import adam_step, sgd_step
from .pairs import floor_divide, fmod, hypot, logaddexp, remainder
from .pointwise import LARGE, pointwise
from .pool import (
    adaptive_max_pool,
    avg_pool_backward,
    avg_pool_forward,
    fold,
    max_pool_backward,
    max_pool_forward,
    max_pool_gather,
    unfold,
)
from .softmax import (
    log_softmax_backward,
    log_softmax_forward,
    softmax_backward,
    softmax_forward,
)
from .special import erfc, erfcx, erfinv, i0, i0e, i1, i1e, log_ndtr, ndtri
from .threads import get_num_threads, set_num_threads

__all__ = [
    "LARGE",
    "adam_step",
    "adaptive_max_pool",
    "avg_pool_backward",
    "avg_pool_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "conv_backward_input",
    "conv_backward_weight",
    "conv_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "ctc_loss_backward",
    "ctc_loss_forward",
    "digamma",
    "embedding_backward",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "floor_divide",
    "fmod",
    "fold",
    "gelu_backward",
    "gelu_forward",
    "get_num_threads",
    "group_norm_backward",
    "group_norm_forward",
    "hypot",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "inverse",
    "layer_norm_backward",
    "layer_norm_forward",
    "lgamma",
    "log_ndtr",
    "log_softmax_backward",
    "log_softmax_forward",
    "logaddexp",
    "lstm_backward",
    "lstm_forward",
    "matmul",
    "max_pool_backward",
    "max_pool_forward",
    "max_pool_gather",
    "ndtri",
    "nll_loss_backward",
    "nll_loss_forward",
    "pointwise",
    "remainder",
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
    "unfold",
    "where",
    "zeta",
]
