"""Split a network by layers over the ranks, and keep them busy with micro-batches.

    minitorchrun --nproc_per_node 2 examples/pipeline_parallel.py
    minitorchrun --nproc_per_node 4 examples/pipeline_parallel.py --microbatches 16

Each rank has a few layers. It prints what GPipe and 1F1B do when, as they were planned and as they
were measured, and how long the ranks were idle: a row for each rank, a column for each stretch of
time, F3 and B3 the forward and the backward of micro-batch 3, dots for waiting. Last it compares
the weights with those of the same training on one process.

With ranks enough for the processors, what is measured looks like what was planned. With more, the
ranks also wait for each other's processor, and the measured bubble is larger.
"""

import argparse

import minitorch as torch
from minitorch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe, actions

nn, dist = torch.nn, torch.distributed
STEPS = 4


def layers_of(ranks, width):
    """The network, a list of as many equal parts as there are ranks; the same on each."""
    torch.manual_seed(0)
    parts = []
    for _ in range(ranks):
        layers = [layer for _ in range(4) for layer in (nn.Linear(width, width), nn.Tanh())]
        parts.append(nn.Sequential(*layers))
    return parts


def batches_of(size, width):
    torch.manual_seed(1)
    return [(torch.randn(size, width), torch.randn(size, width)) for _ in range(STEPS)]


def train_alone(parts, batches):
    model = nn.Sequential(*parts)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for x, target in batches:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), target).backward()
        optimizer.step()


def train_in_a_pipeline(part, kind, microbatches, batches):
    """Train this rank's part; returns the schedule, which knows the times of its last step."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    stage = PipelineStage(part, rank, ranks, torch.device("cpu"))
    schedule = kind(stage, microbatches, loss_fn=nn.functional.mse_loss)
    optimizer = torch.optim.SGD(part.parameters(), lr=0.1, momentum=0.9)
    for x, target in batches:
        optimizer.zero_grad()
        dist.barrier()
        # Only the first rank needs the input, only the last the target.
        schedule.step(*([x] if rank == 0 else []), target=target if rank == ranks - 1 else None)
        optimizer.step()
    return schedule


def report(schedule):
    """On rank 0: both pictures, and both bubbles."""
    everyone = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, schedule.spans)
    if dist.get_rank():
        return
    times = {"F": 0.0, "B": 0.0}
    for spans in everyone:
        for action, start, end in spans:
            times[action.kind] += end - start
    ratio = times["B"] / times["F"]
    orders = list(schedule.pipeline_order.values())
    plan = actions.timeline(orders, 1, ratio)
    print(f"\n{type(schedule).__name__}: planned\n")
    print(actions.picture(orders, 1, max(1, round(ratio))))
    print("\nmeasured\n")
    print(picture_of(everyone))
    print(f"\nbubble: {actions.bubble(plan):.0%} planned, {actions.bubble(everyone):.0%} measured")
    alive = [actions.most_alive(order) for order in orders]
    print(f"micro-batches whose activations a rank keeps: {alive}")


def picture_of(everyone, columns=30):
    """The measured times on a grid: what a rank did in the middle of each stretch of time."""
    start = min(span.start for spans in everyone for span in spans)
    end = max(span.end for spans in everyone for span in spans)
    lines = []
    for rank, spans in enumerate(everyone):
        row = []
        for column in range(columns):
            now = start + (end - start) * (column + 0.5) / columns
            doing = [s.action for s in spans if s.start <= now < s.end]
            row.append(f"{doing[0].kind}{doing[0].microbatch}" if doing else ".")
        lines.append(f"rank {rank}  " + " ".join(f"{entry:<3}" for entry in row))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--microbatches", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--width", type=int, default=256)
    args = parser.parse_args()

    dist.init_process_group()
    torch.set_num_threads(1)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    batches = batches_of(args.batch, args.width)
    expected = layers_of(ranks, args.width)
    train_alone(expected, batches)

    for kind in (ScheduleGPipe, Schedule1F1B):
        part = layers_of(ranks, args.width)[rank]
        report(train_in_a_pipeline(part, kind, args.microbatches, batches))
        pairs = zip(part.parameters(), expected[rank].parameters(), strict=True)
        difference = torch.stack([(p - q).abs().max() for p, q in pairs]).max()
        dist.all_reduce(difference, dist.ReduceOp.MAX)
        if rank == 0:
            print(f"largest difference from one process, of any weight: {difference.item():.1e}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
