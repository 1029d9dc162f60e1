"""Starting launchers in tests, and looking at what they leave behind."""

import contextlib
import gc
import glob
import itertools
import multiprocessing
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection

LAUNCHER = [sys.executable, "-m", "minitorch.distributed.run"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
OURS = re.compile(
    r"^(RANK|WORLD_SIZE|(LOCAL|GROUP|ROLE|MASTER|TORCHELASTIC|OMP|PET|TORCH_NCCL)_.*)$"
)

# Seconds: what should take less than one, on a machine that has other things to do; and less than
# the half minute, or more, for which anything waits that was not told that all is over.
SOON = 25.0

# Below those that the kernel gives to whoever asks for any: there a port that was found free may be
# another's a moment later, as that of a connection that somebody has just opened.
PORTS = itertools.count(random.SystemRandom().randrange(10_000, 30_000))


def environment(**more):
    """The environment without what a launcher or a test runner may have put into it."""
    kept = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    return kept | more


class Forked:
    """minitorchrun in a process forked from one that has imported all of it already, which makes
    most of these tests several times as fast. Has what they need of a subprocess.Popen."""

    def __init__(self, arguments, env, cwd=None):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["minitorch.distributed.run", "pytest"])
        pipes = [os.pipe(), os.pipe()]
        theirs = [Connection(end, readable=False) for _, end in pipes]
        self._process = context.Process(
            target=_be_minitorchrun, args=(arguments, env, cwd, *theirs)
        )
        self._process.start()
        for end in theirs:
            end.close()
        self.stdout, self.stderr = [os.fdopen(end) for end, _ in pipes]
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("minitorchrun", timeout)
        return self.returncode

    def communicate(self, timeout=None):
        """The rest of stdout and stderr, once both have ended."""
        texts = {}

        def collect(name):
            texts[name] = getattr(self, name).read()

        threads = [threading.Thread(target=collect, args=(n,)) for n in ("stdout", "stderr")]
        end = time.monotonic() + (timeout or 3600)
        for thread in threads:
            thread.daemon = True
            thread.start()
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        self.wait(max(0.1, end - time.monotonic()))
        return texts["stdout"], texts["stderr"]

    def send_signal(self, signum):
        if self.returncode is None:
            os.kill(self.pid, signum)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _be_minitorchrun(arguments, env, cwd, stdout, stderr):
    os.environ.clear()
    os.environ.update(env)
    os.dup2(stdout.fileno(), 1)
    os.dup2(stderr.fileno(), 2)
    stdout.close()
    stderr.close()
    os.chdir(cwd or ".")
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    tempfile.tempdir = None
    from minitorch.distributed.run import main

    main(arguments)


@contextlib.contextmanager
def started(*arguments, launcher=None, env=None, cwd=None):
    """A launcher that runs while the test does something to it."""
    env = env or environment()
    if launcher is None:
        process = Forked(arguments, env, cwd)
    else:
        process = subprocess.Popen(
            [*launcher, *arguments],
            env=env,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that a test can interrupt it with its children
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def launch(*arguments, timeout=120, **settings):
    """Run a launcher to its end."""
    with started(*arguments, **settings) as process:
        stdout, stderr = process.communicate(timeout)
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


@contextlib.contextmanager
def nodes(path, *settings, common=(), last=(), env=None):
    """One launcher for each list of options, as if each was on a machine of its own."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(started(*common, *options, path, *last, env=env))
            for options in settings
        ]


def static(count, *more):
    """The options of so many nodes that have been told their ranks."""
    port = free_port()
    common = [f"--nnodes={count}", "--master_addr=127.0.0.1", f"--master_port={port}", *more]
    return [[*common, f"--node_rank={rank}"] for rank in range(count)]


def finish(launchers, timeout=120):
    """Exit code, stdout and stderr of each."""
    results = [process.communicate(timeout=timeout) for process in launchers]
    return [(p.returncode, *result) for p, result in zip(launchers, results, strict=True)]


@contextlib.contextmanager
def place_for_mpi():
    """The variables that give one mpirun a folder of its own, with a short name, which it may leave
    as it is. By default all of a user share one, and each tidies up there when it ends."""
    where = {"prefix": "mpi", "dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None}
    with tempfile.TemporaryDirectory(**where, ignore_cleanup_errors=True) as folder:
        yield {"TMPDIR": folder, "OMPI_MCA_btl_vader_backing_directory": folder}


def free_port():
    """A port at which nobody listens, another one each time."""
    for port in PORTS:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_until(condition, seconds=SOON):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def with_variable(entry):
    """The processes that have NAME=VALUE in their environment."""
    found = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if entry.encode() in file.read().split(b"\0"):
                found.append(int(path.split("/")[2]))
    return found


def memory_files():
    """The files without a name, for shared memory, that this process has open: {number: which}."""
    gc.collect()  # what earlier tests have left may have some
    found = {}
    for entry in os.scandir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one through which we look, closed since
            if os.readlink(entry).startswith("/memfd:"):
                found[entry.name] = os.stat(entry).st_ino
    return found


def read(path):
    with open(path) as file:
        return file.read()


def printed(output, rank):
    """What one rank printed, without its prefix."""
    prefix = f"[rank{rank}] "
    return [line.removeprefix(prefix) for line in output.splitlines() if line.startswith(prefix)]
