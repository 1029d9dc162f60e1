"""The parts of minitorchrun. To read them in order:

| file | idea |
|---|---|
| `options`, `arguments` | the command line, and the `job` that it asks for |
| `agent` | one job on one node, from start to end: the loop |
| `signals` | what Ctrl-C and kill do to it |
| `meeting`, `nodes` | the launchers of several nodes: where they meet, what they say |
| `coordinator` | who decides for all of them, and how |
| `environment`, `numa` | what a worker is told, and on which processors it runs |
| `workers`, `watchdog` | starting and stopping them; ending them when the launcher is killed |
| `output`, `logs` | what they print: on the console, in files |
| `failure`, `report` | which failure was the first, and how it is told |
| `inline` | --no-spawn: no workers at all |

PyTorch: torch/distributed/elastic/
"""
