"""What a worker is told through its environment.

The names and values are torchrun's, so that a script cannot tell which launcher started it.

PyTorch: torch/distributed/elastic/agent/server/local_elastic_agent.py
"""

import os
import secrets
from dataclasses import dataclass, field

from minitorch.distributed.launcher.job import Job


@dataclass(frozen=True)
class Place:
    """Where this node stands in one round of the job, as all nodes have agreed."""

    node_rank: int
    nproc_of_node: tuple[int, ...]  # how many workers each node runs
    role_of_node: tuple[str, ...]
    master_addr: str
    master_port: int
    round: int = 0  # how often the job has been restarted
    # With it the workers of one node prove to each other who they are (security.py). The launchers
    # of several could tell each other only in the clear, so those need MINITORCH_SECRET_FILE.
    secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)

    @property
    def nproc(self) -> int:
        return self.nproc_of_node[self.node_rank]

    @property
    def role(self) -> str:
        return self.role_of_node[self.node_rank]

    @property
    def first_rank(self) -> int:
        return sum(self.nproc_of_node[: self.node_rank])

    @property
    def world_size(self) -> int:
        return sum(self.nproc_of_node)

    def workers_of_role(self, nodes: int) -> int:
        """How many workers of this node's role the first so many nodes run."""
        pairs = zip(self.nproc_of_node[:nodes], self.role_of_node, strict=False)
        return sum(nproc for nproc, role in pairs if role == self.role)


def worker_environment(job: Job, place: Place, local_rank: int, error_file: str) -> dict[str, str]:
    """The environment of one worker: the launcher's own and its place in the job."""
    nnodes = len(place.nproc_of_node)
    own = {
        "RANK": str(place.first_rank + local_rank),
        "LOCAL_RANK": str(local_rank),
        "WORLD_SIZE": str(place.world_size),
        "LOCAL_WORLD_SIZE": str(place.nproc),
        "GROUP_RANK": str(place.node_rank),
        "GROUP_WORLD_SIZE": str(nnodes),
        "ROLE_NAME": place.role,
        "ROLE_RANK": str(place.workers_of_role(place.node_rank) + local_rank),
        "ROLE_WORLD_SIZE": str(place.workers_of_role(nnodes)),
        "MASTER_ADDR": place.master_addr,
        "MASTER_PORT": str(place.master_port),
        "TORCHELASTIC_RESTART_COUNT": str(place.round),
        "TORCHELASTIC_MAX_RESTARTS": str(job.max_restarts),
        "TORCHELASTIC_RUN_ID": job.run_id,
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the launcher serves the store at MASTER_PORT
        "TORCHELASTIC_ERROR_FILE": error_file,
        "TORCHELASTIC_SIGNALS_TO_HANDLE": ",".join(signum.name for signum in job.signals),
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": os.environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
    }
    if nnodes == 1 and "MINITORCH_SECRET_FILE" not in os.environ:
        own["MINITORCH_SECRET"] = place.secret
    if job.local_addr and "MINITORCH_INTERFACE" not in os.environ:
        own["MINITORCH_INTERFACE"] = job.local_addr
    if place.nproc > 1 and "OMP_NUM_THREADS" not in os.environ:
        # Each worker would otherwise start one thread per core, and they would fight for the cores.
        own["OMP_NUM_THREADS"] = "1"
    if job.virtual_local_rank:  # each worker sees one GPU only, and that as number 0
        own["LOCAL_RANK"] = "0"
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        own["CUDA_VISIBLE_DEVICES"] = visible.split(",")[local_rank] if visible else str(local_rank)
    return os.environ | own
