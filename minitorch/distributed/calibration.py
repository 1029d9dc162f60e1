"""What do messages cost here? Measured once, in some 20 milliseconds, when the ranks have met.

All ranks measure at the same time, as they will communicate at the same time: on a host with more
ranks than processors a message takes longer. Rank 0 draws the conclusion and tells it to all, as
the choice of an algorithm must be the same on every rank.

It must also be the same from run to run on one machine, or the last bits of sums would change with
the weather. So a measurement only says by how many powers of ten this machine differs from a
typical one (`rounded`): the typical machine lies in the middle of a step and not at its edge, and
only one that is three times as fast or as slow gets into the next. That is as much as the choice
needs. Near the size at which two algorithms cost the same it does not matter which is taken, and
far from it a factor of two changes nothing.
"""

import json
import math
import os
import time
from collections.abc import Generator

import numpy as np

from minitorch.distributed.algorithms import star, table, tree
from minitorch.distributed.algorithms.costs import CLUSTER, Costs, Wire
from minitorch.distributed.algorithms.pieces import TOKEN
from minitorch.distributed.link import Link, Steps
from minitorch.distributed.message import Fingerprint, checksum
from minitorch.distributed.operation import Operation
from minitorch.distributed.progress import Progress
from minitorch.distributed.store import PrefixStore, Store

TYPICAL = CLUSTER
SMALL_EXCHANGES = 10
LARGE_EXCHANGES = 3
LARGE_BYTES = 1 << 20
PAGE_BYTES = 4096  # for what rank 0 tells


def calibrate(progress: Progress, store: Store, timeout: float) -> None:
    """Measure the prices of messages together with all other ranks; from then on links have them.

    Prices that the store has from an earlier attempt of the same job still hold. Also lets rank 0's
    MINITORCH_ALGORITHM hold for all.
    """
    transport = progress.transport
    store = store_of_the_job(store)
    names = table.names_in(os.environ.get(table.VARIABLE, ""))

    def steps(link: Link) -> Steps:
        measured = yield from measure(link)
        measured[-1] = transport.segment_bytes
        transport.costs = yield from agree(link, measured, names, store)

    operation = Operation(
        Fingerprint("calibration"),  # number 0, before all that the program calls
        np.dtype(np.uint8),
        (0,),
        range(transport.size),
        transport.rank,
        timeout,
        steps,
        transport,
    )
    progress.run(operation)
    if operation.error is not None:
        raise operation.error


def measure(link: Link) -> Generator[int, np.ndarray, np.ndarray]:
    """Latency and seconds per byte within the host, the same between hosts, seconds to combine one.

    Not a number where this rank has no partner to measure with. Neighbours on a host make pairs,
    and so do the first ranks of neighbouring hosts.
    """
    hosts, rank = link.hosts, link.rank
    neighbours = [other for other in range(link.size) if hosts[other] == hosts[rank]]
    leaders = [hosts.index(host) for host in dict.fromkeys(hosts)]
    measured = []
    for group in neighbours, leaders:
        partner = group.index(rank) ^ 1 if rank in group else link.size
        if partner < len(group):
            measured += yield from _exchange(link, group[partner])
        else:
            measured += [math.nan, math.nan]
    return np.array([*measured, _combine(), link.costs.segment])


def agree(
    link: Link, measured: np.ndarray, names: dict[str, str], store: Store | None = None
) -> Generator[int, np.ndarray, Costs]:
    """Rank 0's conclusion from what all have measured; its `names` of algorithms hold for all.

    With a `store` what it concluded there before counts.
    """
    all_measured = np.empty((link.size, len(measured)))
    blocks = list(all_measured.view(np.uint8)) if link.rank == 0 else None
    yield from star.gather(link, blocks, measured.view(np.uint8), 0)
    page = np.full(PAGE_BYTES, ord(" "), np.uint8)
    if link.rank == 0:
        costs = conclusion(all_measured)
        if store is not None:
            costs = kept(costs, link.hosts, store)
        text = json.dumps([costs, names]).encode()
        page[: len(text)] = np.frombuffer(text, np.uint8)
    yield from tree.binomial_broadcast(link, page, 0)
    (within, between, reduce, segment), names = json.loads(page.tobytes())
    table.use(**names)
    return Costs(Wire(*within), Wire(*between), reduce, segment)


def conclusion(measured: np.ndarray) -> Costs:
    """The prices, rounded, from the rows that the ranks have measured."""
    typical = [*TYPICAL.within, *TYPICAL.between, TYPICAL.reduce]
    prices = []
    for column, price in zip(measured[:, :-1].T, typical, strict=True):
        known = column[~np.isnan(column)]
        prices.append(rounded(float(np.median(known)), price) if len(known) else price)
    segment = int(measured[:, -1].min())
    return Costs(Wire(*prices[:2]), Wire(*prices[2:4]), prices[4], segment)


def kept(costs: Costs, hosts: tuple[int, ...], store: Store) -> Costs:
    """The prices of the first attempt of a job on as many ranks and hosts: these, if this is it.

    A launcher's store outlives the attempts, and so a job that is started again after a failure
    adds in the same order as before.
    """
    prices = json.dumps(costs[:-1])
    first = store.compare_set(f"prices {checksum(hosts)}", "", prices)
    within, between, reduce = json.loads(first)
    return Costs(Wire(*within), Wire(*between), reduce, costs.segment)


def store_of_the_job(store: Store) -> Store:
    """The store itself, without the prefix that keeps meetings and attempts apart."""
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return store


def rounded(measured: float, typical: float) -> float:
    """The nearest to `measured` among typical x ..., 0.1, 1, 10, ..."""
    return typical * 10.0 ** round(math.log10(max(measured, 1e-15) / typical))


def _exchange(link: Link, partner: int) -> Generator[int, np.ndarray, list[float]]:
    """Latency and seconds per byte of an exchange with a partner.

    The best of several, which says most about the machine and least about what else it does.
    """
    best = []
    for nbytes, times in (0, SMALL_EXCHANGES), (LARGE_BYTES, LARGE_EXCHANGES):
        data = np.ones(nbytes, np.uint8)
        seconds = []
        for _ in range(times):
            link.send(partner, TOKEN)  # so that both start together
            yield partner
            start = time.perf_counter()
            link.send(partner, data)
            np.copyto(data, (yield partner))
            seconds.append(time.perf_counter() - start)
        best.append(min(seconds))
    latency, large = best
    return [latency, (large - latency) / LARGE_BYTES]


def _combine() -> float:
    """Seconds to add one byte of floats, just received, to others, not seen for a while."""
    data = np.ones((LARGE_EXCHANGES, LARGE_BYTES // 4), np.float32)
    term = np.ones(LARGE_BYTES // 4, np.float32)
    seconds = []
    for piece in data:
        start = time.perf_counter()
        np.add(piece, term, out=piece)
        seconds.append(time.perf_counter() - start)
    return min(seconds) / LARGE_BYTES
