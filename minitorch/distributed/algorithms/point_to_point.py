"""Send and receive between two ranks: no algorithm, but the same pieces."""

import numpy as np

from minitorch.distributed.algorithms.pieces import fetch, pieces_of
from minitorch.distributed.link import Link, Steps


def send(link: Link, data: np.ndarray, destination: int) -> Steps:
    """Send `data` to one rank, in segments; complete at once, whether or not it is awaited yet."""
    for segment in pieces_of(data, link):
        link.send(destination, segment)
    return
    yield


def recv(link: Link, data: np.ndarray, source: int) -> Steps:
    """Receive `data` from one rank; if `source` is ANY, from the first that sends."""
    for segment in pieces_of(data, link):
        yield from fetch(link, source, segment)
        source = link.source
