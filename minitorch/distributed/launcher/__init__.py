"""The parts of minitorchrun: starting and stopping workers, their output, and the other nodes.

`environment` says what a worker is told, `workers` starts and stops them, `watchdog` ends them if
the launcher is killed, `output` merges what they print, `nodes` keeps the launchers of several
machines together, and `agent` runs one job from start to end. The command line is in `..run`.

PyTorch: torch/distributed/elastic/
"""
