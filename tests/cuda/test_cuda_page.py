"""docs/cuda.md: its code runs, its mistakes are found, and the messages are those on the page.

python -m tests.cuda.test_cuda_page     # writes the present messages into the page
"""

import os
import re
import textwrap
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "cuda.md"
FENCE = re.compile(r"^```(py|cuda|text)\n(.*?)^```$", re.M | re.S)


def play(page):
    """Runs the page's blocks; yields each expected message, its place, and what came."""
    names, message = {}, None
    for block in FENCE.finditer(page):
        kind, text = block.groups()
        if kind == "text":
            yield block, message
            message = None
            continue
        assert message is None, f"the page does not say: {message}"
        if kind == "cuda":
            Path(re.match(r"// (\S+)", text)[1]).write_text(text)
            continue
        try:
            exec(text, names)
        except RuntimeError as error:
            message = f"{type(error).__name__}: {error}"


def shape(message):
    """Without what depends on the order in which the threads happened to run."""
    return re.sub(r"\s+", " ", re.sub(r"\d+", "N", message)).strip()


def test_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = 0
    for block, message in play(PAGE.read_text()):
        assert message is not None, f"no error where the page has {block[2]}"
        assert shape(message) == shape(block[2])
        seen += 1
    assert seen >= 8


def write():
    import tempfile

    os.environ["MINITORCH_CUDA"] = "emulate"
    page = PAGE.read_text()
    os.chdir(tempfile.mkdtemp())
    for block, message in list(play(page))[::-1]:
        lines = "\n".join(textwrap.wrap(message, 96, break_long_words=False))
        page = f"{page[: block.start(2)]}{lines}\n{page[block.end(2) :]}"
    PAGE.write_text(page)


if __name__ == "__main__":
    write()
