"""A model in two stages, a batch in two halves, four ranks: pipeline and data parallel at once.

    minitorchrun --nproc_per_node 4 examples/hybrid_parallel.py

                     stage 0    stage 1
                               pp ->
    first half   dp  rank 0 --- rank 1
    of the batch  |    |          |       along a row: activations forward, their gradients back
    second half   v  rank 2 --- rank 3    along a column: the average of the parameters' gradients

Every rank has one stage of the model, and rows 0 and 1 have their own copy. First all by hand, with
nothing but broadcast, send, recv and all_reduce; then with the library's pipeline, which cuts each
half into micro-batches, so that the stages work at the same time. Both are compared with the whole
model on one process. With `torch` for `minitorch` in the imports, the file runs under PyTorch.
"""

import copy

import minitorch as torch

nn, F, dist = torch.nn, torch.nn.functional, torch.distributed
BATCH, WIDTH, CLASSES, STEPS, MICROBATCHES = 64, 64, 10, 8, 4


def build():
    """The stages of the model."""
    return [
        nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.Tanh()),
        nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES)),
    ]


def batches():
    """The same on every rank: (BATCH, WIDTH) and (BATCH)."""
    torch.manual_seed(1)
    for _ in range(STEPS):
        x = torch.randn(BATCH, WIDTH)
        yield x, x[:, :CLASSES].argmax(1)


def same_in_column(stage, mesh):
    """Give all copies of a stage the parameters of the first one."""
    group = mesh.get_group("dp")
    for tensor in stage.state_dict().values():
        dist.broadcast(tensor, src=dist.get_global_rank(group, 0), group=group)


def average_gradients(stage, mesh):
    """What DistributedDataParallel does, without its hurry."""
    for p in stage.parameters():
        dist.all_reduce(p.grad.data, group=mesh.get_group("dp"))
        p.grad.data /= mesh.size(0)


def half(batch, mesh):
    return [t.chunk(mesh.size(0))[mesh.get_local_rank("dp")] for t in batch]


def train_by_hand(stage, mesh):
    """The losses of this row's half: of the last stage only."""
    place, row = mesh.get_local_rank("pp"), mesh.get_group("pp")
    other = dist.get_global_rank(row, 1 - place)  # the other stage's rank in this row
    optimizer = torch.optim.Adam(stage.parameters(), lr=0.01)
    losses = []
    for batch in batches():
        x, target = half(batch, mesh)
        optimizer.zero_grad()
        if place == 0:
            activation = stage(x)
            dist.send(activation.detach(), dst=other)
            grad = torch.empty_like(activation)
            dist.recv(grad, src=other)
            activation.backward(grad)  # where the other stage's backward has stopped
        else:
            activation = torch.empty(len(x), WIDTH)
            dist.recv(activation, src=other)
            activation.requires_grad_()  # a leaf: here the graph is cut
            loss = F.cross_entropy(stage(activation), target)
            loss.backward()
            dist.send(activation.grad, dst=other)
            losses.append(loss.item())
        average_gradients(stage, mesh)
        optimizer.step()
    return losses


def train_with_schedule(stage, mesh):
    """The same with the library's pipeline."""
    from minitorch.distributed.pipelining import PipelineStage, ScheduleGPipe

    place = mesh.get_local_rank("pp")
    part = PipelineStage(stage, place, 2, torch.device("cpu"), group=mesh.get_group("pp"))
    schedule = ScheduleGPipe(part, MICROBATCHES, loss_fn=F.cross_entropy)
    optimizer = torch.optim.Adam(stage.parameters(), lr=0.01)
    history = []
    for batch in batches():
        x, target = half(batch, mesh)
        optimizer.zero_grad()
        losses = []
        if place == 0:
            schedule.step(x)
        else:
            schedule.step(target=target, losses=losses)
            history.append(torch.stack(losses).mean().item())
        average_gradients(stage, mesh)
        optimizer.step()
    return history


def train_whole(stages):
    """The same on one process."""
    model = nn.Sequential(*stages)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for x, target in batches():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return losses


def difference(stage, expected):
    """The largest between two parameters, on any rank."""
    pairs = zip(stage.parameters(), expected.parameters(), strict=True)
    largest = torch.stack([(a - b).detach().abs().max() for a, b in pairs]).max()
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest.item()


def main():
    dist.init_process_group()
    if dist.get_world_size() != 4:
        raise SystemExit("start it with --nproc_per_node 4")
    mesh = dist.device_mesh.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "pp"))
    place = mesh.get_local_rank("pp")

    torch.manual_seed(dist.get_rank())  # every rank begins with something else
    mine = build()[place]
    same_in_column(mine, mesh)

    whole = build()  # for the comparison, all ranks get both stages: from ranks 0 and 1
    for i, stage in enumerate(whole):
        if i == place:
            stage.load_state_dict(mine.state_dict())
        for tensor in stage.state_dict().values():
            dist.broadcast(tensor, src=i)
    expected = train_whole(whole)

    for how, train in (("by hand", train_by_hand), ("GPipe", train_with_schedule)):
        stage = copy.deepcopy(mine)
        losses = torch.tensor(train(stage, mesh) or [0.0] * STEPS)
        # The loss of the batch is the mean of its halves', which rows 0 and 1 have.
        dist.all_reduce(losses, group=mesh.get_group("dp"))
        losses /= 2
        wrong = difference(stage, whole[place])
        if dist.get_rank() == 1:
            print(f"{how + ':':10}", *(f"{loss:.5f}" for loss in losses.tolist()))
            print(f"           after {STEPS} steps parameters differ by at most {wrong:.0e}")
        assert wrong < 1e-5
    if dist.get_rank() == 1:
        print("one rank: ", *(f"{loss:.5f}" for loss in expected))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
