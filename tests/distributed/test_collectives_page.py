"""docs/collectives.md shows what the formulas in the code say now."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]
UPDATE = "run `python benchmarks/collective_model.py`, and copy the table into docs/collectives.md"


def script():
    path = ROOT / "benchmarks" / "collective_model.py"
    spec = importlib.util.spec_from_file_location("collective_model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_and_the_pictures_are_up_to_date():
    model = script()
    page = (ROOT / "docs" / "collectives.md").read_text()
    assert model.crossover_table() in page, UPDATE
    for name, svg in model.draw().items():
        assert (ROOT / "docs" / name).read_text() == svg, UPDATE
        assert f"({name})" in page
