"""What a worker is told through its environment.

The names and values are torchrun's, so that a script cannot tell which launcher started it.

PyTorch: torch/distributed/elastic/agent/server/local_elastic_agent.py
"""

import os
import secrets
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Place:
    """Where this node stands in the job, as all nodes have agreed."""

    node_rank: int
    nproc_of_node: tuple[int, ...]  # how many workers each node runs
    master_addr: str
    master_port: int
    run_id: str
    # With it the workers of one node prove to each other who they are (security.py). The launchers
    # of several could tell each other only in the clear, so those need MINITORCH_SECRET_FILE.
    secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)

    @property
    def nproc(self) -> int:
        return self.nproc_of_node[self.node_rank]

    @property
    def first_rank(self) -> int:
        return sum(self.nproc_of_node[: self.node_rank])

    @property
    def world_size(self) -> int:
        return sum(self.nproc_of_node)


def worker_environment(place: Place, local_rank: int, scratch: str) -> dict[str, str]:
    """The environment of one worker: the launcher's own and its place in the job."""
    rank = str(place.first_rank + local_rank)
    own = {
        "RANK": rank,
        "LOCAL_RANK": str(local_rank),
        "WORLD_SIZE": str(place.world_size),
        "LOCAL_WORLD_SIZE": str(place.nproc),
        "GROUP_RANK": str(place.node_rank),
        "GROUP_WORLD_SIZE": str(len(place.nproc_of_node)),
        "ROLE_NAME": "default",
        "ROLE_RANK": rank,
        "ROLE_WORLD_SIZE": str(place.world_size),
        "MASTER_ADDR": place.master_addr,
        "MASTER_PORT": str(place.master_port),
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0",
        "TORCHELASTIC_RUN_ID": place.run_id,
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the launcher serves the store at MASTER_PORT
        "TORCHELASTIC_ERROR_FILE": os.path.join(scratch, f"{local_rank}.json"),
        "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": os.environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
    }
    if len(place.nproc_of_node) == 1 and "MINITORCH_SECRET_FILE" not in os.environ:
        own["MINITORCH_SECRET"] = place.secret
    if place.nproc > 1 and "OMP_NUM_THREADS" not in os.environ:
        # Each worker would otherwise start one thread per core, and they would fight for the cores.
        own["OMP_NUM_THREADS"] = "1"
    return os.environ | own
