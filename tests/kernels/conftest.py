import pytest

from minitorch import kernels


@pytest.fixture
def two_threads():
    before = kernels.get_num_threads()
    kernels.set_num_threads(2)
    yield
    kernels.set_num_threads(before)
