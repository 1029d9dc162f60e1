"""The places that mpirun and Slurm give to the processes they start, for `env://`.

PyTorch's launcher tells a process its place by RANK, WORLD_SIZE and LOCAL_RANK. mpirun and srun
start one process for each rank as well, and tell it the same under names of their own. So a script
started by them needs no wrapper that translates: where RANK or WORLD_SIZE is missing, this is
looked up.

Invariant: all that is looked up here comes from one family, the first in the table that is there,
and nothing does where RANK is set. mpirun's comes before Slurm's, because mpirun in a Slurm job
starts processes that all see SLURM_PROCID=0.

PyTorch: none; its users write this in their scripts. (Its rendezvous.py has the env:// part.)
"""

from __future__ import annotations

import os
import re

# What the launcher's own RANK, WORLD_SIZE and LOCAL_RANK are called.
FAMILIES = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),  # Open MPI
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),  # MPICH, Intel MPI
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),  # srun
)
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


def setting(name: str) -> str | None:
    """What the environment says of `name`, under that name or as another launcher calls it.

    Of MASTER_ADDR: Slurm's first node, if Slurm says it.
    """
    if os.environ.get(name):
        return os.environ[name]
    if name == "MASTER_ADDR":
        return _first_node(os.environ.get("SLURM_JOB_NODELIST", ""))
    if name in NAMES and not os.environ.get("RANK"):
        for family in FAMILIES:
            if os.environ.get(family[0]):
                return os.environ.get(family[NAMES.index(name)])
    return None


def looked_for(name: str) -> str:
    """For an error: the variables that would have told `name`."""
    if name == "MASTER_ADDR":
        return "nor SLURM_JOB_NODELIST"
    if name in NAMES:
        *most, last = (family[NAMES.index(name)] for family in FAMILIES)
        return f"nor {', '.join(most)} or {last}"
    return "choose a free port, the same for all ranks"


def _first_node(nodes: str) -> str | None:
    """The first of "gpu[07-09,12],cpu1": gpu07."""
    match = re.match(r"([^\[,]+)(?:\[(\w+)[^\]]*\])?([^,]*)", nodes)
    return "".join(part or "" for part in match.groups()) if match else None
