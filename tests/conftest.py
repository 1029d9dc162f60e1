"""What all tests share: one thread for PyTorch, and how hard hypothesis tries."""

import os

import pytest
import torch
import torch.testing._internal.common_utils  # first: it sets hypothesis' profile to its own
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)

# What several processes print into one pipe arrives in whole lines only where each line is one
# write, as it is by default; this variable makes it two, and other ranks' words come between.
os.environ.pop("PYTHONUNBUFFERED", None)

_common = {"deadline": None, "suppress_health_check": list(HealthCheck)}
# The ordinary run tries the same examples every time; HYPOTHESIS_PROFILE=thorough looks for more.
settings.register_profile("ordinary", max_examples=40, derandomize=True, database=None, **_common)
settings.register_profile("thorough", max_examples=1000, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ordinary"))


@pytest.fixture(params=["minitorch", "torch"])
def T(request):
    """Either package: what holds for PyTorch is asserted for both, so the test itself is tested."""
    if request.param == "torch":
        return torch
    import minitorch

    return minitorch


def pytest_configure(config):
    # As in minitorch/__init__.py, whose filter pytest puts aside.
    config.addinivalue_line("filterwarnings", r"ignore::RuntimeWarning:minitorch\..*")
