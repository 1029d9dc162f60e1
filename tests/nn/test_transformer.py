"""Attention layers and Transformers against PyTorch's."""

import numpy as np
import pytest
import torch

import minitorch

from .both import assert_same, in_minitorch, make_both, nn_of
from .test_rnn import both, compare

rng = np.random.default_rng(0)


def real(*shape):
    return torch.tensor(rng.normal(size=shape))


ATTENTION = [
    {},
    {"bias": False, "batch_first": True},
    {"add_bias_kv": True, "add_zero_attn": True},
    {"kdim": 3, "vdim": 5},
]


@pytest.mark.parametrize("options", ATTENTION)
@pytest.mark.parametrize(
    "call",
    [
        {},
        {"need_weights": False},
        {"average_attn_weights": False, "key_padding_mask": True},
        {"attn_mask": True, "key_padding_mask": True, "need_weights": False},
    ],
)
def test_multihead_attention(options, call):
    ours, theirs = both("MultiheadAttention", options, 6, 2)
    shapes = [(4, 3, 6), (5, 3, options.get("kdim", 6)), (5, 3, options.get("vdim", 6))]
    if options.get("batch_first"):
        shapes = [(b, a, c) for a, b, c in shapes]
    masks = {
        "key_padding_mask": [[False, False, True, False, True]] * 2 + [[False] * 5],
        "attn_mask": np.triu(np.ones((4, 5), bool), 2),
    }

    def run(layer, T, q, k, v):
        chosen = {n: T.tensor(masks[n]) if n in masks else value for n, value in call.items()}
        return layer(q, k, v, **chosen)

    compare(ours, theirs, run, [real(*shape) for shape in shapes])


@pytest.mark.parametrize("options", [{}, {"norm_first": True, "activation": "gelu"}])
@pytest.mark.parametrize("batch_first", [False, True])
def test_encoder_and_decoder_layers(options, batch_first):
    options = {"dim_feedforward": 7, "dropout": 0.0, "batch_first": batch_first, **options}
    for name in ("TransformerEncoderLayer", "TransformerDecoderLayer"):
        ours, theirs = both(name, options, 6, 2)
        decoder = [real(3, 3, 6)] * (name == "TransformerDecoderLayer")

        def run(layer, T, *inputs):
            mask = nn_of(T).Transformer.generate_square_subsequent_mask(3)
            return layer(*inputs, mask.double())

        compare(ours, theirs, run, [real(3, 3, 6), *decoder])


def test_transformer():
    def make(T):
        return nn_of(T).Transformer(8, 2, 2, 1, 12, 0.0), T.rand(2)

    (ours, next_ours), (theirs, next_theirs) = make_both(make)
    assert next_ours.tolist() == next_theirs.tolist()
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for got, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_same(got, expected, rtol=3e-7)
    ours.load_state_dict(in_minitorch(theirs.state_dict()))

    def run(model, T, src, tgt):
        mask = model.generate_square_subsequent_mask(4).double()
        padding = T.tensor([[False, False, True], [False, False, False]])
        return model(src, tgt, tgt_mask=mask, src_key_padding_mask=padding)

    compare(ours.double(), theirs.double(), run, [real(3, 2, 8), real(4, 2, 8)])


def test_dropout_draws_pytorchs_masks():
    ours, theirs = both("TransformerEncoderLayer", {"dim_feedforward": 7, "dropout": 0.3}, 6, 2)
    x = real(4, 3, 6)
    results = []
    for T, layer in ((minitorch, ours), (torch, theirs)):
        T.manual_seed(5)
        results.append(layer(in_minitorch(x) if T is minitorch else x))
    assert_same(*results, rtol=1e-9)


def test_errors(T):
    nn = nn_of(T)
    with pytest.raises(AssertionError, match="divisible"):
        nn.MultiheadAttention(5, 2)
    with pytest.raises(ValueError, match="greater than 0"):
        nn.MultiheadAttention(0, 2)
    model = nn.Transformer(4, 2, 1, 1, 4)
    with pytest.raises(RuntimeError, match="d_model"):
        model(T.ones(2, 1, 3), T.ones(2, 1, 3))
    with pytest.raises(RuntimeError, match="batch number"):
        model(T.ones(2, 1, 4), T.ones(2, 2, 4))
