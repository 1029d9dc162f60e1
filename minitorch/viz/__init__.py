"""Pictures of what happens inside: the graph that autograd has recorded, how backward walks it, and
what the ranks of a distributed run did when (`python -m minitorch.viz.timeline`).

from minitorch import viz
viz.graph(loss, model).save("graph.svg")      # or the last line of a notebook cell
viz.steps(loss, model).save("steps.html")     # step through backward, node by node
"""

from .graph import Graph, graph
from .steps import Steps, steps

__all__ = ["Graph", "Steps", "graph", "steps"]
