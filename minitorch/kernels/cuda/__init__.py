"""The kernels for arrays on a GPU, in CUDA C++: the same names and signatures as kernels/cpu.

A topic is two files: the kernels (.cu), and the Python that makes their results and chooses how
many threads share the work. launch.py brings the two together. To learn CUDA from them, read

1. elementwise.cu, elementwise.cuh, vectors.cuh: what a kernel is, the grid-stride loop, loads of
   16 bytes; special.cu is more of it
2. pool.cu, im2col.cu: a thread owns its result and gathers what belongs there; atomic.cu: when
   several threads must add to one place, and index.cu: how not to
3. softmax.cu, softmax.cuh, rows.cuh, common.cuh: a row for each team of threads, kept in their
   registers so that it is read once; sums by shuffles within a warp and through shared memory
   within a block; layer_norm.cu, by_channel.cuh; cross_entropy.cu, with an assertion on the GPU
4. channels.cu: sums along the other axis, where what is added lies apart in memory, by a tree
5. scan.cu: running sums, where each result needs the one before
6. matmul.cu: tiles in shared memory, so that a number that was read once serves many times
7. attention.cu: all of this together
8. dropout.cu: random numbers without a state; optim.cu: one launch for hundreds of arrays

PyTorch: aten/src/ATen/native/cuda/.
"""

from .attention import attention_backward, attention_forward
from .conv import conv_backward_input, conv_backward_weight, conv_forward
from .cross_entropy import (
    cross_entropy_backward,
    cross_entropy_forward,
    nll_loss_backward,
    nll_loss_forward,
)
from .dropout import dropout
from .elementwise import (
    digamma,
    erf,
    erfc,
    erfcx,
    erfinv,
    gelu_backward,
    gelu_forward,
    i0,
    i0e,
    i1,
    i1e,
    lgamma,
    log_ndtr,
    ndtri,
    sigmoid_backward,
    sigmoid_forward,
    silu_backward,
    silu_forward,
    softplus_backward,
    softplus_forward,
    zeta,
)
from .index import embedding_backward, scatter
from .matmul import matmul
from .normalization import (
    batch_norm_backward,
    batch_norm_forward,
    group_norm_backward,
    group_norm_forward,
    layer_norm_backward,
    layer_norm_forward,
)
from .optim import adam_step, adam_steps, sgd_step, sgd_steps
from .plain import (
    ctc_loss_backward,
    ctc_loss_forward,
    floor_divide,
    fmod,
    hypot,
    inverse,
    logaddexp,
    lstm_backward,
    lstm_forward,
    remainder,
    where,
)
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
from .scan import accumulate
from .softmax import (
    log_softmax_backward,
    log_softmax_forward,
    softmax_backward,
    softmax_forward,
)
