"""A stand-in for the parts of CuPy that the backend nccl uses, on a machine without a GPU.

`install(port)` puts it in the place of `cupy`. GPU memory is NumPy's, hidden in a class that NumPy
does not take for its own. A stream is a thread, so work on it is under way while the program goes
on, and touching memory that has been freed meanwhile is an error. NCCL's calls take the documented
arguments, and are done by our own backend over a TCPStore at `port`.
"""

import ctypes
import os
import queue
import sys
import threading
import weakref
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import ml_dtypes
import numpy as np

from minitorch.distributed.process_group import ZmqProcessGroup
from minitorch.distributed.reduce_op import ReduceOp
from minitorch.distributed.store import PrefixStore, TCPStore

TYPES = dict(enumerate("int8 uint8 int32 uint32 int64 uint64 float16 float32 float64".split()))
TYPES[9] = ml_dtypes.bfloat16
OPS = [ReduceOp.SUM, ReduceOp.PRODUCT, ReduceOp.MAX, ReduceOp.MIN]

_memory: weakref.WeakValueDictionary = weakref.WeakValueDictionary()  # address -> its array
_device = SimpleNamespace(count=8, current=None, port=None)
calls: list = []  # names of the NCCL calls, in order


class ndarray:
    def __init__(self, host):
        self._host = host
        if host.base is None:
            _memory[host.__array_interface__["data"][0]] = host
        self.shape, self.dtype, self.size, self.nbytes = (
            host.shape, host.dtype, host.size, host.nbytes,
        )  # fmt: skip
        self.flags = host.flags
        self.device = SimpleNamespace(id=_device.current)
        self.data = SimpleNamespace(ptr=host.__array_interface__["data"][0])

    def reshape(self, *shape):
        return ndarray(self._host.reshape(*shape))

    def __getitem__(self, key):
        return ndarray(self._host[key])

    def __setitem__(self, key, value):
        self._host[key] = host_of(value)

    def __array_ufunc__(self, ufunc, method, *inputs, out=()):
        result = getattr(ufunc, method)(
            *[host_of(x) for x in inputs], out=tuple(map(host_of, out)) or None
        )
        return out[0] if out else ndarray(result)


def host_of(value):
    """What is in the GPU's memory; as CuPy, no NumPy array of more than one element."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return value


def asarray(array):
    return array if isinstance(array, ndarray) else ndarray(np.array(array))


def ascontiguousarray(array):
    return array if array.flags.c_contiguous else ndarray(host_of(array).copy())


def empty(shape, dtype):
    return ndarray(np.full(shape, 77).astype(dtype))


def empty_like(array):
    return empty(array.shape, array.dtype)


def asnumpy(array):
    return host_of(array).copy()


def concatenate(arrays):
    return ndarray(np.concatenate([host_of(array) for array in arrays]))


class Event:
    def __init__(self):
        self.over = threading.Event()

    @property
    def done(self):
        return self.over.is_set()


class Stream:
    """Runs what is put on it in a thread, in order; a failed task never ends."""

    by_pointer: dict = {}

    def __init__(self, non_blocking=False):
        self.ptr = 1000 + len(self.by_pointer)
        self.by_pointer[self.ptr] = self
        self.tasks = queue.Queue()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            self.tasks.get()()

    def record(self):
        event = Event()
        self.tasks.put(event.over.set)
        return event

    def wait_event(self, event):
        self.tasks.put(event.over.wait)


class Device:
    def __init__(self, number):
        self.id = number

    def use(self):
        _device.current = self.id


def view(pointer, count, type_code):
    """The memory at an address, if it is somebody's."""
    dtype = np.dtype(TYPES[type_code])
    nbytes = count * dtype.itemsize
    if not nbytes:
        return np.empty(0, dtype)
    owners = [a for start, a in list(_memory.items()) if start <= pointer < start + a.nbytes]
    assert any(pointer + nbytes <= a.__array_interface__["data"][0] + a.nbytes for a in owners), (
        "illegal memory access: this memory has been freed"
    )
    return np.frombuffer((ctypes.c_char * nbytes).from_address(pointer), dtype)


class NcclError(RuntimeError):
    pass


_group: list = []
_depth = 0


def groupStart():
    global _depth
    _depth += 1


def groupEnd():
    global _depth, _group
    _depth -= 1
    if _depth == 0 and _group:
        tasks, _group = _group, []
        Stream.by_pointer[tasks[0][0]].tasks.put(lambda: run_group([task for _, task in tasks]))


def run_group(tasks):
    """All are started before one is waited for; what a rank sends to itself meets in `own`."""
    own: list = []
    works = [task(own) for task in tasks]
    for work in works:
        if work is not None:
            work.wait()


class NcclCommunicator:
    def __init__(self, ndev, commId, rank):
        assert isinstance(commId, bytes) and len(commId) == 128 and _device.current is not None
        store = TCPStore("127.0.0.1", _device.port, wait_for_workers=False)
        self._rank = rank
        self._size = ndev
        self._group = ZmqProcessGroup.connect(PrefixStore(commId.hex(), store), rank, ndev, 60.0)
        self.error = None

    def _call(self, name, stream, task):
        assert all(isinstance(x, int) for x in (stream,))
        calls.append(name)
        assert _depth, f"{name} outside a group"
        _group.append((stream, task))

    def allReduce(self, sendbuf, recvbuf, count, datatype, op, stream):
        def task(own):
            result = view(recvbuf, count, datatype)
            result[:] = view(sendbuf, count, datatype)
            return self._group.all_reduce(result, OPS[op], True)

        self._call("allReduce", stream, task)

    def reduce(self, sendbuf, recvbuf, count, datatype, op, root, stream):
        def task(own):
            total = view(sendbuf, count, datatype).copy()
            self._group.reduce(total, root, OPS[op]).wait()
            if self._rank == root:
                view(recvbuf, count, datatype)[:] = total

        self._call("reduce", stream, task)

    def reduceScatter(self, sendbuf, recvbuf, recvcount, datatype, op, stream):
        def task(own):
            inputs = np.split(view(sendbuf, recvcount * self._size, datatype), self._size)
            result = view(recvbuf, recvcount, datatype)
            return self._group.reduce_scatter(result, inputs, OPS[op], True)

        self._call("reduceScatter", stream, task)

    def broadcast(self, sendbuff, recvbuff, count, datatype, root, stream):
        def task(own):
            result = view(recvbuff, count, datatype)
            if self._rank == root:
                result[:] = view(sendbuff, count, datatype)
            return self._group.broadcast(result, root, True)

        self._call("broadcast", stream, task)

    def send(self, sendbuf, count, datatype, peer, stream):
        def task(own):
            block = view(sendbuf, count, datatype)
            if peer != self._rank:
                return self._group.send(block, peer, 0, True)
            self._to_itself(own, block)

        self._call("send", stream, task)

    def recv(self, recvbuf, count, datatype, peer, stream):
        def task(own):
            block = view(recvbuf, count, datatype)
            if peer != self._rank:
                return self._group.recv(block, peer, 0, True)
            self._to_itself(own, block, receives=True)

        self._call("recv", stream, task)

    def _to_itself(self, own, block, receives=False):
        if own:
            source, target = (own.pop(), block) if receives else (block, own.pop())
            target[:] = source
        else:
            own.append(block)

    def check_async_error(self):
        if self.error:
            raise NcclError(self.error)

    def abort(self):
        calls.append("abort")
        self._group.destroy()

    def destroy(self):
        calls.append("destroy")
        self._group.destroy()


def install(port, gpus=8):
    """Let `import cupy` find this, on a machine with so many GPUs."""
    here = globals()
    _device.port, _device.count = port, gpus
    cupy, cuda, nccl = ModuleType("cupy"), ModuleType("cupy.cuda"), ModuleType("cupy.cuda.nccl")
    cupy.__spec__ = ModuleSpec("cupy", None)
    for name in "ndarray asarray ascontiguousarray empty empty_like asnumpy concatenate".split():
        setattr(cupy, name, here[name])
    for name in "NcclCommunicator NcclError groupStart groupEnd".split():
        setattr(nccl, name, here[name])
    nccl.available, nccl.get_unique_id = True, lambda: os.urandom(128)
    default = Stream()
    cuda.Stream, cuda.Device, cuda.get_current_stream = Stream, Device, lambda: default
    cuda.runtime = SimpleNamespace(
        getDeviceCount=lambda: _device.count, CUDARuntimeError=type("CUDARuntimeError", (), {})
    )
    cupy.cuda, cuda.nccl = cuda, nccl
    sys.modules |= {"cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.nccl": nccl}
    return cupy
