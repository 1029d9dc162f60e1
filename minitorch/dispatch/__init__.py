"""From `x * y` to NumPy and into the graph: how operations are declared, called and recorded.

The operations themselves are in ops/; a file there needs no more than the decorators of declare.py.
In the order in which they build on each other:

    errors, dims, results    what arguments may be; what results look like; NumPy's complaints
    memory                   which memory an array looks into
    gathering                what a ufunc makes of many elements, on a GPU as well
    views                    a view, its base, and the steps from one to the other
    op                       what an op is: a forward, a table of derivatives, and `record`
    promotion                one type for all arguments
    inplace                  changes of tensors that autograd can follow
    out                      results in memory that is there already: out=
    calls                    the short ways from an operator to NumPy
    declare                  the decorators, and the tables of names

Invariant: a file imports only what stands above it. PyTorch: aten/src/ATen/core/dispatch.
"""
