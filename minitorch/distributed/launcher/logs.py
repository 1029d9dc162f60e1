"""The files of one run: what the workers print, and what `record` writes of their errors.

    <log-dir>/<run id>_<random>/attempt_<restart>/<local rank>/{stdout.log,stderr.log,error.json}

Without --log-dir they lie in a temporary folder. That is removed at the end, however the job ends,
unless the job has failed and somebody wanted its output in files.

PyTorch: DefaultLogsSpecs in torch/distributed/elastic/multiprocessing/api.py
"""

import os
import re
import shutil
import tempfile

from minitorch.distributed.launcher.job import Logs

STREAMS = {"stdout": 1, "stderr": 2}  # their bits in --redirects and --tee


class LogFolder:
    """Where the workers of one node leave what they say."""

    def __init__(self, logs: Logs, run_id: str):
        """Make the folder. Raises OSError if that is not possible."""
        self._logs = logs
        self.is_temporary = logs.folder is None
        self.has_output = bool(logs.redirects or logs.tee)
        if logs.folder is not None:
            os.makedirs(logs.folder, exist_ok=True)
        name = re.sub(r"[^\w.-]", "_", run_id)
        prefix = f"{name}_" if logs.folder else "minitorchrun-"
        self.path = tempfile.mkdtemp(prefix=prefix, dir=logs.folder)

    def error_file(self, attempt: int, local_rank: int) -> str:
        """Where a worker writes its error.json; its folder is made."""
        folder = os.path.join(self.path, f"attempt_{attempt}", str(local_rank))
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, "error.json")

    def destination(self, error_file: str, local_rank: int, stream: str) -> tuple[str | None, bool]:
        """The file for a stream of a worker, or None, and whether it goes to the console too."""
        bit = STREAMS[stream]
        teed = bool(_of(self._logs.tee, local_rank) & bit)
        redirected = bool(_of(self._logs.redirects, local_rank) & bit)
        shown = self._logs.shown is None or local_rank in self._logs.shown
        path = os.path.join(os.path.dirname(error_file), f"{stream}.log")
        return path if teed or redirected else None, shown and (teed or not redirected)

    def takes(self, local_rank: int) -> bool:
        """Whether anything that this worker prints does not simply go to the console."""
        hidden = self._logs.shown is not None and local_rank not in self._logs.shown
        chosen = _of(self._logs.tee, local_rank) | _of(self._logs.redirects, local_rank)
        return hidden or bool(chosen)

    def close(self, success: bool) -> str | None:
        """Remove what is of no use any more; the folder, if there are logs of a failed job in it
        that nobody would know of."""
        if self.is_temporary:
            if not success and self.has_output:
                return self.path
            shutil.rmtree(self.path, ignore_errors=True)
        return None


def _of(choice: dict[int | None, int], local_rank: int) -> int:
    return choice.get(local_rank, choice.get(None, 0))
