"""Files go both ways between minitorch and PyTorch, and no file makes load do anything else.

The first half writes with one library and reads with the other. The second half plays the attacker
and the bad disk: each crafted or damaged file must give an error that says what is wrong.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import struct
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import minitorch
from minitorch import devices, dtypes
from minitorch.nn.parameter import Parameter
from minitorch.serialization import load, save
from minitorch.tensor import Size, Tensor, wrap

DTYPES = [d for d in dtypes.ALL if d._numpy is not None]
ids = pytest.mark.parametrize


def to_bytes(save_function, obj) -> io.BytesIO:
    file = io.BytesIO()
    save_function(obj, file)
    file.seek(0)
    return file


def from_torch(obj, **options):
    return load(to_bytes(torch.save, obj), **options)


def into_torch(obj):
    return torch.load(to_bytes(save, obj), weights_only=True)


def again(obj, **options):
    return load(to_bytes(save, obj), **options)


def raw(tensor) -> bytes:
    if isinstance(tensor, torch.Tensor):
        return bytes(tensor.detach().contiguous().clone().untyped_storage())
    return tensor.array.tobytes()


def check_equal(got, expected):
    """Equal in structure and kind, whichever library each of the two belongs to."""
    if isinstance(expected, (torch.Tensor, Tensor)):
        assert isinstance(got, (torch.Tensor, Tensor))
        assert str(got.dtype) == str(expected.dtype)
        assert tuple(got.shape) == tuple(expected.shape)
        assert raw(got) == raw(expected)
        assert got.requires_grad == expected.requires_grad
        parameters = (torch.nn.Parameter, Parameter)
        assert isinstance(got, parameters) == isinstance(expected, parameters)
    elif isinstance(expected, (torch.Size, Size)):
        assert isinstance(got, (torch.Size, Size)) and tuple(got) == tuple(expected)
    elif isinstance(expected, (torch.dtype, torch.device, dtypes.dtype, devices.device)):
        assert repr(got) == repr(expected)
    elif isinstance(expected, dict):
        assert type(got) is type(expected)
        assert list(got) == list(expected)
        for key in expected:
            check_equal(got[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert type(got) is type(expected) and len(got) == len(expected)
        for g, e in zip(got, expected, strict=True):
            check_equal(g, e)
    else:
        assert type(got) is type(expected) and repr(got) == repr(expected)


# Both directions


@ids("dtype", DTYPES, ids=str)
@ids("shape", [(), (0,), (3,), (0, 3), (2, 3, 4)], ids=str)
def test_every_dtype(dtype, shape):
    theirs = (torch.arange(np.prod(shape, dtype=int)).reshape(shape) - 3).to(
        getattr(torch, dtype.name)
    )
    ours = from_torch(theirs)
    check_equal(ours, theirs)
    assert ours.stride() == theirs.stride()
    check_equal(into_torch(ours), theirs)
    check_equal(again(ours), ours)


PLAIN = {
    "none": None,
    "numbers": [True, False, 0, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**70, 1.5, -0.0],
    "floats": [float("nan"), float("inf"), 5e-324],
    "complex": 1 - 2j,
    "text": ["", "weight", "größe", "\ud800", "line\nbreak"],
    "bytes": [b"", b"\x00\xff\n", bytearray(), bytearray(b"\x80")],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, (2, (3, 4, 5, 6)))],
    "dicts": {1: "a", 2.5: "b", None: "c", (1, ("x", 2)): "d", False: {}},
    "ordered": OrderedDict([("z", 1), ("a", [OrderedDict()])]),
    "counter": Counter("abca"),
    "sets": [set(), {1}, {1, 2, 3}],
    "long": list(range(3000)),
}


def test_plain_data():
    check_equal(from_torch(PLAIN), PLAIN)
    check_equal(again(PLAIN), PLAIN)
    check_equal(into_torch(PLAIN), PLAIN)


def test_size_dtype_device():
    theirs = [torch.Size([2, 3]), torch.float16, torch.device("cpu"), torch.device("cuda", 1)]
    ours = from_torch(theirs)
    check_equal(ours, theirs)
    check_equal(into_torch(ours), theirs)


def test_numpy_scalars_become_numbers():
    obj = [np.float32(0.5), np.float64(0.1), np.int64(7), np.bool_(True)]
    check_equal(into_torch(obj), [0.5, 0.1, 7, True])


def test_parameters_and_requires_grad():
    theirs = {
        "p": torch.nn.Parameter(torch.ones(2, 3)),
        "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False),
        "leaf": torch.ones(3, requires_grad=True),
    }
    ours = from_torch(theirs)
    check_equal(ours, theirs)
    check_equal(into_torch(ours), theirs)
    check_equal(into_torch(again(ours)), theirs)


def test_a_state_dict_keeps_its_metadata():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    state = model.state_dict()
    ours = from_torch(state)
    check_equal(ours, state)
    assert ours._metadata == state._metadata
    back = into_torch(ours)
    assert back._metadata == state._metadata
    model.load_state_dict(back)


def test_a_training_checkpoint_goes_there_and_back():
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    model(torch.ones(5, 3)).sum().backward()
    optimizer.step()
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "epoch": 3,
    }
    ours = from_torch(checkpoint)
    check_equal(ours, checkpoint)
    back = into_torch(ours)
    check_equal(back, checkpoint)
    optimizer.load_state_dict(back["optimizer"])


@ids("make", [
    lambda T, parameters: T.optim.SGD(parameters, lr=0.1, momentum=0.9),
    lambda T, parameters: T.optim.Adam(parameters, lr=0.1, amsgrad=True),
], ids=["SGD", "Adam"])  # fmt: skip
@ids("writer, reader", [(minitorch, torch), (torch, minitorch), (minitorch, minitorch)],
     ids=["into torch", "from torch", "again"])  # fmt: skip
def test_training_goes_on_in_the_other_library(make, writer, reader):
    def parts(T):
        model = T.nn.Sequential(T.nn.Linear(3, 4), T.nn.Tanh(), T.nn.Linear(4, 2))
        return model, make(T, model.parameters())

    def step(T, model, optimizer):
        optimizer.zero_grad()
        x = T.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
        (model(x) ** 2).sum().backward()
        optimizer.step()

    ours = parts(writer)
    for _ in range(3):
        step(writer, *ours)
    file = to_bytes(writer.save, [part.state_dict() for part in ours])
    states = reader.load(file, weights_only=True)
    check_equal(states, [part.state_dict() for part in ours])
    theirs = parts(reader)
    for part, state in zip(theirs, states, strict=True):
        part.load_state_dict(state)
    before = [p.tolist() for p in theirs[0].parameters()]
    step(writer, *ours)
    step(reader, *theirs)
    for mine, other, old in zip(ours[0].parameters(), theirs[0].parameters(), before, strict=True):
        np.testing.assert_allclose(mine.tolist(), other.tolist(), rtol=1e-5, atol=1e-6)
        assert other.tolist() != old


def test_views_of_one_memory_share_it_again():
    base = torch.zeros(1000, 10)
    theirs = {"all": base, "rows": base[5:8], "t": base.t(), "p": torch.nn.Parameter(base)}
    ours = from_torch(theirs)
    for views in (ours, into_torch(ours), again(ours)):
        views["all"][6, 2] = 7.0 if isinstance(views["all"], torch.Tensor) else wrap(np.array(7.0))
        assert views["rows"][1, 2] == 7 and views["t"][2, 6] == 7 and views["p"][6, 2] == 7
    content = to_bytes(save, ours).getvalue()
    assert len(content) < 1.1 * base.nbytes and content.count(b"FloatStorage") == 1
    assert ours["all"]._storage is ours["rows"]._storage is ours["t"]._storage


def test_one_object_stays_one_object():
    x = wrap(np.ones(2))
    shared = [1]
    x1, x2, list1, list2 = again((x, x, shared, shared))
    assert x1 is x2 and list1 is list2
    shared.append(shared)
    loop = again(shared)
    assert loop[1] is loop


@st.composite
def layouts(draw):
    """A view, by slicing, transposing and broadcasting, of an array in C or Fortran order."""
    dtype = draw(st.sampled_from(DTYPES)).numpy
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    if draw(st.booleans()):
        array = np.asfortranarray(array)
    if array.ndim:
        index = draw(npst.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
        array = np.asarray(array[index])
        array = array.transpose(draw(st.permutations(range(array.ndim))))
    if draw(st.booleans()):
        array = np.broadcast_to(array, (2, *array.shape))
    return array


@settings(max_examples=300, deadline=None)
@given(st.lists(layouts(), min_size=1, max_size=3))
def test_any_layout(arrays):
    ours = [wrap(array) for array in arrays]
    check_equal(again(ours), ours)
    check_equal(into_torch(ours), ours)


def test_memory_that_numpy_does_not_own():
    buffer = bytearray(np.arange(10, dtype=np.float32).tobytes())
    whole = np.frombuffer(buffer, np.float32)
    for array in (whole, whole[2:], whole[::3], np.lib.stride_tricks.sliding_window_view(whole, 3)):
        check_equal(into_torch(wrap(array)), torch.from_numpy(array.copy()))
    odd = np.arange(24, dtype=np.uint8)[1:17].view(np.float64)  # no whole number of elements in
    check_equal(into_torch(wrap(odd)), wrap(odd))
    z = wrap(np.array([1 + 2j, 3 + 4j]))
    check_equal(into_torch(wrap(z.array.imag)), torch.tensor([2.0, 4.0], dtype=torch.float64))


def test_one_memory_as_two_dtypes_is_refused():
    x = np.ones(4, np.float32)
    with pytest.raises(RuntimeError, match=r"torch.float32 and a torch.int32 tensor .* clone\(\)"):
        save([wrap(x), wrap(x.view(np.int32))], io.BytesIO())


@ids("obj, name", [
    (lambda: 0, "builtins.function"), (defaultdict(int), "collections.defaultdict"),
    (np.ones(2), "numpy.ndarray"), (object, "builtins.type"), (Counter, "builtins.type"),
])  # fmt: skip
def test_what_load_would_refuse_is_not_saved(obj, name):
    with pytest.raises(pickle.PicklingError, match=f"cannot save a {name}: files hold tensors"):
        save({"x": [obj]}, io.BytesIO())


def test_files_are_reproducible_and_aligned(tmp_path):
    obj = {"a": wrap(np.arange(3.0)), "b": wrap(np.ones((5, 7), np.int8)), "c": wrap(np.ones(1))}
    content = to_bytes(save, obj).getvalue()
    assert content == to_bytes(save, obj).getvalue()
    for info in zipfile.ZipFile(io.BytesIO(content)).infolist():
        lengths = struct.unpack_from("<2H", content, info.header_offset + 26)
        assert (info.header_offset + 30 + sum(lengths)) % 64 == 0
    (tmp_path / "x.pt").write_bytes(content)
    check_equal(torch.load(tmp_path / "x.pt", mmap=True), obj)


# Files


def test_paths_and_files(tmp_path):
    x = wrap(np.arange(5))
    for path in (tmp_path / "a.pt", str(tmp_path / "b.pt")):
        save(x, path)
        check_equal(load(path), x)
        check_equal(torch.load(path), x)
        assert path_names(tmp_path) <= {"a.pt", "b.pt"}
        with open(path, "rb") as file:
            check_equal(load(file), x)
    with open(tmp_path / "c.pt", "wb", buffering=0) as file:
        save(x, file)
    check_equal(load(tmp_path / "c.pt"), x)


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe, x = tmp_path / "pipe", wrap(np.arange(5))
    os.mkfifo(pipe)
    # Opened both ways, so that neither end can hang if save never opens it.
    with open(os.open(pipe, os.O_RDWR | os.O_NONBLOCK), "rb", buffering=0) as reader:
        save(x, pipe)
        received = reader.read(10**6)
    assert pipe.is_fifo()
    check_equal(load(io.BytesIO(received)), x)


def path_names(folder) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_a_stream_that_cannot_seek_can_be_written():
    class Stream(io.RawIOBase):
        def __init__(self):
            self.content = b""

        def writable(self):
            return True

        def write(self, data):
            self.content += bytes(data)
            return len(data)

    stream = Stream()
    x = wrap(np.arange(5))
    save(x, stream)
    check_equal(load(io.BytesIO(stream.content)), x)
    check_equal(torch.load(io.BytesIO(stream.content)), x)


def test_mmap(tmp_path):
    base = torch.arange(100.0)
    theirs = {"x": base, "rows": base[3:], "empty": torch.empty(0), "i": torch.arange(3)}
    torch.save(theirs, tmp_path / "x.pt")
    before = (tmp_path / "x.pt").read_bytes()
    ours = load(tmp_path / "x.pt", mmap=True)
    check_equal(ours, theirs)
    ours["x"].array[3] = 50
    assert ours["rows"].array[0] == 50
    assert (tmp_path / "x.pt").read_bytes() == before
    assert len(to_bytes(save, ours).getvalue()) < 3000
    del theirs["rows"], ours["rows"]
    base[3] = 50
    check_equal(into_torch(ours), theirs)
    with pytest.raises(ValueError, match="needs the path of a file"):
        load(io.BytesIO(before), mmap=True)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.pt"
    save(1, path)
    os.chmod(path, 0o640)
    with pytest.raises(pickle.PicklingError):
        save(object(), path)

    class Broken(Tensor):
        pass

    broken = wrap(np.ones(3), Broken)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
        save(broken, path)
    assert load(path) == 1
    assert path_names(tmp_path) == {"x.pt"}
    (tmp_path / "link.pt").symlink_to(path)
    save(2, tmp_path / "link.pt")
    assert (tmp_path / "link.pt").is_symlink() and load(path) == 2
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.pt"
    save("old", path)
    code = """if True:
        import os, signal, sys
        import numpy as np
        from minitorch import serialization
        write = serialization._write_record
        def write_and_die(archive, name, content):
            write(archive, name, content)
            if name == "archive/data/0":
                os.kill(os.getpid(), signal.SIGKILL)
        serialization._write_record = write_and_die
        from minitorch.tensor import wrap
        serialization.save([wrap(np.ones(1000)), wrap(np.ones(1000))], sys.argv[1])
    """
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert load(path) == "old"


def test_errors_of_the_file_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.pt")
    with pytest.raises(RuntimeError, match=r"the folder .*none does not exist"):
        save(1, tmp_path / "none" / "x.pt")
    with pytest.raises(IsADirectoryError):
        save(1, tmp_path)


# Places


def on_cuda(obj) -> io.BytesIO:
    """A file whose tensors were, it says, saved on cuda:0."""
    content = to_bytes(torch.save, obj).getvalue()
    pickled = zipfile.ZipFile(io.BytesIO(content)).read("archive/data.pkl")
    moved = pickled.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert moved != pickled
    return craft(moved, content)


def craft(pickled: bytes, like: bytes | None = None, compress=zipfile.ZIP_STORED, **storages):
    """An archive with this pickle, and the other records of `like` or these storages."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compress) as archive:
        archive.writestr("archive/data.pkl", pickled)
        if like:
            source = zipfile.ZipFile(io.BytesIO(like))
            for name in source.namelist():
                if not name.endswith("data.pkl"):
                    archive.writestr(name, source.read(name))
        for name, content in storages.items():
            archive.writestr(f"archive/data/{name.removeprefix('s')}", content)
    file.seek(0)
    return file


@ids("place", ["cpu", torch.device("cpu").type, devices.device("cpu"), {"cuda:0": "cpu"},
               lambda storage, location: storage], ids=repr)  # fmt: skip
def test_map_location(place):
    x = torch.arange(6.0).reshape(2, 3)
    check_equal(load(on_cuda([x, x[1]]), place), [x, x[1]])


def test_map_location_functions_see_each_storage_once():
    seen = []

    def place(storage, location):
        seen.append((storage.array.tolist(), location))
        return wrap(storage.array * 2)

    x = torch.arange(3.0)
    check_equal(
        load(on_cuda([x, x[1:], torch.ones(1)]), place), [x * 2, x[1:] * 2, torch.tensor([2.0])]
    )
    assert seen == [([0, 1, 2], "cuda:0"), ([1], "cuda:0")]


@ids("place", [None, {"cuda:1": "cpu"}, lambda storage, location: None, "cuda", "cuda:1"])
def test_a_device_that_is_not_here(place):
    with pytest.raises(RuntimeError, match=r"device 'cuda.* not available .* map_location='cpu'"):
        load(on_cuda(torch.ones(2)), map_location=place)


# Attacks


class Attack:
    """A pickle of this calls something with side effects when Python's own unpickler reads it."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def touch(path):
    """The side effect: a file that must not appear."""
    open(path, "w").close()


@ids("protocol", range(6))
def test_a_pickled_call_is_refused(protocol, tmp_path):
    trap = str(tmp_path / "trap")
    for function, argument in [(os.system, f"touch {trap}"), (eval, f"open({trap!r}, 'w')"),
                               (touch, trap), (exec, f"open({trap!r}, 'w')")]:  # fmt: skip
        attack = pickle.dumps({"x": Attack(function, argument)}, protocol)
        with pytest.raises(pickle.UnpicklingError, match="refused"):
            load(craft(attack))
        assert not os.path.exists(trap)
    pickle.loads(attack)
    assert os.path.exists(trap)  # the attack itself works


@ids("name", ["os system", "posix system", "builtins eval", "__builtin__ eval", "builtins getattr",
              "numpy._core.multiarray _reconstruct", "functools partial", "torch load",
              "torch._utils _rebuild_tensor_v3", "torch.nn.modules.linear Linear",
              "minitorch.serialization load", "collections defaultdict"])  # fmt: skip
def test_the_error_names_the_global(name):
    attack = b"\x80\x02c" + name.replace(" ", "\n", 1).encode() + b"\n."
    with pytest.raises(pickle.UnpicklingError) as error:
        load(craft(attack))
    assert f"refused to load the global {name.replace(' ', '.')}:" in str(error.value)


def number(n: int) -> bytes:
    return b"\x8a\x09" + n.to_bytes(9, "little", signed=True)


def name(module, attribute) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


ORDERED = name("collections", "OrderedDict")
SIZE = name("torch", "Size")
FLOATS = (
    b"(X\x07\x00\x00\x00storage"
    + name("torch", "FloatStorage")
    + b"X\x01\x00\x00\x000X\x03\0\0\0cpu"
)
DEEP = b")" + b"\x85q\x00h\x00\x86" * 200  # a tuple of two of a tuple of two of ...


@ids("program, words", [
    (b"ios\nsystem\n.", "refused the pickle instruction INST"),
    (b"(cos\nsystem\no.", "refused to load the global os.system"),
    (b"\x8c\x02os\x8c\x06system\x93.", "refused the pickle instruction SHORT_BINUNICODE"),
    (SIZE + b")\x81.", "refused the pickle instruction NEWOBJ"),
    (b"\x82\x01.", "refused the pickle instruction EXT1"),
    (b"P0\n.", "refused the pickle instruction PERSID"),
    (b"I1\n.", "refused the pickle instruction INT"),
    (b"})R.", "expected _Name, got dict"),
    (SIZE + b"(K\x01tR.", "expected tuple, got int"),
    (SIZE + b"](K\x01eR.", "expected tuple, got list"),
    (SIZE + b"}X\x04\0\0\0textK\x01sb.", "expected OrderedDict, got _Name"),
    (name("torch", "float32") + b"}X\x04\0\0\0nameK\x01sb.", "expected OrderedDict, got dtype"),
    (ORDERED + b")RK\x01b.", "expected dict, got int"),
    (ORDERED + b"](K\x01e\x85R.", "cannot make sense of the pickle: .* takes 0 positional"),
    (name("__builtin__", "bytearray") + number(10**12) + b"\x85R.", "expected bytes, got int"),
    (name("__builtin__", "set") + b"X\x01\0\0\0a\x85R.", "expected list, got str"),
    (name("__builtin__", "complex") + b"X\x01\0\0\x001K\x01\x86R.", "expected float, got str"),
    (name("torch", "device") + b"]\x85R.", "expected str or int, got list"),
    (b"}" + DEEP + b"K\x01s.", "tuple of more than 1000 parts"),
    (SIZE + b")\x85\x85R.", "expected int, got tuple"),
    (name("__builtin__", "set") + b"](" + DEEP + b"e\x85R.", "tuple of more than 1000 parts"),
    (b"}]K\x01s.", "unhashable type: 'list'"),
    (b"}K\x01a.", "expected list, got dict"),
    (b"]K\x01K\x02s.", "expected dict or OrderedDict, got list"),
    (b"}(K\x01u.", r"zip\(\) argument 2 is shorter"),
    (b"h\x05.", "cannot make sense of the pickle"),
    (b"0.", "refused the pickle instruction POP"),
    (b"t.", "cannot make sense of the pickle: pop from empty list"),
    (b".", "cannot make sense of the pickle: pop from empty list"),
    (b"K", "cannot make sense of the pickle"),
    (b"", "cannot make sense of the pickle: pickle exhausted before seeing STOP"),
    (b"X\xff\xff\xff\x7fabc.", "expected 2147483647 bytes"),
    (b"K\x01Q.", "expected tuple, got int"),
    (b"(X\x06\0\0\0moduleK\x01K\x02K\x03K\x04tQ.", "refused a reference to a 'module'"),
    (FLOATS.replace(b"cpu", b"xpu") + b"K\x04tQ.", "Expected one of cpu, cuda"),
    (FLOATS.replace(b"FloatS", b"DoubleS") + b"K\x04tQ.", "storage 0 has 16 bytes, .* 4 elements"),
    (FLOATS + number(-4) + b"tQ.", "storage 0 has 16 bytes, .* -4 elements"),
    (FLOATS + number(2**60) + b"tQ.", "storage 0 has 16 bytes"),
    (FLOATS.replace(b"\x000X", b"\x007X") + b"K\x04tQ.", "no record 'data/7'"),
    (b"(" + FLOATS + b"K\x04tQ" + FLOATS.replace(b"FloatS", b"IntS") + b"K\x04tQt.",
     "storage 0 is used with two types"),
], ids=lambda value: None)  # fmt: skip
def test_crafted_pickles(program, words):
    with pytest.raises((pickle.UnpicklingError, RuntimeError), match=words):
        load(craft(b"\x80\x02" + program, s0=bytes(16)))
    assert dtypes.float32.name == "float32"


def tensor_program(offset, shape, strides, requires_grad=False) -> bytes:
    def tuple_of(numbers):
        return b"(" + b"".join(n if isinstance(n, bytes) else number(n) for n in numbers) + b"t"

    flag = (
        requires_grad if isinstance(requires_grad, bytes) else b"\x88" if requires_grad else b"\x89"
    )
    call = name("torch._utils", "_rebuild_tensor_v2") + b"(" + FLOATS + b"K\x04tQ" + number(offset)
    return b"\x80\x02" + call + tuple_of(shape) + tuple_of(strides) + flag + ORDERED + b")RtR."


@ids("offset, shape, strides, words", [
    (0, (5,), (1,), r"\(5,\) with strides \(1,\) at offset 0 reaches beyond its .* of 4 elem"),
    (1, (4,), (1,), "reaches beyond"), (0, (2, 2), (3, 2), "reaches beyond"),
    (4, (), (), "reaches beyond"), (5, (0,), (1,), "reaches beyond"),
    (0, (2**40, 2**40), (2**20, 1), "reaches beyond"), (2**62, (1,), (1,), "reaches beyond"),
    (3, (4,), (-1,), "non-negative"), (-1, (1,), (1,), "non-negative"),
    (0, (-1,), (1,), "non-negative"), (0, (2,), (), "as many strides"),
    (0, (b"G" + struct.pack(">d", 2.0),), (1,), "integers"), (0, (b"\x88",), (1,), "integers"),
    (0, (1,) * 65, (1,) * 65, "cannot make sense of the pickle: maximum supported dimension"),
    (0, (0, 2**62, 2**62), (1, 1, 1), "cannot make sense of the pickle"),
])  # fmt: skip
def test_tensors_stay_within_their_storage(offset, shape, strides, words):
    with pytest.raises(pickle.UnpicklingError, match=words):
        load(craft(tensor_program(offset, shape, strides), s0=bytes(16)))


def test_deeply_nested_arguments_are_not_printed():
    """Written out, this tuple would have 2**200 parts."""
    with pytest.raises(pickle.UnpicklingError, match="non-negative integers"):
        load(craft(tensor_program(0, (DEEP,), (1,)), s0=bytes(16)))
    with pytest.raises(pickle.UnpicklingError, match="expected str, got tuple"):
        load(craft(b"\x80\x02(" + DEEP + b"K\x01K\x02K\x03K\x04tQ."))


def test_tensors_that_just_fit():
    storage = np.arange(4, dtype=np.float32)
    for offset, shape, strides, expected in [
        (0, (4,), (1,), [0, 1, 2, 3]), (1, (2,), (2,), [1, 3]), (3, (), (), 3), (4, (0,), (1,), []),
        (0, (2, 2), (1, 2), [[0, 2], [1, 3]]), (2, (3,), (0,), [2, 2, 2]),
    ]:  # fmt: skip
        program = tensor_program(offset, shape, strides, requires_grad=True)
        x = load(craft(program, s0=storage.tobytes()))
        assert x.array.tolist() == expected and x.requires_grad


def test_archives_that_lie():
    program = tensor_program(0, (4,), (1,))
    with pytest.raises(pickle.UnpicklingError, match=r"record 'data.pkl' is compressed"):
        load(craft(program, compress=zipfile.ZIP_DEFLATED, s0=bytes(16)))
    with pytest.raises(pickle.UnpicklingError, match=r"no record 'data.pkl'"):
        load(empty := io.BytesIO(b"PK\x05\x06" + bytes(18)))
    assert empty
    # A directory entry that claims 2 GB where there are 16 bytes, and one that points nowhere.
    honest = craft(program, s0=bytes(16)).getvalue()
    entry = honest.rindex(b"PK\x01\x02")
    for at, value, words in [(24, 2**31, "claims more bytes than the file has"),
                             (24, 100, "cannot load: .* checksum"),
                             (42, 2**31 - 1, "cannot load")]:  # fmt: skip
        liar = bytearray(honest)
        struct.pack_into("<I", liar, entry + at, value)
        with pytest.raises((pickle.UnpicklingError, RuntimeError), match=words):
            load(io.BytesIO(bytes(liar)))


def test_many_entries_over_the_same_bytes_do_not_multiply_memory():
    """A zip bomb: a small file whose directory names one large record again and again."""
    size = 10**6
    program = b"("
    for key in "0123456789":
        reference = FLOATS.replace(b"\x000X", b"\x00" + key.encode() + b"X")
        program += reference + number(size // 4) + b"tQ"
    honest = craft(b"\x80\x02" + program + b"t.", s0=bytes(size)).getvalue()
    start = honest.rindex(b"PK\x01\x02")
    end = honest.rindex(b"PK\x05\x06")
    entry = honest[start:end]
    entries = b"".join(entry[:-1] + key.encode() for key in "123456789")
    bomb = bytearray(honest[:end] + entries + honest[end:])
    at = end + len(entries)
    count, length = struct.unpack_from("<2xHI", bomb, at + 8)
    struct.pack_into("<2HI", bomb, at + 8, count + 9, count + 9, length + len(entries))
    with pytest.raises(pickle.UnpicklingError, match="claims more bytes than the file has"):
        load(io.BytesIO(bytes(bomb)))


def test_weights_only_false_is_refused():
    file = to_bytes(torch.save, torch.ones(2))
    with pytest.raises(RuntimeError, match="would run whatever code the file contains"):
        load(file, weights_only=False)
    check_equal(load(file, weights_only=None), torch.ones(2))


def test_lazy_conjugates_are_refused():
    with pytest.raises(pickle.UnpicklingError, match="resolve_conj"):
        from_torch(torch.ones(2, dtype=torch.complex64).conj())


@ids("content", [b"", b"hello", b"PK\x03\x04", bytes(1000)])
def test_not_an_archive(content):
    with pytest.raises(RuntimeError, match="cannot load: the file is damaged, cut short, or not"):
        load(io.BytesIO(content))


def test_the_old_format_of_torch_is_refused():
    file = io.BytesIO()
    torch.save(torch.ones(2), file, _use_new_zipfile_serialization=False)
    file.seek(0)
    with pytest.raises(RuntimeError, match=r"not in the zip format"):
        load(file)


def test_cut_and_flipped_files():
    """Wherever the file is cut, and whichever bit is flipped: an error, or the same content."""
    obj = {"x": wrap(np.arange(6.0)), "list": [1, "two"]}
    content = to_bytes(save, obj).getvalue()
    for end in range(0, len(content), 7):
        with pytest.raises(RuntimeError, match="cut short"):
            load(io.BytesIO(content[:end]))
    unharmed = 0
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << (at % 8)
        try:
            check_equal(load(io.BytesIO(bytes(flipped))), obj)
            unharmed += 1  # the padding, the dates, ...
        except (RuntimeError, pickle.UnpicklingError):
            pass
    assert unharmed < len(content) * 0.7


def test_checksums_left_out_by_torch(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        check_equal(from_torch(torch.ones(3)), torch.ones(3))
    finally:
        torch.serialization.set_crc32_options(True)
