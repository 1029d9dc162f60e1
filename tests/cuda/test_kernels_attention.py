"""Attention on the emulated GPU: attention.cu against the composition that defines it."""

import ml_dtypes
import numpy as np
import pytest

import minitorch as torch
import minitorch.nn.functional as F
from minitorch.kernels.cuda import attention_backward, attention_forward

from .twins import close, to_device


def definition(grad, q, k, v, causal, scale):
    """(out, log_sums, dq, dk, dv) in float64, with all scores at once."""
    grad, q, k, v = (x.astype("d") for x in (grad, q, k, v))
    scores = q @ k.swapaxes(-1, -2) * scale
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    largest = scores.max(-1, keepdims=True)
    e = np.exp(scores - largest)
    sums = e.sum(-1, keepdims=True)
    weights = e / sums
    out = weights @ v
    dweights = grad @ v.swapaxes(-1, -2)
    dscores = weights * (dweights - (weights * dweights).sum(-1, keepdims=True)) * scale
    to_k, to_v = (x.swapaxes(-1, -2) for x in (dscores, weights))
    return out, (largest + np.log(sums))[..., 0], dscores @ k, to_k @ q, to_v @ grad


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("heads", "queries", "keys", "d", "dtype"),
    [
        ((), 1, 1, 1, "float32"),
        ((2,), 5, 5, 8, "float32"),
        ((2, 1), 33, 33, 64, "float32"),  # more than a block's 64 rows, with 4 lanes
        ((1,), 130, 20, 32, "float32"),
        ((1,), 20, 130, 30, "float32"),
        ((1,), 34, 40, 128, "float32"),
        ((1,), 20, 18, 256, "float32"),
        ((1,), 18, 20, 200, "float16"),
        ((1,), 17, 16, 100, "float32"),
        ((2,), 40, 40, 16, "float16"),
        ((2,), 40, 40, 16, ml_dtypes.bfloat16),
        ((0,), 4, 4, 16, "float32"),
        ((2,), 0, 4, 16, "float32"),
    ],
)
def test_forward_and_backward(heads, queries, keys, d, dtype, causal):
    rng = np.random.default_rng(0)
    grad, q, k, v = (
        rng.standard_normal((*heads, n, d)).astype(dtype) for n in (queries, queries, keys, keys)
    )
    scale = d**-0.5
    out, log_sums, *gradients = definition(grad, q, k, v, causal, scale)
    grad, q, k, v = map(to_device, (grad, q, k, v))
    got, got_sums = attention_forward(q, k, v, causal, scale)
    close(got, out.astype(dtype))
    close(got_sums, log_sums.astype("f"))
    got = attention_backward(grad, q, k, v, got, got_sums, causal, scale)
    close(got, [g.astype(dtype) for g in gradients], scale=4)


def test_large_scores_do_not_overflow():
    q = np.full((1, 40, 16), 30.0, "f") * np.linspace(-1, 1, 40, dtype="f")[:, None]
    out, *_ = definition(q, q, q, q, False, 1.0)
    close(attention_forward(*map(to_device, (q, q, q)), False, 1.0)[0], out.astype("f"))


@pytest.mark.parametrize("is_causal", [False, True])
def test_the_operation_and_its_derivatives(is_causal):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((2, 3, n, 8)).astype("f") for n in (5, 6, 6)]
    results = []
    for device in ("cpu", "cuda"):
        inputs = [torch.tensor(a, device=device, requires_grad=True) for a in arrays]
        out = F.scaled_dot_product_attention(*inputs, is_causal=is_causal)
        first = torch.autograd.grad((out**3).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in first), inputs)
        results.append([t.detach().cpu().numpy() for t in (out, *first, *second)])
        if device == "cuda":
            assert out.grad_fn.name() == "ScaledDotProductFlashAttentionBackward0"
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("case", ["mask", "another size of value", "float64"])
def test_what_does_not_suit_the_kernel(case):
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 4, 8)).astype("f") for _ in range(3))
    options = {"attn_mask": rng.standard_normal((4, 4)).astype("f")} if case == "mask" else {}
    v = v[..., :5] if case == "another size of value" else v
    if case == "float64":
        q, k, v = (x.astype("d") for x in (q, k, v))

    def out(device):
        inputs = [torch.tensor(x, device=device) for x in (q, k, v)]
        masks = {name: torch.tensor(x, device=device) for name, x in options.items()}
        return F.scaled_dot_product_attention(*inputs, **masks).cpu().numpy()

    np.testing.assert_allclose(out("cuda"), out("cpu"), rtol=1e-5, atol=1e-5)
