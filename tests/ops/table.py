"""The ops, one line each: what to call, on inputs of which kind.

A line gets every check of test_table.py (values, dtype, shape, first and second derivatives, memory
layouts, other dtypes, the method and the in-place form), and the elementwise ones also hypothesis'
shapes. test_table.py fails for an op that has no line here.
"""

from __future__ import annotations

from .harness import Row, Spec

ROWS: list[Row] = []
INTEGERS = ("int64", "int32", "int8", "uint8", "bool")


def op(label: str, *args, **kwargs) -> Row:
    """A call of the function and the method `label`; what follows a colon tells variants apart."""
    ROWS.append(Row(label, args, kwargs))
    return ROWS[-1]


def elementwise(label: str, *args, **kwargs) -> Row:
    """Likewise, for an op that broadcasts."""
    ROWS.append(Row(label, args, kwargs, elementwise=True))
    return ROWS[-1]


def expr(label: str, expression, *specs: Spec) -> Row:
    """Any expression of the package T and tensors."""
    ROWS.append(Row(label, specs, {}, expression))
    return ROWS[-1]


def real(*shape, low=-2.0, high=2.0, grad=True) -> Spec:
    return Spec(shape, "real", low, high, grad)


def positive(*shape) -> Spec:
    return real(*shape, low=0.3, high=3.0)


def integers(*shape, low=0, high=5) -> Spec:
    return Spec(shape, "int", low, high)


def boolean(*shape) -> Spec:
    return Spec(shape, "bool")


# Arithmetic
elementwise("add", real(3, 4), real(4))
elementwise("add: alpha", real(3, 4), real(3, 1), alpha=2).without("bool")
elementwise("sub", real(3, 4), real(4))
# NumPy makes 0.5 * bfloat16 float32.
elementwise("sub: alpha", real(3, 4), real(3, 1), alpha=0.5).without("bfloat16")
elementwise("mul", real(3, 4), real(3, 1))
elementwise("div", real(3, 4), positive(4))
elementwise("true_divide", real(3, 4), positive(4))
op("div: trunc", real(3, 4), positive(4), rounding_mode="trunc")
op("div: floor", real(3, 4), positive(4), rounding_mode="floor")
elementwise("floor_divide", real(3, 4, grad=False), positive(4)._replace(grad=False))
elementwise("remainder", real(3, 4), positive(4))
elementwise("pow", positive(3, 4), real(4))
op("pow: square", real(3, 4), 2)
op("pow: cube", real(3, 4), 3)
op("pow: root", positive(3, 4), 0.5)
op("pow: inverse", positive(3, 4), -1.5)
op("pow: to zero", real(3, 4), 0)
expr("pow: of a number", lambda T, x: 2.5**x, real(3, 4))
expr("operators", lambda T, x, y: (1 - x) / y + 2 * x**2 - (-y) % 2, real(3), positive(3))
elementwise("neg", real(3, 4))
elementwise("abs", real(3, 4))
elementwise("sign", real(3, 4)).without("bool")
elementwise("square", real(3, 4)).without("bool")
elementwise("reciprocal", positive(3, 4))

# Rounding
for name in ("floor", "ceil", "trunc", "round"):
    elementwise(name, real(3, 4))
op("round: decimals", real(3, 4), decimals=2).without("float16", "bfloat16")

# Exponentials and their kin
for name in ("erf", "exp", "expm1", "sin", "cos", "tanh", "sigmoid", "relu"):
    elementwise(name, real(3, 4))
elementwise("tan", real(3, 4, low=-1.2, high=1.2))
for name in ("log", "log2", "log10", "log1p", "sqrt", "rsqrt"):
    elementwise(name, positive(3, 4))

# Comparisons and logic
for name in ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor"):
    elementwise(name, real(3, 4), real(4))
for name in ("isnan", "isinf", "isfinite", "logical_not"):
    elementwise(name, real(3, 4))
for name in ("is_conj", "is_complex"):
    op(name, real(3, 4))
for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    op(name, integers(3, 4), integers(4))
    op(name + ": bool", boolean(3, 4), boolean(4))
op("bitwise_not", integers(3, 4))
op("bitwise_not: bool", boolean(3, 4))
op("equal", real(3, 4), real(3, 4))
op("allclose", real(3, 4), real(3, 4))
op("isclose", real(3, 4), real(3, 4))

# Choosing
op("where", boolean(3, 1), real(3, 4), real(4)).without("method")  # x.where(m, y) is another order
expr("where: method", lambda T, m, x, y: x.where(m, y), boolean(3, 1), real(3, 4), real(4))
op("where: places", boolean(3, 4)).without("method")
expr("where: number", lambda T, m, x: T.where(m, x, 1.5), boolean(3, 4), real(3, 4))
op("masked_fill", real(3, 4), boolean(4), 1.5)
op("masked_fill: tensor", real(3, 4), boolean(3, 4), real())
elementwise("maximum", real(3, 4), real(4))
elementwise("minimum", real(3, 4), real(4))
op("clamp", real(3, 4), -0.5, 0.7)
op("clamp: min", real(3, 4), min=0.1)
op("clamp: max", real(3, 4), max=0.1)
op("clamp: tensors", real(3, 4), real(4, low=-1, high=-0.1), real(3, 1, low=0.1, high=1))

# Reductions
for name in ("sum", "mean", "amax", "amin", "prod", "logsumexp", "var", "std"):
    op(f"{name}: dim", real(3, 4, 2), 1)
    op(f"{name}: keepdim", real(3, 4, 2), -1, keepdim=True)
for name in ("sum", "mean", "amax", "amin", "prod", "var", "std", "max", "min", "all", "any"):
    op(name, real(3, 4))
for name in ("sum", "mean", "amax", "amin", "logsumexp", "var", "std"):
    op(f"{name}: dims", real(3, 4, 2), (0, -1))
for name in ("max", "min"):
    op(f"{name}: dim", real(3, 4, 2), 1)
    op(f"{name}: keepdim", real(3, 4, 2), -1, keepdim=True)
    op(f"{name}: pairwise", real(3, 4), real(3, 4))
for name in ("argmax", "argmin"):
    op(name, real(3, 4))
    op(f"{name}: dim", real(3, 4), 1)
    op(f"{name}: keepdim", real(3, 4), 0, keepdim=True)
for name in ("all", "any"):
    op(f"{name}: dim", boolean(3, 4), 1)
op("sum: dtype", real(3, 4), dtype=lambda T: T.float64)
op("logsumexp", real(5), 0)
expr("amax: ties", lambda T, x: T.amax(T.relu(x), 1), real(3, 4))
expr("prod: zeros", lambda T, x: T.prod(x.relu(), 0), real(3, 4))
op("var: unbiased", real(3, 4), 1, False)
op("var: correction", real(3, 4), 0, correction=2)
op("cumsum", real(3, 4), 1)
for p in (1, 2, 3, 0, float("inf"), float("-inf"), "fro"):
    op(f"norm: {p}", real(3, 4), p)
op("norm", real(3, 4), 2, 1)

# Products
op("matmul", real(3, 4), real(4, 2))
op("matmul: vectors", real(4), real(4))
op("matmul: vector left", real(4), real(4, 2))
op("matmul: vector right", real(3, 4), real(4))
op("matmul: vector and batch", real(4), real(2, 4, 3))
op("matmul: batch and vector", real(2, 3, 4), real(4))
op("matmul: batch and matrix", real(2, 3, 4), real(4, 5))
op("matmul: matrix and batch", real(3, 4), real(2, 4, 5))
op("matmul: broadcast", real(2, 1, 3, 4), real(3, 4, 2))
op("mm", real(3, 4), real(4, 2))
op("bmm", real(2, 3, 4), real(2, 4, 5))
op("mv", real(3, 4), real(4))
op("dot", real(4), real(4))
op("outer", real(3), real(4))
op("addmm", real(2), real(3, 4), real(4, 2)).without("inplace")
op("addmm: scaled", real(3, 2), real(3, 4), real(4, 2), beta=0.5, alpha=2.0).without(*INTEGERS)

# Shapes
op("reshape", real(3, 4), (2, 6))
op("reshape: inferred", real(3, 4), (-1, 2))
op("view", real(3, 4), 2, -1)
op("view_as", real(3, 4), real(2, 6, grad=False))
op("reshape_as", real(3, 4), real(2, 6, grad=False))
op("flatten", real(2, 3, 4), 1)
op("unflatten", real(2, 6), 1, (2, 3))
op("transpose", real(2, 3, 4), 0, -1)
op("swapaxes", real(2, 3, 4), 0, 1)
op("swapdims", real(2, 3, 4), 0, 1)
op("permute", real(2, 3, 4), (2, 0, 1))
op("movedim", real(2, 3, 4), (0, 1), (2, 0))
op("t", real(2, 3))
op("unsqueeze", real(2, 3), 1)
op("squeeze", real(2, 1, 3, 1))
op("squeeze: dim", real(2, 1, 3, 1), 1)
op("expand", real(2, 1, 3), 4, -1, 5, 3)
op("expand_as", real(2, 1, 3), real(4, 2, 5, 3, grad=False))
op("broadcast_to", real(2, 1), (3, 2, 4))
expr("broadcast_tensors", lambda T, x, y: T.broadcast_tensors(x, y), real(2, 1), real(3))
op("repeat", real(2, 3), 2, 1, 3)
expr("cat", lambda T, x, y: T.cat([x, y], 1), real(2, 3), real(2, 1))
expr("cat: mixed", lambda T, x, y: T.cat([x, y.float()]), real(2, 3), real(1, 3))
expr("cat: integers", lambda T, x, i: T.cat([i.int(), x.float()]), real(2), integers(2))
expr("cat: empty", lambda T, x: T.cat([T.ones(0, dtype=T.float64), x.float()]), real(2, 2))
expr("stack: mixed", lambda T, x, y: T.stack([x, y.float()]), real(2), real(2))
expr("stack: integers", lambda T, x, i: T.stack([i.int(), x.float()]), real(2), integers(2))
expr("stack", lambda T, x, y: T.stack([x, y], -1), real(2, 3), real(2, 3))
op("narrow", real(4, 5), 1, 1, 3)
op("split", real(5, 2), 2)
op("split: sections", real(2, 5), [1, 0, 4], 1)
op("chunk", real(5, 2), 3)
op("unbind", real(3, 2), 1)
expr("unbind: one used", lambda T, x: x.unbind(0)[1], real(3, 2))
op("flip", real(2, 3, 4), (0, -1))
op("tril", real(4, 4), -1)
op("triu", real(2, 3, 4), 1)
op("clone", real(3, 4))
op("contiguous", real(3, 4))
expr("contiguous: transposed", lambda T, x: x.t().contiguous(), real(3, 4))
op("detach", real(3, 4))
op("type_as", real(3), real(2, grad=False))
op("to", real(3), dtype=lambda T: T.float64)
op("double", real(3))
op("float", real(3))
op("half", real(3))
for name in ("bool", "short", "int", "long", "byte", "char", "bfloat16"):
    op(name, real(3, low=0.2, high=5.0))
op("cpu", real(3))

# Indexing
expr("getitem: integer", lambda T, x: x[1], real(3, 4))
expr("getitem: slices", lambda T, x: x[1:, ::2], real(3, 4))
expr("getitem: None and ...", lambda T, x: x[..., None, 1], real(2, 3, 4))
expr("getitem: list", lambda T, x: x[[0, 2, 0]], real(3, 4))
expr("getitem: tensor", lambda T, x, i: x[i], real(3, 4), integers(2, 2, high=3))
expr(
    "getitem: two tensors",
    lambda T, x, i, j: x[i, j],
    real(3, 4),
    integers(5, high=3),
    integers(5, high=4),
)
expr("getitem: mixed", lambda T, x, i: x[:, i, 1:], real(2, 3, 4), integers(4, high=3))
expr("getitem: integer apart", lambda T, x, i: x[1, :, i], real(2, 3, 4), integers(5, high=4))
expr("getitem: mask", lambda T, x, m: x[m], real(3, 4), boolean(3, 4))
expr("getitem: row mask", lambda T, x, m: x[m], real(3, 4), boolean(3))
op("gather", real(3, 4), 1, integers(3, 2, high=4))
op("scatter_add", real(3, 4), 1, integers(3, 2, high=4), real(3, 2))
op("index_select", real(3, 4), 1, integers(5, high=4))
op("take_along_dim", real(3, 4), integers(3, 2, high=4), 1)
op("masked_select", real(3, 4), boolean(4))
op("nonzero", boolean(3, 4))


def _set(index):
    def expression(T, x, value):
        y = x.clone()
        y[index(T) if callable(index) else index] = value
        return y

    return expression


expr("setitem: integer", _set(1), real(3, 4), real(4))
expr("setitem: slices", _set((slice(1, None), slice(None, None, 2))), real(3, 4), real(2, 1))
expr("setitem: leading ones", _set(0), real(2, 3), real(1, 1, 3))
expr("setitem: leading ones, list", _set([1, 0]), real(3, 4), real(1, 2, 4))
expr("setitem: leading ones, element", _set((0, 1)), real(2, 3), real(1, 1, 1))
expr("setitem: ...", _set((..., 0)), real(3, 4), real())
expr("setitem: integer apart", _set((1, slice(None), [2, 0])), real(2, 3, 4), real(3, 2))
expr("setitem: list", _set([2, 0]), real(3, 4), real(2, 4))
expr("setitem: tensor", _set(lambda T: T.tensor([2, 0])), real(3, 4), real(4))
expr("setitem: mask", _set(lambda T: T.tensor([True, False, True])), real(3, 4), real(2, 4))
expr("copy_: into a view", lambda T, x, y: [b := x.clone(), b[1:].copy_(y)][0], real(3, 4), real(4))
expr("copy_", lambda T, x, y: x.clone().copy_(y), real(3, 4), real(4))
expr("fill_", lambda T, x: x.clone().fill_(2.5), real(3, 4))
expr("zero_", lambda T, x: x.clone().zero_(), real(3, 4))

# Layers
op("F.linear", real(5, 3), real(2, 3), real(2))
op("F.linear: no bias", real(4, 5, 3), real(2, 3))
op("F.linear: vectors", real(3), real(2, 3), real(2))
op("F.linear: to one", real(4, 3), real(3))
op("F.conv1d", real(2, 4, 7), real(6, 2, 3), real(6), stride=2, padding=1, groups=2)
op("F.conv2d", real(2, 3, 5, 6), real(4, 3, 3, 3), real(4))
op("F.conv2d: options", real(2, 4, 7, 6), real(2, 2, 3, 2), None, (2, 1), (1, 2), (1, 2), 2)
op("F.conv2d: same", real(2, 3, 5, 6), real(4, 3, 2, 3), padding="same")
op("F.conv2d: unbatched", real(3, 5, 6), real(4, 3, 3, 3), padding=1)
op("F.conv3d", real(1, 2, 4, 4, 3), real(3, 2, 2, 2, 2), real(3))
op("F.pad", real(2, 3, 4), (1, 2, 0, 1), "constant", 1.5)
op("F.pad: negative", real(2, 3, 4), (-1, 2))
op("F.max_pool2d", real(2, 3, 6, 4), 2)
op("F.max_pool2d: options", real(2, 6, 7), 3, 2, 1, ceil_mode=True)
op("F.max_pool2d: indices", real(2, 3, 6, 4), 2, return_indices=True)
op("softmax", real(3, 4), 1)
op("softmax: first", real(3, 4, 2), 0)
op("log_softmax", real(3, 4), -1)
op("log_softmax: middle", real(3, 4, 2), 1)
op("F.layer_norm", real(3, 4, 2), (4, 2), real(4, 2), real(4, 2))
op("F.layer_norm: plain", real(3, 8), (8,))
op("F.batch_norm", real(4, 3, 2), None, None, real(3), real(3), True)
op("F.group_norm", real(2, 4, 3), 2, real(4), real(4))
op("F.kl_div", real(3, 4), positive(3, 4))
expr(
    "lstm_cell",
    lambda T, x, h, c, w, u, b: T.lstm_cell(x, (h, c), w, u, b, b),
    *(real(*shape) for shape in ((2, 3), (2, 4), (2, 4), (16, 3), (16, 4), (16,))),
)
expr(
    "LSTM",
    lambda T, x, h, c, w, u: T.func.functional_call(
        T.nn.LSTM(3, 4, bias=False).to(x.dtype), {"weight_ih_l0": w, "weight_hh_l0": u}, (x, (h, c))
    )[0],
    *(real(*shape) for shape in ((3, 2, 3), (1, 2, 4), (1, 2, 4), (16, 3), (16, 4))),
)
op("gru_cell", real(2, 3), real(2, 4), real(12, 3), real(12, 4), real(12), real(12))
op("F.embedding", integers(2, 3, high=5), real(5, 4))
op("F.embedding: padding", integers(2, 3, high=5), real(5, 4), 1)
op("F.gelu", real(3, 4))
op("F.gelu: tanh", real(3, 4), approximate="tanh")
op("F.silu", real(3, 4))
op("F.leaky_relu", real(3, 4), 0.1)
op("F.scaled_dot_product_attention", real(2, 3, 4), real(2, 5, 4), real(2, 5, 6))
op(
    "F.scaled_dot_product_attention: causal",
    real(2, 3, 4),
    real(2, 3, 4),
    real(2, 3, 4),
    is_causal=True,
)
op("F.scaled_dot_product_attention: mask", real(2, 3, 4), real(2, 5, 4), real(2, 5, 6), real(3, 5))

# Losses
op("F.nll_loss", real(4, 3), integers(4, high=3))
op("F.nll_loss: weight", real(4, 3), integers(4, high=3), positive(3)._replace(grad=False))
op("F.nll_loss: image", real(2, 3, 4), integers(2, 4, high=3), ignore_index=1, reduction="sum")
op("F.cross_entropy", real(4, 3), integers(4, high=3))
op("F.cross_entropy: none", real(4, 3, 2), integers(4, 2, high=3), reduction="none", ignore_index=0)
op("F.cross_entropy: smooth", real(4, 3), integers(4, high=3), label_smoothing=0.2)
op("F.cross_entropy: soft", real(4, 3), positive(4, 3))
op("F.mse_loss", real(3, 4), real(3, 4))
op("F.l1_loss", real(3, 4), real(3, 4), reduction="sum")
op("F.smooth_l1_loss", real(3, 4), real(3, 4), beta=0.7)
op("F.binary_cross_entropy", real(3, 4, low=0.1, high=0.9), real(3, 4, low=0.1, high=0.9))
op("F.binary_cross_entropy_with_logits", real(3, 4), real(3, 4, low=0.1, high=0.9), pos_weight=None)
