"""Process groups that run on another library's engine: MPI and NCCL.

Each is one class behind the interface of ../backend.py. registry.py imports them when a script asks
for them by name, as they need packages that most machines do not have.

PyTorch: torch/csrc/distributed/c10d/ProcessGroup{MPI,NCCL}.cpp.
"""
