"""Random programs of collectives give what Gloo and NumPy give, whichever algorithms they take."""

import pytest

from .random_programs import check_programs


@pytest.mark.parametrize("ranks", [2, 3])
def test_some(ranks):
    counts = check_programs(ranks, seed=0, count=120)
    assert counts["calls"] > 200 and counts["compared with Gloo"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3, 4, 5, 8])
def test_many(ranks):
    check_programs(ranks, seed=1_000_000, count=1000)
