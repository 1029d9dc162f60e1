"""Compiling the kernels with NVIDIA's own compiler, for GPUs that need not be there.

NVRTC turns CUDA C++ into machine code without a driver, and reports what each kernel needs. It is
not installed with minitorch: `pip install minitorch[cuda-check]`.
"""

import io
import re
from typing import NamedTuple

ARCHITECTURES = ["sm_80", "sm_90", "sm_100"]  # A100, H100 and H200, B200


class Needs(NamedTuple):
    """Of one thread its registers, and the bytes of them that had to be kept in memory instead;
    of one block its static shared memory in bytes."""

    registers: int
    spills: int
    shared: int


def why_not() -> str:
    """Why nothing can be compiled here; empty if it can."""
    try:
        from cuda.core import Program  # noqa: F401
        from cuda.pathfinder import find_nvidia_header_directory

        if find_nvidia_header_directory("cudart"):
            return ""
        return "the headers of the CUDA runtime are not installed"
    except ImportError as error:
        return f"NVRTC is not installed (pip install minitorch[cuda-check]): {error}"


def compile(source: str, architecture: str) -> dict[str, Needs]:
    """What each kernel of the source needs. Raises an exception with the compiler's words."""
    from cuda.core import Program, ProgramOptions
    from cuda.pathfinder import find_nvidia_header_directory

    options = ProgramOptions(
        arch=architecture,
        std="c++17",
        ptxas_options=["-v"],
        include_path=[find_nvidia_header_directory("cudart")],
    )
    log = io.StringIO()
    Program(source, "c++", options).compile("cubin", logs=log)
    return read_log(log.getvalue())


def read_log(log: str) -> dict[str, Needs]:
    """The numbers of ptxas -v, kernel by kernel."""
    needs = {}
    for part in log.split("Compiling entry function ")[1:]:
        spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", part)
        registers = re.search(r"Used (\d+) registers", part)[1]
        shared = re.search(r"(\d+) bytes smem", part)
        kernel = re.match(r"'(\w+)'", part)[1]
        needs[kernel] = Needs(
            int(registers), sum(map(int, spills)), int(shared[1]) if shared else 0
        )
    return needs
