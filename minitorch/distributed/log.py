"""What this package has to say besides its errors: one logger, "minitorch.distributed".

Quiet by default: only warnings appear, on stderr, with the rank in front. MINITORCH_LOG=info also
tells how the ranks found and reached each other, MINITORCH_LOG=debug each step of it.

Invariant: a program that has set up `logging` itself is left alone. It gets the records through
the ordinary way, in its own format, and nothing is printed twice.

PyTorch: torch/_logging, TORCH_LOGS and TORCH_CPP_LOG_LEVEL.
"""

import logging
import os

LEVELS = ("debug", "info", "warning", "error", "critical")

logger = logging.getLogger("minitorch.distributed")


class _Handler(logging.StreamHandler):
    """Prints on stderr, unless somebody has asked the root logger to."""

    rank: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        who = "" if self.rank is None else f"[rank {self.rank}] "
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"{who}{level}{text}"


_handler = _Handler()


def set_rank(rank: int) -> None:
    """Which rank this process is, once it knows."""
    _handler.rank = rank


def _set_up() -> None:
    level = os.environ.get("MINITORCH_LOG", "warning").lower()
    if level not in LEVELS:
        raise ValueError(f"MINITORCH_LOG must be one of {', '.join(LEVELS)}, not {level!r}")
    logger.setLevel(level.upper())
    logger.addHandler(_handler)
    if (rank := os.environ.get("RANK", "")).isdigit():  # the launcher has told it
        set_rank(int(rank))


_set_up()
