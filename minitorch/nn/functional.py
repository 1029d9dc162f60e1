"""The functions that layers are made of, as functions: `import minitorch.nn.functional as F`.

A table: most entries are the operations of ops/nn.py, convolution.py and loss.py under PyTorch's
names. What follows below it are short compositions. PyTorch: torch/nn/functional.py.
"""

from __future__ import annotations

import warnings

from ..ops.declare import functions
from ..tensor import wrap

# Linear maps and convolutions
linear = functions["linear"]
conv1d = functions["conv1d"]
conv2d = functions["conv2d"]
conv3d = functions["conv3d"]
embedding = functions["embedding"]
scaled_dot_product_attention = functions["scaled_dot_product_attention"]

# Pooling, padding, normalisation, regularisation
max_pool2d = functions["max_pool2d"]
pad = functions["pad"]
layer_norm = functions["layer_norm"]
dropout = functions["dropout"]

# Activations
gelu = functions["gelu"]
leaky_relu = functions["leaky_relu"]
sigmoid = functions["sigmoid"]
silu = functions["silu"]
tanh = functions["tanh"]

# Losses
binary_cross_entropy = functions["binary_cross_entropy"]
binary_cross_entropy_with_logits = functions["binary_cross_entropy_with_logits"]
cross_entropy = functions["cross_entropy"]
l1_loss = functions["l1_loss"]
mse_loss = functions["mse_loss"]
nll_loss = functions["nll_loss"]
smooth_l1_loss = functions["smooth_l1_loss"]


def _with_implicit_dim(name: str):
    operation = functions[name]

    def call(input, dim=None, _stacklevel=3, dtype=None):
        if dim is None:
            warnings.warn(
                f"Implicit dimension choice for {name} has been deprecated. Change the call to "
                "include dim=X as an argument.",
                stacklevel=2,
            )
            dim = 0 if input.ndim in (0, 1, 3) else 1
        return operation(input, dim, dtype)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"`{name}` along `dim`. Mirrors torch.nn.functional.{name}."
    return call


softmax, log_softmax = _with_implicit_dim("softmax"), _with_implicit_dim("log_softmax")


def relu(input, inplace=False):
    """max(input, 0). Mirrors torch.nn.functional.relu."""
    return input.relu_() if inplace else functions["relu"](input)


def relu_(input):
    """relu, in place."""
    return input.relu_()


def dropout2d(input, p=0.5, training=True, inplace=False):
    """Dropout of whole channels: (N, C, *). Mirrors torch.nn.functional.dropout2d."""
    if not training:
        return dropout(input, p, training)
    noise = dropout(input.new_ones(*input.shape[:2], *[1] * (input.ndim - 2)), p)
    return input.mul_(noise) if inplace else input * noise


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """input, cut off at both ends. Mirrors torch.nn.functional.hardtanh."""
    return input.clamp_(min_val, max_val) if inplace else input.clamp(min_val, max_val)


def relu6(input, inplace=False):
    """min(max(input, 0), 6). Mirrors torch.nn.functional.relu6."""
    return hardtanh(input, 0.0, 6.0, inplace)


def elu(input, alpha=1.0, inplace=False):
    """input where it is above 0, else alpha (e^input - 1). Mirrors torch.nn.functional.elu."""
    below = input.clamp(max=0).expm1() * alpha  # clamped, for e^input may overflow where unused
    return functions["where"](input > 0, input, below)


def softplus(input, beta=1.0, threshold=20.0):
    """log(1 + e^(beta input)) / beta; input itself where beta input > threshold.

    Mirrors torch.nn.functional.softplus.
    """
    scaled = input * beta
    smooth = scaled.clamp(max=threshold).exp().log1p() / beta
    return functions["where"](scaled > threshold, input, smooth)


def logsigmoid(input):
    """log(sigmoid(input)), also where the sigmoid is too small for a float."""
    return input.clamp(max=0) - (-input.abs()).exp().log1p()


def normalize(input, p=2.0, dim=1, eps=1e-12):
    """input divided by its p-norm along `dim`. Mirrors torch.nn.functional.normalize."""
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)


def one_hot(tensor, num_classes=-1):
    """Classes (*) as rows of zeros with a single one: (*, num_classes), int64.

    num_classes: -1 means the largest class + 1. Mirrors torch.nn.functional.one_hot.
    """
    classes = tensor.array
    if classes.dtype != "int64":
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if classes.size and classes.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        if not classes.size:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = int(classes.max()) + 1
    elif classes.size and classes.max() >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    return wrap((classes[..., None] == range(num_classes)).astype("int64"))
