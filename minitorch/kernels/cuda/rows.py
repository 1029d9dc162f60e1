"""How many threads share a row, and how many rows a block has: rows.cuh."""

from __future__ import annotations

MOST = 512  # threads of a team: rows.cuh's
LOADS = {2: 2, 4: 4, 8: 1}  # for each itemsize, of 16 bytes each, that a thread keeps: rows.cuh's
SHORT, STRIDED = 256, 64  # threads of a block with several rows


def row_grid(rows: int, n: int, inner: int, itemsize: int) -> tuple[int, tuple[int, int]]:
    """Blocks, and (threads of a team, teams) of each, for rows of n elements.

    First the lanes of a warp have 16 bytes each, then more until they have their share, and then
    there are more warps. Rows along another axis than the last (inner > 1) have a thread each, in
    small blocks, so that few rows keep many processors busy.
    """
    if inner > 1:
        team, threads = 1, STRIDED
    else:
        vectors = -(-n * itemsize // 16)
        wanted = max(min(vectors, 32), -(-vectors // LOADS[itemsize]))
        team = min(1 << (wanted - 1).bit_length(), MOST)
        threads = max(team, SHORT) if team <= 32 else team
    return -(-rows * team // threads), (team, threads // team)
