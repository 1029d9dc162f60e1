"""python -m minitorch.distributed.launch: minitorchrun for scripts that expect --local-rank.

Why it exists: scripts from before torchrun take their local rank as an argument, --local-rank=N,
and not from the environment; with --use-env this is minitorchrun itself.

PyTorch: torch/distributed/launch.py
"""

import argparse
from collections.abc import Sequence

from minitorch.distributed.launcher.options import Parser
from minitorch.distributed.run import main as run_main


def _parser() -> Parser:
    parser = Parser("python -m minitorch.distributed.launch")
    parser.option("use_env", None, False, "do not add --local-rank=N to the script's arguments")
    return parser


def parse_args(args: Sequence[str] | None) -> argparse.Namespace:
    """The options in `args` (None: those of the command line)."""
    return _parser().parse_args(args)


def main(args: Sequence[str] | None = None) -> None:
    """Run the launcher with these arguments (default: the command line), and exit as it did."""
    run_main(args, _parser())


if __name__ == "__main__":
    main()
