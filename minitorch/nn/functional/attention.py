"""Attention. PyTorch: torch/nn/functional.py, aten/src/ATen/native/transformers/attention.cpp."""

from __future__ import annotations

import math

import numpy as np

from ... import devices
from ...dispatch.declare import functions
from ...ops import attention
from ...tensor import wrap
from .activation import softmax
from .dropout import dropout
from .embedding import linear
from .padding import pad

cat = functions["cat"]


@devices.on_its_device
def scaled_dot_product_attention(
    query,
    key,
    value,
    attn_mask=None,
    dropout_p=0.0,
    is_causal=False,
    scale=None,
    enable_gqa=False,
):
    """softmax(query @ key.T / sqrt(d)) @ value.

    query (..., L, d), key (..., S, d), value (..., S, v) -> (..., L, v). attn_mask: True where
    attention is allowed, or a float added to the scores; is_causal: position i sees up to i. A
    query that may see nothing gets zeros. enable_gqa: several heads of query (third dimension from
    the end) share one of key and value. Mirrors torch.nn.functional.scaled_dot_product_attention.
    """
    if not query.dtype is key.dtype is value.dtype:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{query.dtype} key.dtype: {key.dtype} and value.dtype: {value.dtype} instead."
        )
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be at least 2 dimensional, but got query.dim: "
            f"{query.ndim}, key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if is_causal and attn_mask is not None:
        raise RuntimeError(
            "Explicit attn_mask should not be set when is_causal=True: attention takes one of them"
        )
    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    if attn_mask is None and dropout_p == 0 and attention.suits(query, key, value):
        return attention.attention(query, key, value, is_causal, factor)[0]
    scores = (query * factor) @ key.transpose(-2, -1)  # (..., L, d) @ (..., d, S) -> (..., L, S)
    dead = None
    if is_causal:
        attn_mask = wrap(np.tri(*scores.shape[-2:], dtype=bool, like=scores.array))
    if attn_mask is not None:
        if attn_mask.array.dtype == bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        else:
            scores = scores + attn_mask
        nothing = np.all(scores.array == -np.inf, -1, keepdims=True)
        if nothing.any():  # where softmax would be nan
            dead = wrap(nothing)
            scores = scores.masked_fill(dead, 0.0)
    weights = softmax(scores, -1)
    weights = weights if dead is None else weights.masked_fill(dead, 0.0)
    return dropout(weights, dropout_p) @ value


def multi_head_attention_forward(
    query,
    key,
    value,
    embed_dim_to_check,
    num_heads,
    in_proj_weight,
    in_proj_bias,
    bias_k,
    bias_v,
    add_zero_attn,
    dropout_p,
    out_proj_weight,
    out_proj_bias,
    training=True,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    use_separate_proj_weight=False,
    q_proj_weight=None,
    k_proj_weight=None,
    v_proj_weight=None,
    static_k=None,
    static_v=None,
    average_attn_weights=True,
    is_causal=False,
):
    """Attention of `num_heads` heads, with projections before and after: (L, N, E) or (L, E).

    Returns (output, weights (N, L, S) averaged over the heads, or None without `need_weights`).
    key_padding_mask (N, S): True (or -inf) for keys to leave out; attn_mask (L, S) or
    (N heads, L, S) likewise. Mirrors torch.nn.functional.multi_head_attention_forward.
    """
    single = query.ndim == 2
    if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query"
        )
    if single:
        query, key, value = (t.unsqueeze(1) for t in (query, key, value))
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    length, n, embed = query.shape
    heads, d = num_heads, embed // num_heads
    if embed != embed_dim_to_check or d * heads != embed:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, a multiple of "
            f"num_heads {heads}, but got {embed}"
        )
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    if use_separate_proj_weight:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
    else:
        weights = in_proj_weight.chunk(3)
    biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    q, k, v = (
        linear(t, w, b) for t, w, b in zip((query, key, value), weights, biases, strict=True)
    )
    mask = _float_mask(attn_mask, q)
    if mask is not None and mask.ndim == 2:
        mask = mask.unsqueeze(0)
    padding = _float_mask(key_padding_mask, q)
    more = 0  # keys added at the end
    if bias_k is not None and bias_v is not None:
        k, v = cat([k, bias_k.repeat(1, n, 1)]), cat([v, bias_v.repeat(1, n, 1)])
        more += 1

    def split(t):  # (L, N, E) -> (N * heads, L, d)
        return t.reshape(t.shape[0], n * heads, d).transpose(0, 1)

    q = split(q)
    k = split(k) if static_k is None else static_k
    v = split(v) if static_v is None else static_v
    if add_zero_attn:
        zeros = q.new_zeros(n * heads, 1, d)
        k, v = cat([k, zeros], 1), cat([v, zeros], 1)
        more += 1
    if padding is not None:
        padding = pad(padding, (0, more)).reshape(n, 1, 1, k.shape[1]).expand(-1, heads, -1, -1)
        padding = padding.reshape(n * heads, 1, k.shape[1])
    if mask is not None:
        mask = pad(mask, (0, more))
    mask = padding if mask is None else mask if padding is None else mask + padding
    p = dropout_p if training else 0.0
    if need_weights:
        scores = (q * math.sqrt(1 / d)) @ k.transpose(-2, -1)
        scores = scores if mask is None else scores + mask
        attention = dropout(softmax(scores, -1), p)
        out = attention @ v
    else:
        out = scaled_dot_product_attention(q, k, v, mask, p)
    out = out.transpose(0, 1).reshape(length, n, embed)
    out = linear(out, out_proj_weight, out_proj_bias)
    out = out.squeeze(1) if single else out
    if not need_weights:
        return out, None
    attention = attention.reshape(n, heads, length, k.shape[1])
    if average_attn_weights:
        attention = attention.mean(1)
    return out, attention.squeeze(0) if single else attention


def _float_mask(mask, like):
    """A mask as what is added to the scores: True becomes -inf."""
    if mask is None or mask.array.dtype != bool:
        return mask
    return wrap(np.where(mask.array, -np.inf, 0).astype(like.array.dtype))
