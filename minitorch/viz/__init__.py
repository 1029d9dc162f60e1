"""Pictures of what happens inside: the graph that autograd has recorded, and how backward walks it.

from minitorch import viz
viz.graph(loss, model).save("graph.svg")      # or the last line of a notebook cell
viz.steps(loss, model).save("steps.html")     # step through backward, node by node
"""

from .graph import Graph, graph
from .steps import Steps, steps

__all__ = ["Graph", "Steps", "graph", "steps"]
