"""Pipeline parallelism: each rank has some layers, and micro-batches flow through them.

Read actions.py first (the schedules, as lists), then stage.py (forward, backward and messages of
one stage) and schedules.py (one step of training).
PyTorch: torch/distributed/pipelining/.
"""

from .schedules import Schedule1F1B, ScheduleGPipe, ScheduleInterleaved1F1B
from .stage import PipelineStage

__all__ = ["PipelineStage", "Schedule1F1B", "ScheduleGPipe", "ScheduleInterleaved1F1B"]
