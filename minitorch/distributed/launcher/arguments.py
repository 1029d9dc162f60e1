"""From the options of a command line to a Job, or to a ValueError that says what is wrong.

PyTorch: config_from_args in torch/distributed/run.py
"""

import difflib
import glob
import os
import shutil
import signal
from argparse import Namespace

from minitorch.distributed.launcher.job import Job, Logs, Timeouts
from minitorch.distributed.launcher.numa import MODES, processors

C10D_PORT, STATIC_PORT = 29400, 29500


def job_from(options: Namespace) -> Job:
    """The job that these options ask for. Raises ValueError for those that make no sense."""
    _refuse_what_is_not_here(options)
    low, high = _nodes(options.nnodes)
    nproc = _processes(options.nproc_per_node)
    conf = _pairs(options.rdzv_conf)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if options.virtual_local_rank and visible and len(visible.split(",")) < nproc:
        raise ValueError(
            f"--virtual-local-rank gives each of {nproc} workers a GPU of its own, but "
            f"CUDA_VISIBLE_DEVICES is {visible!r}"
        )
    if options.max_restarts < 0 or options.monitor_interval <= 0:
        raise ValueError("--max-restarts must be at least 0, and --monitor-interval above 0")
    shutdown = options.shutdown_timeout
    if shutdown is None:
        shutdown = _number(
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT", os.environ.get("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "30")
        )
    if shutdown < 0:
        raise ValueError(f"--shutdown-timeout must be at least 0, got {shutdown:g}")
    host, port, node_rank = _meeting_point(options, low, high)
    return Job(
        program=options.training_script,
        arguments=tuple(_added(options) + options.training_script_args),
        kind=_kind(options),
        spawn=not options.no_spawn,
        nproc=nproc,
        min_nodes=low,
        max_nodes=high,
        node_rank=node_rank,
        host=host,
        port=port,
        is_host=_switch(conf["is_host"]) if "is_host" in conf else None,
        run_id=options.rdzv_id,
        role=options.role,
        local_addr=options.local_addr,
        max_restarts=options.max_restarts,
        monitor_interval=options.monitor_interval,
        shutdown_timeout=shutdown,
        signals=_signals(options.signals_to_handle),
        timeouts=_timeouts(conf),
        logs=Logs(
            options.log_dir,
            _streams("--redirects", options.redirects),
            _streams("--tee", options.tee),
            _ranks(options.local_ranks_filter),
        ),
        virtual_local_rank=options.virtual_local_rank,
        numa_binding=_binding(options.numa_binding, nproc),
    )


def _refuse_what_is_not_here(options: Namespace) -> None:
    if options.event_log_handler != "null":
        raise ValueError(
            f"--event-log-handler {options.event_log_handler}: no log handlers are registered "
            "here; what happens to the workers is on the launcher's stderr"
        )
    if options.logs_specs:
        raise ValueError(
            f"--logs-specs {options.logs_specs}: classes of PyTorch's are not loaded here; use "
            "--log-dir, --redirects, --tee and --local-ranks-filter"
        )


def _binding(mode: str | None, nproc: int) -> str | None:
    if mode is None:
        return None
    if mode not in MODES:
        choices = ", ".join(f"{name} ({meaning})" for name, meaning in MODES.items())
        raise ValueError(f"--numa-binding must be one of {choices}; got {mode!r}")
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError("--numa-binding needs Linux, which can bind a process to processors")
    for local_rank in range(nproc):
        processors(mode, local_rank, nproc)  # raises ValueError where there are too few
    return mode


def _meeting_point(options: Namespace, low: int, high: int) -> tuple[str, int, int | None]:
    """Host, port, and the node's rank, if it is told."""
    backend, endpoint, port = options.rdzv_backend, options.rdzv_endpoint, options.master_port
    if options.standalone:
        if high > 1:
            raise ValueError(f"--standalone is for one node, and --nnodes is {options.nnodes}")
        return "127.0.0.1", 0, 0
    if backend == "c10d":
        host, port = _endpoint(endpoint or "localhost", C10D_PORT)
        if port == 0 and high > 1:
            raise ValueError(f"--rdzv-endpoint needs a port that all nodes know, got {endpoint!r}")
        return host, port, None
    if backend != "static":
        raise ValueError(f"--rdzv-backend must be static or c10d, got {backend!r}")
    if low != high:
        raise ValueError(
            f"--nnodes {options.nnodes} leaves the number of nodes open, which needs "
            f"--rdzv-backend c10d (static gives each node a rank beforehand)"
        )
    default = 0 if high == 1 else STATIC_PORT
    host = options.master_addr
    if endpoint:
        host, port = _endpoint(endpoint, STATIC_PORT)
    port = default if port is None else port
    if not 0 <= port < 1 << 16 or (port == 0 and high > 1):
        raise ValueError(f"--master-port must be a port that all nodes know, got {port}")
    if not 0 <= options.node_rank < high:
        raise ValueError(
            f"--node-rank counts the {high} nodes from 0 to {high - 1}, got {options.node_rank}"
        )
    return host.strip("[]"), port, options.node_rank


def _endpoint(text: str, default_port: int) -> tuple[str, int]:
    """host, host:port, [ipv6] or [ipv6]:port."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text.strip(), str(default_port)
    if not host or not port.isdigit() or int(port) >= 1 << 16:
        raise ValueError(f"--rdzv-endpoint must be host:port, got {text!r}")
    return host.strip("[]"), int(port)


def _kind(options: Namespace) -> str:
    """How the program is started; it must exist."""
    program = options.training_script
    if options.no_python and options.module:
        raise ValueError("--module needs Python, --no-python excludes it")
    if options.no_python and options.no_spawn:
        raise ValueError("--no-spawn runs a Python script, --no-python excludes it")
    if options.module:
        return "module"
    if options.no_python and not options.run_path:
        if shutil.which(program) is None:
            raise ValueError(f"no such program: {program!r}")
        return "program"
    if not os.path.exists(program):
        folder, name = os.path.split(program)
        files = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
        near = difflib.get_close_matches(name, files, 1)
        guess = f"; did you mean {os.path.join(folder, near[0])}?" if near else ""
        raise ValueError(f"no such script: {program!r} (in {os.getcwd()}){guess}")
    return "path" if options.run_path else "script"


def _added(options: Namespace) -> list[str]:
    """torch.distributed.launch tells the local rank as an argument, too."""
    if getattr(options, "use_env", True):
        return []
    if options.no_python:
        raise ValueError("--no-python needs --use-env: only a Python script takes --local-rank")
    return ["--local-rank=${local_rank}"]


def _nodes(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    if not low.isdigit() or (colon and not high.isdigit()) or not 1 <= int(low) <= int(high or low):
        raise ValueError(f"--nnodes must be a number of at least 1, or MIN:MAX, got {text!r}")
    return int(low), int(high or low)


def _processes(text: str) -> int:
    if text.isdigit() and int(text) > 0:
        return int(text)
    if text == "cpu":
        return os.cpu_count() or 1
    if text == "gpu":
        if _gpus() == 0:
            raise ValueError("--nproc-per-node gpu: no GPU is visible on this machine")
        return _gpus()
    if text == "auto":
        return _gpus() or os.cpu_count() or 1
    raise ValueError(f"--nproc-per-node must be a number above 0, auto, cpu or gpu, got {text!r}")


def _gpus() -> int:
    """GPUs that the workers will see, found without loading a CUDA library in the launcher."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([device for device in chosen.split(",") if device.strip() not in ("", "-1")])
    return len(glob.glob("/dev/nvidia[0-9]*"))


def _pairs(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    for key, equals, value in pairs:
        if not key.strip() or not equals or not value.strip():
            raise ValueError(f"--rdzv-conf must be key=value,key=value,..., got {text!r}")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _timeouts(conf: dict[str, str]) -> Timeouts:
    def seconds(name: str, default: float) -> float:
        value = _number(f"--rdzv-conf {name}", conf[name]) if name in conf else default
        if value <= 0:
            raise ValueError(f"--rdzv-conf {name} must be above 0, got {value:g}")
        return value

    beat, beats = seconds("keep_alive_interval", 2.0), seconds("keep_alive_max_attempt", 5.0)
    join = seconds("join_timeout", seconds("timeout", Timeouts.join))
    return Timeouts(join, seconds("last_call_timeout", Timeouts.last_call), beat * beats)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {text!r}") from None


def _switch(text: str) -> bool:
    return text.lower() in ("1", "true", "t", "yes", "y")


def _signals(text: str) -> tuple[signal.Signals, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in signal.Signals.__members__ or name in ("SIGKILL", "SIGSTOP"):
            raise ValueError(f"--signals-to-handle: {name!r} is no signal that can be handled")
    return tuple(signal.Signals[name] for name in names)


def _streams(option: str, text: str) -> dict[int | None, int]:
    """A number for all local ranks, or a map from local rank to number; those that are not 0."""
    choice: dict[int | None, int] = {}
    for part in text.split(","):
        rank, _, value = part.strip().rpartition(":")
        if value not in ("0", "1", "2", "3") or (rank and not rank.isdigit()):
            raise ValueError(
                f"{option} must be 0, 1 (stdout), 2 (stderr), 3 (both), or a map from local rank "
                f"to one of these, as in 0:1,12:3; got {text!r}"
            )
        if value != "0":
            choice[int(rank) if rank else None] = int(value)
    return choice


def _ranks(text: str) -> frozenset[int] | None:
    if not text:
        return None
    if not all(part.strip().isdigit() for part in text.split(",")):
        raise ValueError(f"--local-ranks-filter must be local ranks, as in 0,3; got {text!r}")
    return frozenset(map(int, text.split(",")))
