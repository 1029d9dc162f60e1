"""Which of PyTorch's OpInfos minitorch wants to agree with, and why not the others.

Everything is in scope that is not excluded here by name, and whatever minitorch has.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from .twins import resolve

# reason -> names ("fft.*" is a pattern, "bmm:triton_optimized" a variant)
EXCLUDED = {
    "sparse tensors": "sparse.* to_sparse",
    "masked tensors": "masked.*",
    "written for other devices": """jiterator_* torch._scaled_mm* torch.ops.*
        bmm:triton_optimized nn.functional.batch_norm:without_cudnn""",
    "not public, or only what public functions are made of": """_softmax_backward_data
        _native_batch_norm_legit _batch_norm_with_update _upsample_bilinear2d_aa _chunk_cat
        _unsafe_masked_index* _segment_reduce native_* grid_sampler_2d grid_sampler_3d slice
        max_pool2d_with_indices_backward""",
    "twins of other functions, made for compilers": """alias_copy as_strided_copy as_strided_scatter
        diagonal_copy expand_copy narrow_copy permute_copy split_with_sizes_copy squeeze_copy t_copy
        transpose_copy unbind_copy unfold_copy unsqueeze_copy view_copy nonzero_static
        hash_tensor""",
    "complex32, a type that is not here": "chalf",
    "special functions that take a table of coefficients, or a recurrence, each": """
        special.airy_ai special.bessel_* special.modified_bessel_* special.scaled_modified_bessel_*
        special.spherical_bessel_j0 special.*_polynomial_* igamma igammac""",
    "LAPACK's own formats of a factorisation, which NumPy does not hand out": """geqrf ormqr
        linalg.householder_product linalg.ldl_factor linalg.ldl_factor_ex linalg.ldl_solve
        lu lu_solve lu_unpack linalg.lu linalg.lu_factor linalg.lu_factor_ex linalg.lu_solve""",
    "forms that return a number instead of raising, and a deprecated one": """linalg.inv_ex
        linalg.solve_ex linalg.cholesky_ex triangular_solve""",
    "signal processing": "signal.windows.* stft istft",
    "hardly used, and a page each": """nn.functional.fractional_max_pool2d
        nn.functional.fractional_max_pool3d svd_lowrank pca_lowrank histogramdd""",
}

# Results that are uninitialised memory: only shape and dtype can agree.
UNINITIALISED = set("empty empty_like new_empty new_empty_strided empty_strided".split())
UNINITIALISED |= set("empty_permuted resize_ resize_as_".split())

# Results that hold indices of equal elements, of which any will do; where the dimension is given.
TIES = {"sort": 0, "argsort": 0, "mode": 0, "median": 0, "nanmedian": 0, "topk": 1, "kthvalue": 1}

# Where we differ and mean to; said in docs/compatibility.md, and counted as differing all the same.
ON_PURPOSE = {
    "logcumsumexp": "PyTorch's gradient in float32 is off by 1e-3; ours is right",
    "nn.functional.ctc_loss": "PyTorch adds up in float32; we do in float64",
    "nn.functional.soft_margin_loss": "PyTorch's exponential overflows in half precision",
    "nn.functional.linear_cross_entropy:chunked": "PyTorch's second derivatives are zeros here; "
    "ours are those of the other variants",
}


def full_name(op) -> str:
    """ "max:binary": the name, and the variant where PyTorch has several OpInfos of that name."""
    return f"{op.name}:{op.variant_test_name}" if op.variant_test_name else op.name


def excluded(op) -> str | None:
    """The reason why the op is out of scope; None if it is in, and whenever minitorch has it."""
    for reason, names in EXCLUDED.items():
        for pattern in names.split():
            if fnmatchcase(full_name(op), pattern) or fnmatchcase(op.name, pattern):
                return reason if ":" in pattern or is_missing(op) else None
    return None


def is_missing(op) -> bool:
    """Whether minitorch has nothing of that name: no function, no method, no in-place method."""
    return all(resolve(op.name + end) is None for end in ("", "_"))
