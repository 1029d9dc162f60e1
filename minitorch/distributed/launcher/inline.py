"""--no-spawn: the script in the launcher's own process, as a job of one.

Why it exists: a debugger, a profiler or `breakpoint()` wants one process and its terminal. What a
worker would find in its environment is there, so the script need not know the difference.

PyTorch: has nothing of this.
"""

import os
import runpy
import sys

from minitorch.distributed.launcher.environment import Place, worker_environment
from minitorch.distributed.launcher.job import Job
from minitorch.distributed.store import TCPStore


def run_here(job: Job) -> None:
    """Run the job's script in this process. What it raises, SystemExit as well, is not caught."""
    store = TCPStore("127.0.0.1", 0, is_master=True)
    place = Place(0, (1,), (job.role,), "127.0.0.1", store.port)
    os.environ.update(worker_environment(job, place, 0, error_file=""))
    sys.argv = [job.program, *job.own_arguments(0)]
    try:
        if job.kind == "module":
            sys.path.insert(0, os.getcwd())
            runpy.run_module(job.program, run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, os.path.dirname(os.path.abspath(job.program)))
            runpy.run_path(job.program, run_name="__main__")
    finally:
        store.close()
