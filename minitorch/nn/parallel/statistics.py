"""What a step of DistributedDataParallel spends its time on, for `_get_ddp_logging_data`.

    forward starts          backward starts       backward ends
    |-- forward_compute_time --|-- backward_compute_time --|
                                  |-- overlap -------------|
                                  |------ backward_comm_time -------|
                                  first bucket starts               last bucket is there

Invariant: only whole steps count; one that failed leaves no trace in the averages.
PyTorch: torch/csrc/distributed/c10d/logger.cpp, which samples one step of a hundred.
"""

from __future__ import annotations

import os
import time
from typing import Any

_NAMES = {"float32": "float", "float64": "double", "float16": "c10::Half"}
_NAMES |= {"bfloat16": "c10::BFloat16"}


class Timing:
    """The moments of the current step, and the sums over all. All in nanoseconds."""

    def __init__(self):
        self.iterations = 0
        self.spans: dict[str, int] = {}  # of the last whole step
        self.sums: dict[str, int] = {}
        self.unused_bytes = 0
        self._forward = self._backward = self._communication = self._computed = 0

    def forward_begins(self) -> None:
        self._forward = time.time_ns()

    def backward_begins(self) -> None:
        self._backward = time.time_ns()
        self._communication = 0

    def communication_begins(self) -> None:
        if not self._communication:
            self._communication = time.time_ns()

    def backward_ends(self) -> None:
        self._computed = time.time_ns()

    def ends(self, unused_bytes: int) -> None:
        now = time.time_ns()
        self.iterations += 1
        self.unused_bytes = unused_bytes
        self.spans = {
            "forward_compute_time": self._backward - self._forward,
            "backward_compute_time": self._computed - self._backward,
            "backward_comm_time": now - self._communication,
            "backward_compute_comm_overlap_time": max(0, self._computed - self._communication),
        }
        for name, span in self.spans.items():
            self.sums[name] = self.sums.get(name, 0) + span
        self._ended = now

    def data(self) -> dict[str, Any]:
        """Under PyTorch's names; without times before the first whole step."""
        data: dict[str, Any] = {
            "iteration": self.iterations,
            "unused_parameter_size": self.unused_bytes,
        }
        if self.iterations:
            data |= self.spans
            data |= {f"avg_{name}": total // self.iterations for name, total in self.sums.items()}
            data |= {
                "forward_compute_time_start": self._forward,
                "backward_compute_time_start": self._backward,
                "backward_comm_time_start": self._communication,
                "backward_compute_time_end": self._computed,
                "backward_comm_time_end": self._ended,
            }
        return data


def statistics(ddp: Any) -> dict[str, Any]:
    """What `_get_ddp_logging_data` returns: arguments, buckets and times, under PyTorch's names."""
    reducer, parameters = ddp.reducer, list(ddp.reducer.names)
    position = {p: i for i, p in enumerate(parameters)}
    dtypes = sorted({p.array.dtype.name for p in parameters})
    sizes = ", ".join(str(bucket.flat.nbytes) for bucket in reducer.buckets)
    data = {
        "module_name": type(ddp.module).__name__,
        "backend_name": ddp.process_group.name(),
        "world_size": ddp.process_group.size(),
        "rank": ddp.process_group.rank(),
        "dtypes": ", ".join(_NAMES.get(name, name) for name in dtypes),
        "device_ids": ", ".join(map(str, ddp.device_ids or ())),
        "output_device": -1 if ddp.output_device is None else ddp.output_device,
        "is_multi_device_module": int(ddp.is_multi_device_module),
        "num_parameter_tensors": len(parameters),
        "total_parameter_size_bytes": sum([p.nbytes for p in parameters]),
        "broadcast_buffers": int(ddp.forward_sync_buffers),
        "bucket_cap_bytes": ddp.bucket_bytes_cap,
        "find_unused_parameters": int(ddp.find_unused_parameters),
        "static_graph": int(ddp.static_graph),
        "gradient_as_bucket_view": int(ddp.gradient_as_bucket_view),
        "has_sync_bn": 0,
        "has_rebuilt_buckets": int(reducer.rebuilt),
        "bucket_sizes": reducer.first_sizes,
        "num_buckets_reduced": len(reducer.buckets) if reducer.timing.iterations else 0,
        "comm_hook": "" if reducer.hook is None else reducer.hook[1].__qualname__,
        "prev_iteration_grad_ready_order_indices": ", ".join(
            str(position[p]) for p in reducer.ready_order
        ),
    }
    if reducer.rebuilt:
        data["rebuilt_bucket_sizes"] = sizes
        data["rebuilt_per_bucket_param_indices"] = ", ".join(
            " ".join(str(position[p]) for p in bucket.parameters) for bucket in reducer.buckets
        )
    for name in ("MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES"):
        data[name.lower()] = os.environ.get(name, "N/A")
    return data | reducer.timing.data()
