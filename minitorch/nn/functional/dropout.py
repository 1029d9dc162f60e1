"""Dropout of elements and of whole channels, and Gumbel's softmax: noise in the forward pass.

The masks are drawn in functional/dropout.py. PyTorch: torch/nn/functional.py.
"""

from __future__ import annotations

import warnings

from ...dispatch.declare import functions

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d"]
__all__ += ["feature_alpha_dropout", "gumbel_softmax"]


def _dropped(name: str, input, p: float, training: bool, inplace: bool):
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return functions[name + "_" if inplace else name](input, p, training)


def dropout(input, p=0.5, training=True, inplace=False):
    """Zero elements with probability p, and scale the others by 1 / (1 - p).

    Not `training`: the input itself. Raises ValueError for a p outside [0, 1]. Mirrors
    torch.nn.functional.dropout.
    """
    return _dropped("dropout", input, p, training, inplace)


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Dropout for selu: mean 0 and variance 1 stay. Mirrors torch.nn.functional.alpha_dropout."""
    return _dropped("alpha_dropout", input, p, training, inplace)


def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    """alpha_dropout of whole channels. Mirrors torch.nn.functional.feature_alpha_dropout."""
    return _dropped("feature_alpha_dropout", input, p, training, inplace)


def dropout1d(input, p=0.5, training=True, inplace=False):
    """Dropout of whole channels: (N, C, L) or (C, L). Mirrors torch.nn.functional.dropout1d."""
    if input.ndim not in (2, 3):
        raise RuntimeError(f"dropout1d: expected 2D or 3D input, but got a {input.ndim}D input")
    return _channels(input, 3, p, training, inplace)


def dropout2d(input, p=0.5, training=True, inplace=False):
    """Dropout of whole channels: (N, C, H, W). Mirrors torch.nn.functional.dropout2d."""
    if input.ndim not in (3, 4):
        warnings.warn(
            f"dropout2d: received a {input.ndim}-D input, which is deprecated: use dropout for it",
            stacklevel=2,
        )
    elif input.ndim == 3:
        warnings.warn(
            "dropout2d: received a 3D input, which is taken for (N, C, L); use dropout1d for that",
            stacklevel=2,
        )
    return _dropped("feature_dropout", input, p, training, inplace)


def dropout3d(input, p=0.5, training=True, inplace=False):
    """Dropout of whole channels: (N, C, D, H, W) or without N. As torch.nn.functional.dropout3d."""
    if input.ndim not in (4, 5):
        warnings.warn(
            f"dropout3d: received a {input.ndim}-D input, which is deprecated: use dropout for it",
            stacklevel=2,
        )
    return _channels(input, 5, p, training, inplace)


def _channels(input, batched: int, p, training, inplace):
    """feature_dropout of an input that may lack the dimension of the batch."""
    if input.ndim == batched:
        return _dropped("feature_dropout", input, p, training, inplace)
    out = _dropped("feature_dropout", input.unsqueeze(0), p, training, inplace)
    return input if inplace else out.squeeze(0)


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """softmax((logits + noise) / tau), a smooth draw of a category: its largest entry is one.

    The noise is -log of exponentials, Gumbel's distribution. `hard`: one-hot, but with the soft
    draw's gradient. Mirrors torch.nn.functional.gumbel_softmax.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    gumbels = -logits.new_empty(logits.shape).exponential_().log()
    soft = ((logits + gumbels) / tau).softmax(dim)
    if not hard:
        return soft
    one_hot = functions["zeros_like"](soft).scatter_(dim, soft.argmax(dim, keepdim=True), 1.0)
    return one_hot - soft.detach() + soft
