"""Makes recordings of runs that never were: of any size, with every number known."""

import json

US = 1000  # nanoseconds


def write_file(folder, rank, events, size=4, host="one", run="r1", **about):
    """A rank's file, as tracing.py writes it. An event: (kind, name, start, end, details)."""
    header = {"trace": 1, "pid": 100 + rank, "host": host, "command": "train.py"}
    header |= {"time_ns": 0, "perf_ns": 0} | about
    lines = [header, {"rank": rank, "size": size, "run": run}]
    for kind, name, start, end, details in events:
        lines.append({"kind": kind, "name": name, "start": start, "end": end} | details)
    path = folder / f"rank{rank}.jsonl"
    folder.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def ring_events(rank, size, number, begin, block=1000, hop=20 * US):
    """What rank `rank` records of a ring all-reduce of `size` blocks; a hop takes `hop`."""
    name, events = f"all_reduce #{number}", []
    about = {"group": 0}
    left, right = (rank - 1) % size, (rank + 1) % size
    for i in range(2 * size - 2):
        at = begin + i * hop
        send = {"peer": right, "bytes": block, "place": (rank - i) % size * block} | about
        events.append(("send", name, at, at, send))
        there = at + hop - 5 * US
        events.append(("receive", name, there, there, {"peer": left, "bytes": block} | about))
        if i < size - 1:
            combine = {"place": (rank - i - 1) % size * block, "bytes": block} | about
            events.append(("combine", name, there, there + 2 * US, combine))
    span = {"op": "all_reduce", "number": number, "dtype": "float32", "bytes": size * block}
    span |= {"reduce": "SUM", "root": None, "members": list(range(size)), "failed": False}
    events.append(("collective", name, begin, begin + (2 * size - 2) * hop, span | about))
    return events


def write_run(folder, size=4, steps=3, ops=20, buckets=3, hidden=True):
    """A run of DDP: in each step a forward, and a backward with buckets; returns how many events.

    Every bucket's all-reduce takes the time of the operations up to the next bucket, so that all
    but the last is hidden; if not `hidden`, the program waits for each.
    """
    count = 0
    for rank in range(size):
        events, now, number = [], 1000 * US + rank * 7 * US, 0
        hop = 10 * US
        ring = (2 * size - 2) * hop
        for _ in range(steps):
            events.append(("forward", "forward", now, now + 400 * US, {}))
            now += 410 * US
            begin = now
            for bucket in range(buckets):
                for i in range(ops // buckets):
                    length = max(ring // (ops // buckets), 1)
                    shape = {"shape": [64, 64]}
                    events.append(("op", f"Op{i}Backward0", now, now + length - 200, shape))
                    now += length
                number += 1
                events.append(("bucket", f"bucket {bucket}", now, now, {"bytes": 4000}))
                events += ring_events(rank, size, number, now, hop=hop)
                if bucket == buckets - 1 or not hidden:
                    wait = ("wait", f"all_reduce #{number}", now, now + ring, {"group": 0})
                    events.append(wait)
                    now += ring
            events.append(("backward", "backward", begin, now, {}))
            now += 50 * US
        count += len(events)
        write_file(folder, rank, events, size)
    return count
