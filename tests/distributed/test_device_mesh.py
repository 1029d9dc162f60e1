"""DeviceMesh: what every rank sees of a grid, beside PyTorch's over Gloo."""

import tempfile

import pytest

from .harness import run_ranks


def seen(dist):
    """What a rank sees of a 2 x 2 mesh of 4 ranks, and of parts and relatives of it."""
    torch_or_us = dist.device_mesh
    mesh = dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    cube = torch_or_us.DeviceMesh("cpu", [[[0], [2]], [[1], [3]]], mesh_dim_names=("a", "b", "c"))
    part = torch_or_us.DeviceMesh("cpu", [3, 1])
    found = []
    for m in (mesh, mesh["tp"], mesh["dp"], mesh["dp", "tp"], cube, cube["a", "c"]):
        names = m.mesh_dim_names
        found += [m.shape, m.ndim, m.size(), names, m.mesh.tolist(), m.get_coordinate()]
        found += [str(m.mesh.dtype), m.device_type, m.get_rank()]
        for dim, name in enumerate(names):
            found += [m.size(dim), m.get_local_rank(dim), m.get_local_rank(name)]
            found.append(dist.get_process_group_ranks(m.get_group(name)))
        found += [dist.get_process_group_ranks(g) for g in m.get_all_groups()]
    found += [part.shape, part.get_coordinate(), mesh["tp"].get_local_rank()]
    found += [mesh == dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))]
    found += [mesh == mesh["tp"], len({mesh, mesh["dp", "tp"]})]
    flat = mesh._flatten("all")
    found += [flat.mesh.tolist(), dist.get_process_group_ranks(flat.get_group())]

    again = torch_or_us.DeviceMesh.from_group(mesh.get_group("tp"), "cpu")
    found += [again.mesh.tolist(), again.get_group() is mesh.get_group("tp")]
    both = torch_or_us.DeviceMesh.from_group(
        mesh.get_all_groups(), "cpu", mesh=[[0, 1], [2, 3]], mesh_dim_names=("x", "y")
    )
    found += [both["y"].mesh.tolist(), both.shape]
    return found


def errors(dist):
    """(type, first words) of each mistake."""
    DeviceMesh, init = dist.device_mesh.DeviceMesh, dist.init_device_mesh
    mesh = init("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    nameless = init("cpu", (2, 2))
    tp, dp = mesh.get_group("tp"), mesh.get_group("dp")
    found = []
    for call in (
        lambda: init("cpu", (2, 2), mesh_dim_names=("dp",)),
        lambda: init("cpu", (2, 2), mesh_dim_names=("dp", "dp")),
        lambda: init("cuda:0", (2, 2)),
        lambda: init("cpu", (3, 2)),
        lambda: nameless["dp"],
        lambda: mesh["pp"],
        lambda: mesh["tp", "dp"],
        lambda: mesh.get_group(),
        lambda: mesh.get_local_rank(),
        lambda: mesh.get_group("pp"),
        lambda: DeviceMesh.from_group([tp, dp], "cpu"),
        lambda: DeviceMesh.from_group([tp, dp], "cpu", mesh=[0, 1], mesh_dim_names=("a", "b")),
        lambda: DeviceMesh.from_group(tp, "cpu", mesh=[0, 1, 2, 3]),
    ):
        try:
            found.append(("no error", str(call())))
        except Exception as error:
            found.append((type(error).__name__, str(error)))
    return found


def ours(rank, world_size):
    import minitorch.distributed as dist

    with pytest.raises(ValueError, match=r"once, got \[0, 1, 1\]: \[1\] more than once"):
        dist.DeviceMesh("cpu", [0, 1, 1])
    part = dist.DeviceMesh("cpu", [3, 1])
    if rank in (0, 2):
        with pytest.raises(RuntimeError, match=rf"rank {rank} is not part of DeviceMesh\(\(2,\)"):
            part.get_group()
    else:  # along a line ranks count in the mesh's order
        assert part.get_local_rank() == part.get_coordinate()[0] == [3, 1].index(rank)
    with part as entered:
        assert dist.device_mesh.current_mesh() is entered is part
    with pytest.raises(ValueError, match="Invalid mesh"):
        dist.DeviceMesh.from_group(dist.group.WORLD, "cpu", mesh=[3, 2, 1, 0])
    return seen(dist), errors(dist)


def theirs(rank, world_size, path):
    import torch.distributed as dist

    dist.init_process_group("gloo", f"file://{path}", rank=rank, world_size=world_size)
    return seen(dist), errors(dist)


def test_as_pytorch():
    with tempfile.TemporaryDirectory() as folder:
        expected = run_ranks(theirs, 4, f"{folder}/store", process_group=False, timeout=120)
    for rank, ((mine, my_errors), (other, their_errors)) in enumerate(
        zip(run_ranks(ours, 4, method="forkserver"), expected, strict=True)
    ):
        assert mine == other, rank
        for (kind, text), (their_kind, their_text) in zip(my_errors, their_errors, strict=True):
            assert kind == their_kind != "no error", (text, their_text)


def whole_world(rank, world_size):
    """A mesh of all ranks uses the default group; without one it joins it."""
    import os

    import minitorch.distributed as dist

    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    mesh = dist.init_device_mesh("cpu", (1,))
    assert mesh.get_group() is dist.group.WORLD and dist.get_pg_count() == 1
    return repr(mesh)


def test_joins_the_default_group():
    assert run_ranks(whole_world, 1, process_group=False) == ["DeviceMesh((1,), 'cpu')"]
