"""Device "cuda" in tests: two emulated GPUs, whatever the machine has, or real ones (gpus.py)."""

import pytest

from minitorch.cuda import emulator, runtime

from . import gpus

# Files and tests that are about the emulator alone, or that a real GPU would not survive.
OF_THE_EMULATOR = {
    "test_benchmark.py",
    "test_cuda_page.py",
    "test_emulator.py",
    "test_emulator_compiler.py",
    "test_emulator_faults.py",
    "test_emulator_interrupt.py",
    "test_emulator_races.py",
    "test_strictness.py",
    "test_a_late_gpu_keeps_nobody_waiting",
    "test_a_script_that_insists_on_nccl",
    "test_a_target_that_is_no_class_is_found_on_the_device",
    "test_an_address_in_a_table_must_be_an_arrays",
    "test_by_hand",
    "test_launchers",
    "test_memory_in_use_before_it_was_watched",
    "test_spawn",
    "test_what_is_asked_of_a_gpu",
}
TWO_GPUS = {
    "test_a_model_on_two_gpus",
    "test_defaults",
    "test_memory_in_words",
    "test_modules_move",
    "test_new_tensors",
    "test_only_numbers_may_be_elsewhere",
    "test_streams",
}


def why_not(test: pytest.Item) -> str:
    """Why a test cannot run on real GPUs; empty if it can. RuntimeError if there is no GPU."""
    names = {test.path.name, test.originalname}
    if names & OF_THE_EMULATOR:
        return "it tests the emulator"
    runtime.library()
    return "it needs two GPUs" if names & TWO_GPUS and gpus.COUNT < 2 else ""


@pytest.fixture(autouse=True)
def two_gpus(request, monkeypatch):
    if gpus.REAL:
        if reason := why_not(request.node):
            pytest.skip(reason)
        yield
        return
    monkeypatch.setenv(runtime.VARIABLE, "emulate:2")
    caches = runtime.found, emulator.count
    for cache in caches:
        cache.cache_clear()
    yield
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()
