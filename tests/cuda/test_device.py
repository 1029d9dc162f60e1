"""Where tensors are, and what may meet: PyTorch's rules, on two GPUs.

There may be no GPU to compare with; what is asserted is what PyTorch documents of CUDA tensors.
"""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch as theirs

import minitorch as torch
from minitorch.cuda import emulator, runtime

from .gpus import OTHER


def test_values_go_there_and_back():
    x = torch.arange(6.0).reshape(2, 3)
    there = x.to("cuda")
    assert there.is_cuda and there.device == torch.device("cuda", 0) and not there.is_cpu
    assert there.get_device() == 0 and x.get_device() == -1
    assert there.to("cuda:0") is there and there.cuda() is there
    assert torch.equal(there.cpu(), x) and there.cpu().device == torch.device("cpu")
    assert there.tolist() == x.tolist() and there[1, 2].item() == 5
    assert repr(torch.ones(2, device="cuda")) == "tensor([1., 1.], device='cuda:0')"


def test_results_are_where_their_inputs_are():
    """Also where the current GPU is another one."""
    assert torch.cuda.current_device() == 0
    x = torch.ones(3, 3, device=OTHER, requires_grad=True)
    y = (x @ x).exp().sum() + x[1:].mean() * 2
    assert y.device == torch.device(OTHER)
    y.backward()
    assert x.grad.device == torch.device(OTHER) and torch.cuda.current_device() == 0
    z = torch.ones(3, 3, requires_grad=True)
    ((z @ z).exp().sum() + z[1:].mean() * 2).backward()
    assert torch.allclose(x.grad.cpu(), z.grad)


def test_gradients_cross_between_devices():
    x = torch.ones(2, requires_grad=True)
    y = (x.cuda() * 3).to(OTHER) * 2
    y.sum().backward()
    assert x.grad.device.type == "cpu" and x.grad.tolist() == [6, 6]


def test_only_numbers_may_be_elsewhere():
    there, here = torch.ones(2, device="cuda"), torch.ones(2)
    assert (there + torch.tensor(2.0)).tolist() == [3, 3]
    assert (torch.tensor(2.0) * there).device.type == "cuda"
    for mix in (
        lambda: there + here,
        lambda: here * there,
        lambda: there @ here,
        lambda: torch.cat([there, here]),
        lambda: there + torch.ones(2, device=OTHER),
        lambda: here + torch.tensor(1.0, device="cuda") * torch.ones(2, device="cuda"),
    ):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            mix()


def test_out_is_where_the_operands_are():
    here, there = [torch.tensor([1.0, 3.0], device=d) for d in ("cpu", "cuda")]
    for mix in (
        lambda: torch.add(there, 1, out=here),
        lambda: torch.exp(here, out=there),
        lambda: torch.sum(there, 0, out=torch.tensor(0.0)),
        lambda: torch.mm(there[None], there[:, None], out=torch.ones(1, 1)),
        lambda: torch.cat([here, here], out=there),
        lambda: torch.max(there, 0, out=(torch.tensor(0.0), torch.tensor(0))),
    ):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            mix()
    assert here.tolist() == there.tolist() == [1, 3]
    for fits in (  # PyTorch makes a range where `out` is, and takes numbers from the CPU
        lambda: torch.arange(2.0, out=there),
        lambda: torch.add(torch.tensor(-1.0), torch.tensor([1.0, 2.0]).cuda(), out=there),
    ):
        assert fits() is there and there.is_cuda and there.tolist() == [0, 1]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32", "bfloat16"])
def test_ranges_and_identities_have_the_cpus_values(dtype):
    for ask in (
        lambda t, **o: t.eye(3, **o),
        lambda t, **o: t.eye(5, 2, **o),
        lambda t, **o: t.eye(2, 5, **o),
        lambda t, **o: t.eye(0, 3, **o),
        lambda t, **o: t.arange(0, **o),
        lambda t, **o: t.arange(300, **o),
        lambda t, **o: t.arange(7, 100, 3, **o),
    ):
        made = ask(torch, dtype=getattr(torch, dtype), device=OTHER)
        expected = ask(theirs, dtype=getattr(theirs, dtype))
        assert made.device == torch.device(OTHER) and str(made.dtype) == f"torch.{dtype}"
        assert made.shape == tuple(expected.shape) and made.tolist() == expected.tolist()
    assert torch.arange(5, -3, -2, device=OTHER).tolist() == [5, 3, 1, -1]


def test_numpy_is_the_hosts():
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        torch.ones(2, device="cuda").numpy()
    with pytest.raises(TypeError, match=r"Tensor.cpu\(\)"):
        np.asarray(torch.ones(2, device="cuda"))


def test_new_tensors():
    like = torch.ones(2, device=OTHER)
    for made in (
        torch.zeros(2, device=OTHER),
        torch.zeros_like(like),
        torch.rand_like(like),
        like.new_full((2,), 3.0),
        torch.tensor(like),
        torch.as_tensor([1.0, 2], device=OTHER),
        torch.arange(2, device=torch.device("cuda", 1)),
        torch.empty(2, device=1),
    ):
        assert made.device == torch.device(OTHER)
    with torch.device(OTHER):
        assert torch.ones(2).device == torch.device(OTHER)
    assert torch.ones(2).device == torch.device("cpu")
    torch.cuda.set_device(1)
    try:
        assert torch.ones(1, device="cuda").device.index == 1
    finally:
        torch.cuda.set_device(0)


def test_random_numbers_follow_the_seed():
    torch.manual_seed(3)
    here = torch.rand(4), torch.empty(5).normal_()
    torch.manual_seed(3)
    there = torch.rand(4, device="cuda"), torch.empty(5, device="cuda").normal_()
    assert [t.tolist() for t in there] == [t.tolist() for t in here]


def test_random_numbers_do_not_depend_on_the_device_but_on_the_layout():
    drawn = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(3)
        x = torch.zeros(7, 6, 5, device=device)
        x.permute(2, 0, 1)[::2].normal_()
        drawn.append((x.tolist(), torch.rand_like(x.permute(2, 0, 1)).tolist()))
    assert drawn[0] == drawn[1]


def test_what_cupy_refuses_or_reads_otherwise_of_complex_numbers():
    torch.manual_seed(0)
    z = torch.randn(4, 4, dtype=torch.complex64)
    z[0] = 0
    for device in ("cpu", "cuda"):
        at = z.to(device)
        assert at.logical_and(at.T).tolist() == (z.ne(0) & z.T.ne(0)).tolist()
        assert at.logical_not().tolist() == z.eq(0).tolist()
        assert at.clone().logical_not_().tolist() == z.eq(0).to(z.dtype).tolist()
        # One triangle counts, and of the diagonal the real part.
        lower, diagonal = z.tril(-1), torch.diag(z.diagonal().real)
        hermitian = lower + lower.conj().T + diagonal
        pinv = torch.linalg.pinv(at, hermitian=True).cpu()
        assert torch.allclose(pinv, torch.linalg.pinv(hermitian), atol=1e-4)


def test_modules_move():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    x = torch.randn(5, 3)
    expected = model(x).tolist()
    weight = model[0].weight
    assert model.cuda(1) is model and model[0].weight is weight and weight.device.index == 1
    out = model(x.to(OTHER))
    out.sum().backward()
    assert weight.grad.device.index == 1
    assert np.allclose(out.tolist(), expected)
    assert model.cpu()[0].weight.device.type == "cpu" and weight.grad.device.type == "cpu"


def test_copies_and_files(tmp_path):
    x = torch.arange(3.0, device=OTHER)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone()):
        assert twin.device == x.device and twin.tolist() == [0, 1, 2]
    torch.save({"x": x}, tmp_path / "x.pt")
    assert torch.load(tmp_path / "x.pt")["x"].device == x.device
    assert torch.load(tmp_path / "x.pt", map_location="cpu")["x"].device.type == "cpu"
    x.copy_(torch.ones(3))
    x[1] = 5
    assert x.tolist() == [1, 5, 1] and torch.zeros(3).copy_(x).tolist() == [1, 5, 1]


def test_memory_is_counted():
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    x = torch.zeros(1000, device="cuda")
    assert torch.cuda.memory_allocated() == before + 4096  # in blocks of 512 bytes
    y = x + 1
    del x, y
    assert torch.cuda.memory_allocated() == before
    assert torch.cuda.max_memory_allocated() >= before + 8192


def test_memory_in_use_before_it_was_watched():
    runtime.found.cache_clear()
    x = emulator.zeros(1000, "float32")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    assert torch.cuda.max_memory_allocated() == before >= 4096
    y = emulator.zeros(2000, "float32")
    del x, y
    assert torch.cuda.memory_allocated() == before - 4096
    assert torch.cuda.max_memory_allocated() == before + 8192


@pytest.mark.parametrize("nbytes", [1 << 42, 1 << 62])  # the host may promise the first
def test_more_memory_than_there_is(nbytes):
    """The figures are said, nothing is counted, and what comes after works."""
    torch.cuda.reset_peak_memory_stats(OTHER)
    before = torch.cuda.memory_allocated(OTHER)
    there = torch.cuda.mem_get_info(OTHER)[1] / 2**30
    expected = (
        f"CUDA out of memory. Tried to allocate {nbytes >> 30}.00 GiB: {OTHER} has {there:.2f} GiB"
    )
    for make in (torch.empty, torch.zeros):
        with pytest.raises(torch.cuda.OutOfMemoryError, match=f"^{expected}, of which .* are free"):
            make(nbytes // 4, device=OTHER)
    assert torch.cuda.max_memory_allocated(OTHER) == before == torch.cuda.memory_allocated(OTHER)
    assert torch.ones(2, device=OTHER).tolist() == [1, 1]


def test_what_is_asked_of_a_gpu():
    assert torch.cuda.is_available() and torch.cuda.device_count() == 2
    assert torch.accelerator.current_accelerator() == torch.device("cuda")
    assert "emulat" in torch.cuda.get_device_name(1)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    with torch.cuda.stream(torch.cuda.Stream()):
        start.record()
        torch.cuda.synchronize()
        end.record()
    assert start.elapsed_time(end) >= 0 and end.query()
    for which in (2, "cuda:7"):
        with pytest.raises(RuntimeError, match="invalid device ordinal"):
            torch.cuda.set_device(which)


def test_the_old_types():
    x = torch.cuda.FloatTensor([1, 2])
    assert x.device.type == "cuda" and x.type() == "torch.cuda.FloatTensor"
    assert isinstance(x, torch.cuda.FloatTensor) and not isinstance(x, torch.FloatTensor)
    assert x.type("torch.LongTensor").tolist() == [1, 2] and x.type(torch.DoubleTensor).is_cpu


def test_defaults():
    torch.set_default_device(OTHER)
    try:
        assert torch.ones(2).device == torch.device(OTHER)
        assert torch.nn.Linear(2, 2).weight.device == torch.device(OTHER)
        with torch.device("cpu"):
            assert torch.ones(2).is_cpu
    finally:
        torch.set_default_device("cpu")
    with torch.cuda.device(1):
        assert torch.ones(2, device="cuda").device.index == torch.cuda.current_device() == 1
        with torch.cuda.device_of(torch.ones(1, device="cuda:0")):
            assert torch.cuda.current_device() == 0
    assert torch.cuda.current_device() == 0


def test_seeds_and_generators():
    generator = torch.Generator(device="cuda")
    assert generator.device == torch.device("cuda:0")
    drawn = torch.rand(3, generator=generator.manual_seed(2), device="cuda")
    assert drawn.tolist() == torch.rand(3, generator=torch.Generator().manual_seed(2)).tolist()
    torch.cuda.manual_seed_all(4)
    first = torch.rand(3, device="cuda")
    torch.cuda.manual_seed(4)
    assert first.tolist() == torch.rand(3, device="cuda").tolist()
    assert torch.cuda.initial_seed() == 4


def test_streams():
    stream = torch.cuda.Stream(device=1)
    assert stream.device == torch.device(OTHER) and stream.query()
    with torch.cuda.stream(stream):
        assert torch.cuda.current_device() == 1
        x = torch.ones(2, device=OTHER) + 1
    torch.cuda.current_stream().wait_stream(stream)
    stream.synchronize()
    assert x.tolist() == [2, 2]
    assert torch.cuda.current_device() == 0
    torch.cuda.set_stream(stream)
    assert torch.cuda.current_device() == 1
    torch.cuda.set_stream(torch.cuda.default_stream(0))
    assert torch.cuda.current_device() == 0


def test_memory_in_words():
    assert set(torch.cuda.memory_stats()) >= {"allocated_bytes.all.peak"}
    assert "memory of cuda:1" in torch.cuda.memory_summary(1)
    free, total = torch.cuda.mem_get_info()
    assert 0 < free <= total == torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()


def test_dlpack_and_storage():
    x = torch.arange(6.0, device=OTHER).reshape(2, 3)
    assert x[1].storage_offset() == 3 and x.untyped_storage().device == torch.device(OTHER)
    assert x.as_strided((2, 2), (1, 2), 1).tolist() == [[1, 3], [2, 4]]
    assert x.t().contiguous().is_contiguous() and not x.t().is_contiguous()
    x.resize_(3, 2)
    assert x.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert x.resize_(2, 4).shape == (2, 4) and x.device == torch.device(OTHER)


def in_another_process(code: str, **environment) -> str:
    """What `code` prints in a new interpreter."""
    here = {k: v for k, v in os.environ.items() if k not in ("MINITORCH_CUDA",)}
    result = subprocess.run(
        [sys.executable, "-c", "import minitorch as torch\n" + code],
        capture_output=True,
        text=True,
        env=here | environment,
        timeout=120,
    )
    return result.stdout.strip() or result.stderr


def test_visible_devices():
    count = "print(torch.cuda.device_count(), torch.cuda.is_available())"
    for shown, expected in {"0,2": 2, "": 0, "1,-1,2": 1, "1,0,1": 0}.items():
        settings = {"MINITORCH_CUDA": "emulate:3", "CUDA_VISIBLE_DEVICES": shown}
        assert in_another_process(count, **settings) == f"{expected} {expected > 0}"
    inside = "import os; os.environ['CUDA_VISIBLE_DEVICES'] = '1'\n" + count
    assert in_another_process(inside, MINITORCH_CUDA="emulate:3") == "1 True"
    hidden = in_another_process(
        "torch.ones(1).cuda()", MINITORCH_CUDA="emulate", CUDA_VISIBLE_DEVICES=""
    )
    assert "leaves no emulated GPU (CUDA_VISIBLE_DEVICES='' may hide them)" in hidden


FAKE = """
import sys, types
cupy = types.ModuleType("cupy")
class CUDARuntimeError(RuntimeError): pass
def getDeviceCount():
    {what}
runtime = types.SimpleNamespace(getDeviceCount=getDeviceCount, CUDARuntimeError=CUDARuntimeError)
cupy.cuda = types.SimpleNamespace(runtime=runtime)
sys.modules["cupy"] = cupy
"""


@pytest.mark.parametrize(
    "fake, reason",
    [
        ("import sys; sys.modules['cupy'] = None", "CuPy is not installed"),
        (FAKE.format(what="raise CUDARuntimeError('why')"), "CuPy finds no driver or no GPU (why)"),
        (FAKE.format(what="return 0"), "there is a driver, but it shows no GPU"),
    ],
    ids=["CuPy", "driver", "GPU"],
)
def test_one_sentence_says_what_is_missing(fake, reason):
    ask = "\nassert not torch.cuda.is_available() and torch.cuda.device_count() == 0\n"
    ask += "torch.cuda.manual_seed_all(0); torch.cuda.empty_cache()\n"
    error = in_another_process(fake + ask + "torch.zeros(2, device='cuda')")
    assert f"RuntimeError: device 'cuda' is not available: {reason}" in error
    assert "Use device='cpu'" in error


def test_cupy_is_imported_when_it_is_needed():
    code = "import sys; print('cupy' in sys.modules, 'minitorch.cuda.emulator' in sys.modules)"
    assert in_another_process(code) == "False False"


def test_the_variable_is_understood_or_refused():
    error = in_another_process("torch.cuda.is_available()", MINITORCH_CUDA="emulat")
    assert "MINITORCH_CUDA='emulat' is not understood" in error
