"""Kernels that are bound by memory load and store by 16 bytes: in what NVRTC makes of them.

Whether a copy of a Vector becomes one instruction or eight is for the compiler to say. Without this
test nothing would tell: the results are the same.
"""

import re

import numpy as np
import pytest

from minitorch.kernels.cuda import launch

from . import nvrtc

missing = nvrtc.why_not()
pytestmark = pytest.mark.skipif(bool(missing), reason=missing)

FILES = ["elementwise.cu", "softmax.cu", "layer_norm.cu", "channels.cu", "optim.cu", "dropout.cu"]


def instructions(file: str, dtype: str) -> dict[str, set[str]]:
    """Of each kernel its loads and stores in PTX: "ld.v4.f32" for 16 bytes, say."""
    from cuda.bindings import nvrtc as library
    from cuda.pathfinder import find_nvidia_header_directory

    source = launch.source(launch.FOLDER / file, np.dtype(dtype)).encode()
    headers = f"-I{find_nvidia_header_directory('cudart')}".encode()
    options = [b"-arch=compute_90", b"-std=c++17", headers]
    _, program = library.nvrtcCreateProgram(source, file.encode(), 0, [], [])
    assert library.nvrtcCompileProgram(program, len(options), options)[0] == 0
    text = b" " * library.nvrtcGetPTXSize(program)[1]
    library.nvrtcGetPTX(program, text)
    library.nvrtcDestroyProgram(program)
    kernels = text.decode().split(".entry ")[1:]
    return {
        re.match(r"\w+", kernel)[0]: set(
            re.findall(r"\b(?:ld|st)(?:\.global)?\.v\d\.\w\d+", kernel)
        )
        for kernel in kernels
    }


def size(instruction: str) -> int:
    count, bits = re.fullmatch(r".+\.v(\d)\.\w(\d+)", instruction).groups()
    return int(count) * int(bits) // 8


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("file", FILES)
def test_16_bytes_at_a_time(file, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    for kernel, found in instructions(file, dtype).items():
        wide = {name[:2] for name in found if size(name) == 16}
        # sums of channels write one number for each channel
        assert wide >= ({"ld"} if kernel == "channel_sums" else {"ld", "st"}), (kernel, found)
