"""Device "cuda" in tests: two emulated GPUs, whatever the machine has."""

import pytest

from minitorch.cuda import emulator, runtime


@pytest.fixture(autouse=True)
def two_emulated_gpus(monkeypatch):
    monkeypatch.setenv(runtime.VARIABLE, "emulate:2")
    caches = runtime.found, emulator.count
    for cache in caches:
        cache.cache_clear()
    yield
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()
