"""Where did the ranks part? `python -m minitorch.distributed.flight_recorder FOLDER`

When ranks wait for each other, every one of them looks innocent: it is inside a collective. What
went wrong is only seen by laying the ranks' lists of calls side by side and looking for the first
line where they differ. recorder.py writes the lists; this reads them and says it in a sentence.

PyTorch: torch/distributed/flight_recorder/fr_trace.py.
"""

import json
import os
import sys
from pathlib import Path

from minitorch.distributed.errors import name_ranks
from minitorch.distributed.recorder import VARIABLE, in_words

# From this difference on it is worth saying who came last.
LATE_SECONDS = 1.0


def read(folder: str | os.PathLike) -> dict[int, dict]:
    """The records in a folder, by rank. Raises FileNotFoundError if there is none."""
    records = [json.loads(path.read_text()) for path in Path(folder).glob("rank*.json")]
    if not records:
        raise FileNotFoundError(f"no rank*.json in {folder}: was {VARIABLE} set to it?")
    return {record["rank"]: record for record in sorted(records, key=lambda r: r["rank"])}


def first_divergence(records: dict[int, dict]) -> str:
    """Where the ranks parted, in a sentence.

    Looks at each group's collectives in their order, for the first that is not the same on every
    member, or that somebody has not completed.
    """
    calls: dict[tuple[int, int], dict[int, dict]] = {}
    first: dict[tuple[int, int], int] = {}  # (group, rank) -> its oldest recorded collective
    for rank, record in records.items():
        for entry in record["entries"]:
            if (number := entry["number"]) is not None:
                calls.setdefault((entry["group"], number), {})[rank] = entry
                first.setdefault((entry["group"], rank), number)

    found: list[tuple[float, str]] = []
    done_with: set[int] = set()
    for (group, number), entries in sorted(calls.items()):
        if group in done_with:
            continue
        members = next(iter(entries.values()))["members"]
        if any(first.get((group, rank), 0) > number for rank in members):
            continue  # older than what somebody still remembers
        sentence = _compare(number, group, members, entries, records)
        if sentence:
            done_with.add(group)
            oldest = max(entry["seconds_ago"] for entry in entries.values())
            found.append((-oldest, sentence))
    if found:
        return min(found)[1]
    return "All recorded collectives were the same on every rank, and were completed." + _waits(
        records
    )


def _compare(
    number: int, group: int, members: list[int], entries: dict[int, dict], records: dict[int, dict]
) -> str | None:
    """What is wrong with one collective; None if nothing is."""
    where = f"Collective #{number} of " + (f"group {group}" if group else "the default group")
    said: dict[tuple[str, str], list[int]] = {}
    for rank in members:
        if rank in entries:
            said.setdefault((entries[rank]["call"], entries[rank]["site"]), []).append(rank)
    parts = [f"{name_ranks(ranks)} called {call} at {site}" for (call, site), ranks in said.items()]
    missing = [rank for rank in members if rank not in entries]
    if missing:
        for rank in missing:
            if rank not in records:
                parts.append(f"rank {rank} has left no record")
                continue
            own = [e for e in records[rank]["entries"] if e["group"] == group and e["number"]]
            last = f"its last was {in_words(own[-1])}" if own else "it has called none"
            parts.append(f"rank {rank} did not call it ({last})")
        return f"{where}: {'; '.join(parts)}."
    if len({call for call, _ in said}) > 1:
        return f"{where} differs: {'; '.join(parts)}."
    unfinished = [rank for rank in members if entries[rank]["state"] != "completed"]
    if unfinished:
        begun = {rank: records[rank]["time"] - entries[rank]["seconds_ago"] for rank in members}
        latest = max(members, key=begun.__getitem__)
        late = begun[latest] - min(begun.values())
        if late > LATE_SECONDS:
            parts.append(f"rank {latest} called it {late:.1f} s after the first")
        return f"{where}: {'; '.join(parts)}; it was not completed on {name_ranks(unfinished)}."
    return None


def _waits(records: dict[int, dict]) -> str:
    """The messages that are still waited for."""
    waits = [
        f" Rank {rank} waits in {in_words(entry)}, for "
        + ("any rank." if entry["waits_for"] == -1 else f"rank {entry['waits_for']}.")
        for rank, record in records.items()
        for entry in record["entries"]
        if entry["number"] is None and entry["waits_for"] is not None
    ]
    return "".join(waits)


def main() -> int:
    """The command: prints the first divergence of the records in a folder."""
    if len(sys.argv) != 2:
        print("usage: python -m minitorch.distributed.flight_recorder FOLDER", file=sys.stderr)
        return 2
    try:
        records = read(sys.argv[1])
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(first_divergence(records))
    for rank, record in records.items():
        entries = record["entries"]
        last = in_words(entries[-1]) if entries else "no call"
        print(f"rank {rank} ({record['reason']}): {last}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
