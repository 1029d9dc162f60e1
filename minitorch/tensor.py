"""Tensor: an array, plus its place in the graph.

This file holds what a tensor *is*: its memory, its type, its gradient, how it presents itself to
Python and NumPy. What one can *do* with tensors is in `ops/`, which adds its operations to this
class as methods. Invariant: `array` is always an ndarray (never a NumPy scalar), and every tensor
that shares memory through a view shares one `_storage`, whose `version` counts in-place changes.
PyTorch: torch/_tensor.py, c10/core/TensorImpl.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from . import devices, dtypes, layouts, printing


class Size(tuple):
    """A shape. Mirrors torch.Size."""

    __slots__ = ()

    def numel(self) -> int:
        n = 1
        for extent in self:
            n *= extent
        return n

    def __getitem__(self, index):
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found

    def __add__(self, other):
        return Size(tuple.__add__(self, tuple(other)))

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"


class Storage:
    """What all views of one memory have in common. PyTorch: c10::StorageImpl, VariableVersion.

    `version` counts in-place changes; `views` are weak references to the views that have a place in
    the graph (dispatch/views.py). Class attributes, so that making one costs next to nothing.
    """

    version = 0
    views: set | None = None
    inference = False  # made in inference mode (autograd/grad_mode.py)


def _entry(extents, dim: int):
    """extents[dim]; IndexError, in PyTorch's words, for a dimension that is not there."""
    limit = len(extents) or 1
    if not -limit <= dim < limit or not extents:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got "
            f"{dim})"
        )
    return extents[dim]


class Tensor:
    """An n-dimensional array that remembers how it was computed. Mirrors torch.Tensor.

    `Tensor(2, 3)` is uninitialised float memory of that shape, `Tensor([1, 2])` holds these values
    as floats, as in PyTorch; `minitorch.tensor(data)` is what one normally wants.
    """

    __slots__ = ("__dict__", "__weakref__", "_grad", "_node", "_requires_grad", "_storage", "array")

    # Set on the few tensors that have them; they live in __dict__, so the others pay nothing.
    _view: Any = None  # (base, step, reason): how to get it from its base (dispatch/views.py)
    _accumulator: Any = None  # a leaf's AccumulateGrad node
    _retains_grad: int | None = None  # the sequence number of the node it keeps the gradient of

    if TYPE_CHECKING:  # the methods that ops/ adds
        array: ndarray
        _grad: Any
        _node: Any
        _requires_grad: bool
        _storage: Any
        backward: Any  # autograd/differentiate.py

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def _operator(self, other: Any) -> Tensor: ...

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _operator
        __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __pow__ = __rpow__ = _operator
        __matmul__ = __and__ = __or__ = __xor__ = __lt__ = __le__ = __gt__ = __ge__ = _operator

        def __neg__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...

    def __new__(cls, *args, device=None):
        from .legacy import construct

        of_tensor = len(args) == 1 and isinstance(args[0], Tensor)
        dtype = args[0].dtype if of_tensor else dtypes.get_default_dtype()
        made = construct(args, dtype, device)
        return made if cls is Tensor else wrap(made.array, cls)

    # What it is

    @property
    def shape(self) -> Size:
        return Size(self.array.shape)

    @property
    def dtype(self) -> dtypes.dtype:
        return dtypes.of(self.array)

    @property
    def device(self) -> devices.device:
        return devices.of(self.array)

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def itemsize(self) -> int:
        return self.array.itemsize

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    def size(self, dim: int | None = None):
        """The shape, or the extent of one dimension."""
        return self.shape if dim is None else _entry(self.array.shape, dim)

    def dim(self) -> int:
        return self.array.ndim

    def numel(self) -> int:
        return self.array.size

    nelement, ndimension = numel, dim

    def element_size(self) -> int:
        return self.array.itemsize

    def stride(self, dim: int | None = None):
        """Steps in elements, not bytes, from one index of a dimension to the next."""
        shape, steps = self.array.shape, [n // self.array.itemsize for n in self.array.strides]
        empty = self.array.size == 0  # then NumPy's are all 0, PyTorch's as if no extent were
        shape = tuple([max(n, 1) for n in shape]) if empty else shape
        for d in reversed(range(len(shape))):
            if steps[d] == 0 and (empty or shape[d] == 1):  # None: NumPy's are 0, PyTorch's go on
                steps[d] = shape[d + 1] * steps[d + 1] if d + 1 < len(shape) else 1
        return tuple(steps) if dim is None else _entry(steps, dim)

    def is_contiguous(self, memory_format=None) -> bool:
        return self.array.flags.c_contiguous

    def data_ptr(self) -> int:
        array: Any = self.array
        return array.ctypes.data if type(array) is ndarray else array.data.ptr

    layout = layouts.strided
    # Kinds of tensors and devices that are not here.
    is_cpu = property(lambda self: self.device.type == "cpu")
    is_sparse = is_quantized = is_nested = is_meta = is_mkldnn = is_mps = is_xpu = False

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return self.dtype.is_complex

    def get_device(self) -> int:
        return -1 if self.device.index is None else self.device.index

    def type(self, dtype=None):
        """Its legacy type name ("torch.FloatTensor"), or the tensor converted to `dtype`."""
        if dtype is None:
            place = "torch." if self.is_cpu else "torch.cuda."
            return f"{place}{self.dtype.legacy_name}Tensor"
        there = getattr(dtype, "is_cuda", None)  # of torch.FloatTensor and torch.cuda.FloatTensor
        if isinstance(dtype, str):
            there = dtype.startswith("torch.cuda.")
            name = dtype.rpartition(".")[2].removesuffix("Tensor")
            dtype = next(d for d in dtypes.ALL if d.legacy_name == name)
        device = None if there is None else "cuda" if there else "cpu"
        return self.to(device=device, dtype=getattr(dtype, "dtype", dtype))

    # Its place in the graph

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool):
        if self._node is not None:
            advice = (
                " If you want to use a computed variable in a subgraph that doesn't require "
                "differentiation use var_no_grad = var.detach()."
            )
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables."
                + ("" if value else advice)
            )
        if value and self.dtype.category < dtypes.FLOATING:
            raise RuntimeError(
                "only Tensors of floating point and complex dtype can require gradients, not of "
                f"{self.dtype}"
            )
        if value and self._storage.inference:
            from .autograd.grad_mode import mode

            if not mode.inference:
                raise RuntimeError(
                    "Setting requires_grad=True on inference tensor outside InferenceMode is not "
                    "allowed."
                )
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch the recording of this leaf's uses on or off, in place. Returns the tensor."""
        if self._node is None or not requires_grad:
            self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        return self._node is None

    @property
    def grad_fn(self):
        """The node of the operation that made it; None for a leaf."""
        return getattr(self._node, "source", self._node)

    @property
    def output_nr(self) -> int:
        return getattr(self._node, "number", 0)

    @property
    def grad(self) -> Tensor | None:
        if self._grad is None and self._node is not None and self._retains_grad is None:
            import warnings

            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its "
                ".grad attribute won't be populated during autograd.backward(). If you indeed want "
                "the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the "
                "non-leaf Tensor.",
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None):
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got {value!r}")
            if value.array.shape != self.array.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: {list(value.shape)} for a tensor "
                    f"of {list(self.shape)}"
                )
            if value.array.dtype != self.array.dtype:
                raise RuntimeError(
                    f"assigned grad has data of a different type: {value.dtype} for {self.dtype}"
                )
            if not devices.together(value.array, self.array):
                raise RuntimeError(
                    f"assigned grad is on device {value.device}, and the tensor on {self.device}"
                )
        self._grad = value

    @grad.deleter
    def grad(self):
        self._grad = None

    @property
    def data(self) -> Tensor:
        """The same memory, outside of the graph, with changes that autograd is not told of."""
        return wrap(self.array)

    @data.setter
    def data(self, value: Tensor):
        self.array = value.array
        if self._accumulator is not None:  # gradients are to look like the new data
            self._accumulator.shape, self._accumulator.dtype = value.array.shape, value.array.dtype

    @property
    def _version(self) -> int:
        if self._storage.inference:
            raise RuntimeError("Inference tensors do not track version counter.")
        return self._storage.version

    def is_inference(self) -> bool:
        """Whether it was made in inference mode, and so can have no part in autograd."""
        return self._storage.inference

    def _bump_version(self) -> None:
        """Note that the memory was changed: saved values that live in it become stale."""
        self._storage.version += 1

    @property
    def _base(self) -> Tensor | None:
        return None if self._view is None else self._view[0]

    def _is_view(self) -> bool:
        return self._view is not None

    def register_hook(self, hook):
        """Run `hook(grad) -> Tensor or None` when this tensor's gradient is complete.

        What it returns replaces the gradient. Returns a handle with `remove()`.
        """
        from .autograd.graph import edge_of
        from .autograd.hooks import add_hook

        node = edge_of(self)
        if node is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        return add_hook(node, "tensor", hook)

    def register_post_accumulate_grad_hook(self, hook):
        """Run `hook(tensor)` whenever .grad of this leaf has been added to. Returns a handle."""
        from .autograd.graph import edge_of
        from .autograd.hooks import add_hook

        if self._node is not None or not self._requires_grad:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        return add_hook(edge_of(self), "accumulated", hook)

    def retain_grad(self) -> None:
        """Have backward fill .grad of this non-leaf tensor as well."""
        import weakref

        from .autograd.hooks import add_hook

        if not self._requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._node is None or self._retains_grad == self._node.sequence:
            return
        place = self._retains_grad = self._node.sequence
        itself = weakref.ref(self)  # the hook lives in the graph, which must not own the tensor

        def keep(grad):
            tensor = itself()
            if tensor is not None and tensor._node.sequence == place:  # not changed in place since
                tensor._grad = grad if tensor._grad is None else tensor._grad + grad

        add_hook(self._node, "tensor", keep, last=True)

    @property
    def retains_grad(self) -> bool:
        return self._retains_grad is not None

    # How it looks to Python

    def item(self):
        """The one element as a Python number. Raises RuntimeError if there are more or none."""
        if self.array.size != 1:
            raise RuntimeError(
                f"a Tensor with {self.array.size} elements cannot be converted to Scalar"
            )
        return self.array.item()

    def tolist(self):
        return self.array.tolist()

    def __repr__(self) -> str:
        return printing.tensor_repr(self)

    def __format__(self, spec: str) -> str:
        if self.array.ndim == 0:
            return format(self.item(), spec)
        return object.__format__(self, spec)  # raises TypeError unless `spec` is empty

    def __len__(self) -> int:
        if self.array.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return len(self.array)

    def __bool__(self) -> bool:
        if self.array.size != 1:
            what = "no values" if self.array.size == 0 else "more than one value"
            raise RuntimeError(f"Boolean value of Tensor with {what} is ambiguous")
        return bool(self.array.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __pos__(self) -> Tensor:
        return self

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.array.size != 1 or self.dtype.category > dtypes.INTEGER:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.array.item())

    def __iter__(self):
        if self.array.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, element) -> bool:
        return bool((self == element).any())

    __hash__ = object.__hash__  # tensors are told apart by identity, although == compares elements

    def __reduce_ex__(self, protocol):
        state = {k: v for k, v in self.__dict__.items() if not k.startswith("_")}
        if type(self.array) is np.ndarray:
            return _rebuild, (type(self), self.array, self._requires_grad, state)
        # CuPy's own way forgets on which GPU an array is.
        host, device = self.array.get(), str(self.device)
        return _rebuild, (type(self), host, self._requires_grad, state, device)

    def __deepcopy__(self, memo):
        import copy

        if self._node is not None:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment.  If you were attempting to deepcopy a module, this may be "
                "because of a parameter that was computed: detach() it first."
            )
        if id(self) not in memo:
            state = {k: v for k, v in self.__dict__.items() if not k.startswith("_")}
            with devices.guard(self.array):
                twin = _rebuild(type(self), self.array.copy(), self._requires_grad, {})
            memo[id(self)] = twin
            twin.__dict__.update(copy.deepcopy(state, memo))
            twin._grad = copy.deepcopy(self._grad, memo)
        return memo[id(self)]

    # How it looks to NumPy

    def numpy(self, *, force: bool = False) -> ndarray:
        """The memory as a NumPy array, shared. Raises RuntimeError if it requires grad.

        `force=True` does without that check, and so does no_grad.
        """
        from .autograd.grad_mode import mode

        if self._requires_grad and mode.enabled and not force:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                "instead."
            )
        if type(self.array) is not ndarray:
            if not force:
                raise TypeError(
                    f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to "
                    "copy the tensor to host memory first."
                )
            on_gpu: Any = self.array
            return on_gpu.get()
        return self.array

    def __array__(self, dtype=None, copy=None):
        array = self.numpy()
        return array if dtype is None and not copy else np.array(array, dtype, copy=copy)

    def __dlpack__(self, **options):
        """The memory for another library, not copied. See `from_dlpack`."""
        from .dlpack import to_capsule

        return to_capsule(self, **options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        """np.exp(tensor), array * tensor: the operation that is registered for the ufunc."""
        operation = numpy_twins.get(ufunc)
        if operation is None or method != "__call__":
            return getattr(ufunc, method)(*_arrays(inputs), **_arrays(kwargs))
        return operation(*inputs, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        """np.sum(tensor, axis=0), np.where(...): likewise for NumPy's other functions."""
        operation = numpy_twins.get(function)
        if operation is None:  # then NumPy's own on the memory: an array comes back
            return function(*_arrays(args), **_arrays(kwargs))
        return operation(*args, **kwargs)


def _arrays(value):
    """`value` with arrays for Tensors; raises for those that require grad, as numpy() does."""
    if isinstance(value, Tensor):
        return value.numpy()
    if type(value) in (list, tuple):
        return type(value)(_arrays(v) for v in value)
    return {k: _arrays(v) for k, v in value.items()} if type(value) is dict else value


# NumPy's functions and the operations that stand for them; ops/ fills it (dispatch/declare.py).
numpy_twins: dict = {}

_new = object.__new__
new_storage: Any = Storage  # replaced while a thread is in inference mode (autograd/grad_mode.py)


def wrap(array, cls: type = Tensor) -> Any:
    """A Tensor around an array, sharing its memory; a leaf that requires no gradient."""
    if type(array) is not ndarray and isinstance(array, (ndarray, np.generic, int, float)):
        array = np.asarray(array)  # a memmap; or a NumPy scalar, which ufuncs make of 0-d arrays
    tensor: Any = _new(cls)
    tensor.array = array
    tensor._requires_grad = False
    tensor._grad = None
    tensor._node = None
    tensor._storage = new_storage()
    return tensor


def wrap_beside(array: ndarray, tensor: Tensor) -> Tensor:
    """`wrap` of an array of the host, moved to the device of `tensor`."""
    if type(tensor.array) is not ndarray:
        array = devices.moved(array, tensor.device)
    return wrap(array)


def _rebuild(cls: type, array: ndarray, requires_grad: bool, state: dict, device="cpu") -> Tensor:
    tensor = wrap(array if device == "cpu" else devices.moved(array, devices.check(device)), cls)
    tensor._requires_grad = requires_grad
    tensor.__dict__.update(state)
    return tensor
