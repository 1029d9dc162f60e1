"""The coordinator's decisions, as conversations: what the launchers say, and what it writes.

No processes and no clock: `Talk` plays the launchers, and time is an argument. What the same does
between real processes is in test_run_nodes.py and test_run_restarts.py.
"""

import pytest

from minitorch.distributed.launcher.coordinator import Coordinator, Member
from minitorch.distributed.launcher.failure import Failure, root_cause
from minitorch.distributed.launcher.job import Job, Timeouts

LIMITS = Timeouts(join=100, last_call=10, silence=5)


class Talk:
    """A coordinator, and what the launchers tell it."""

    def __init__(self, nnodes="2", **options):
        self.nnodes = nnodes if ":" in nnodes else f"{nnodes}:{nnodes}"
        low, high = map(int, self.nnodes.split(":"))
        options.setdefault("node_rank", None)
        job = Job("x.py", min_nodes=low, max_nodes=high, timeouts=LIMITS, **options)
        self.coordinator = Coordinator(job, "host:1", 0.0)
        self.now = 0.0
        self._read = 0

    def ready(self, number, node_rank=None, nnodes=None, run_id="none"):
        name = f"process {number} on host"
        about = [number, name, 1, "default", nnodes or self.nnodes, run_id, node_rank, number == 1]
        about = dict(zip(Member.__dataclass_fields__, about, strict=False))
        self.say("ready", number, about=about)

    def say(self, kind, number, **more):
        self.coordinator.hear({"kind": kind, "id": number, **more}, self.now)

    def failed(self, number, rank, returncode=1, said="", round=0):
        failure = Failure(rank, 100 + rank, returncode, said).__dict__
        self.say("failed", number, failure=failure, round=round)

    def beat(self):
        for number in self.coordinator.members:
            self.say("beat", number)

    def pages(self, gone=(), after=0.0):
        """What is written when so many seconds have passed."""
        for _ in range(int(after)):  # everybody gives signs of life
            self.now += 1
            self.beat()
            self.coordinator.look([], self.now)
        self.coordinator.look(gone, self.now)
        new = self.coordinator.journal[self._read :]
        self._read += len(new)
        return new

    def kinds(self, **options):
        return [page["kind"] for page in self.pages(**options)]


def seats(page):
    assert page["kind"] == "round", page
    return [seat["id"] for seat in page["seats"]]


def running(nnodes="2", count=2, **options):
    """A conversation in which a round has begun."""
    talk = Talk(nnodes, **options)
    for number in range(1, count + 1):
        talk.ready(number, number - 1 if options.get("node_rank") is not None else None)
    assert talk.kinds(after=0 if ":" not in nnodes else 11)[-1] == "round"
    return talk


PEER = "torch.distributed.DistNetworkError: rank 0 has lost rank 1"


def test_a_round_begins_when_all_have_come_and_ends_when_all_are_through():
    talk = Talk("2")
    talk.ready(2)
    assert talk.pages() == [{"kind": "waiting", "missing": "1 of 2 nodes at host:1"}]
    talk.ready(1)
    (page,) = talk.pages()
    assert seats(page) == [1, 2]  # who serves the store is first
    talk.say("idle", 1, round=0)
    assert talk.pages() == []
    talk.say("idle", 2, round=0)
    (end,) = talk.pages()
    assert (end["kind"], end["exit_code"]) == ("end", 0)


def test_static_ranks_are_kept_and_the_missing_ones_named():
    talk = Talk("3", node_rank=0)
    talk.ready(1, 0)
    talk.ready(2, 2)
    assert talk.pages()[-1]["missing"] == "1 of 3 nodes at host:1: node 1"
    talk.ready(3, 1)
    assert seats(talk.pages()[-1]) == [1, 3, 2]


def test_join_timeout_names_what_is_missing():
    talk = Talk("3", node_rank=0)
    talk.ready(1, 0)
    assert talk.kinds(after=99) == ["waiting"]
    *_, end = talk.pages(after=2)
    assert end["exit_code"] == 1
    assert end["why"].startswith("2 of 3 nodes at host:1: node 1, 2 did not come within 100 s")


def test_last_call():
    talk = Talk("1:3")
    talk.ready(1)
    assert talk.pages()[0]["missing"] == "2 of 3 nodes at host:1"
    talk.ready(2)
    assert talk.kinds(after=9) == ["waiting"]
    assert seats(talk.pages(after=2)[-1]) == [1, 2]

    talk = Talk("1:2")
    talk.ready(1)
    talk.ready(2)
    assert talk.kinds()[-1] == "round"  # nobody else could come


def test_failures_are_ordered_as_the_store_received_them():
    """Not by clocks: node 2's comes first here, whatever its machine thinks that the time is."""
    talk = running()
    talk.failed(2, 1)
    talk.failed(1, 0)
    (end,) = talk.pages()
    assert end["exit_code"] == 1 and [f["rank"] for f in end["failures"]] == [1, 0]
    assert root_cause([Failure(**f) for f in end["failures"]]).rank == 1


def test_a_complaint_is_not_the_root_cause_even_if_it_comes_first_and_from_another_node():
    talk = running()
    talk.failed(1, 0, said=PEER)
    assert talk.pages(after=1) == []
    talk.failed(2, 1, returncode=77, said="ValueError: x")
    (end,) = talk.pages()
    assert end["exit_code"] == 77 and end["why"] == "rank 1 (pid 101) ended with exit code 77"


def test_a_complaint_alone_ends_the_job_after_a_while():
    talk = running()
    talk.failed(1, 0, said=PEER)
    assert talk.pages(after=1) == []
    (end,) = talk.pages(after=2)
    assert end["exit_code"] == 1


def test_a_killed_worker_waits_for_a_witness_of_another_node():
    talk = running()
    talk.failed(2, 1, returncode=-9)
    assert talk.pages(after=2) == []
    talk.failed(1, 0, said=PEER)
    (end,) = talk.pages()
    assert end["exit_code"] == 137 and len(end["failures"]) == 2


def test_restarts_are_counted_and_old_news_ignored():
    talk = running(max_restarts=1)
    talk.failed(1, 0)
    (page,) = talk.pages()
    assert (page["kind"], page["why"]) == ("restart", "restart 1 of 1")
    talk.failed(2, 1)  # of the round that is over
    talk.ready(1)
    assert "round" not in talk.kinds()  # node 2 still stops its workers
    talk.ready(2)
    page = talk.pages()[-1]
    assert seats(page) == [1, 2] and page["round"] == 1
    talk.failed(2, 1, returncode=9)  # of the round before
    assert talk.pages() == []
    talk.failed(2, 1, round=1, returncode=5)
    (end,) = talk.pages()
    assert (end["kind"], end["exit_code"]) == ("end", 5)


@pytest.mark.parametrize("restarts, kind", [(0, "end"), (1, "restart")])
def test_a_node_that_is_gone(restarts, kind):
    talk = running(max_restarts=restarts)
    (page,) = talk.pages(gone=[2])
    assert page["kind"] == kind
    (failure,) = page["failures"]
    assert failure["launcher"].startswith("the launcher of node 1 (process 2 on host) is gone")


def test_a_silent_node_is_missed():
    talk = running()
    talk.now += 4
    talk.say("beat", 1)
    assert talk.pages() == []
    talk.now += 2
    talk.say("beat", 1)
    (end,) = talk.pages()
    assert "node 1 (process 2 on host) has given no sign of life for 5 s" in end["why"]


def test_with_restarts_left_fewer_nodes_go_on_at_once_or_another_is_waited_for():
    talk = running("1:2", max_restarts=1)
    assert talk.kinds(gone=[2]) == ["restart"]
    talk.ready(1)
    assert seats(talk.pages()[-1]) == [1]

    talk = running("2", max_restarts=1)
    assert talk.kinds(gone=[2]) == ["restart"]
    talk.ready(1)
    assert talk.pages()[-1]["missing"] == "1 of 2 nodes at host:1"
    talk.ready(3)
    assert seats(talk.pages()[-1]) == [1, 3]


def test_ranks_change_little():
    talk = running("3", 3, max_restarts=1)
    talk.ready(4)  # a spare
    talk.pages(gone=[2])
    for number in (3, 1):
        talk.ready(number)
    assert seats(talk.pages()[-1]) == [1, 3, 4]


def test_a_late_node_is_taken_in_without_using_up_a_restart():
    talk = running("1:2", 1)
    talk.ready(2)
    page, *_ = talk.pages()
    assert (page["kind"], page["why"]) == ("restart", "process 2 on host has joined")
    talk.ready(1)
    assert seats(talk.pages()[-1]) == [1, 2]


def test_a_job_that_is_ending_does_not_start_again_for_a_late_node():
    talk = running("1:2", 1)
    talk.say("idle", 1, round=0)
    talk.ready(2)
    assert talk.kinds() == ["end"]


def test_a_node_told_to_end_ends_the_job_unless_fewer_are_enough():
    talk = running("2", max_restarts=1)
    talk.say("leaving", 2, why="was stopped by SIGTERM", exit_code=143)
    (end,) = talk.pages()
    assert (end["kind"], end["exit_code"]) == ("end", 143)

    talk = running("1:2", max_restarts=1)
    talk.say("leaving", 2, why="was stopped by SIGTERM", exit_code=143)
    assert talk.kinds() == ["restart"]


def test_without_the_host_it_is_over():
    talk = running("1:2", max_restarts=1)
    talk.say("leaving", 1, why="was stopped by SIGTERM", exit_code=143)
    (end,) = talk.pages()
    assert (end["kind"], end["exit_code"]) == ("end", 143)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"node_rank": 0}, "node rank 0 at host:1 is taken twice: by process 1 on host and by"),
        ({"node_rank": 1, "nnodes": "3:3"}, "for a job of 3, but the others for one of 2"),
        ({"node_rank": None}, "start all with the same --nnodes and --rdzv_backend"),
        ({"node_rank": 1, "run_id": "b"}, "for the job 'b', but the one there is 'none'"),
    ],
)
def test_who_does_not_fit_in_is_told_and_so_are_the_others(wrong, words):
    talk = Talk("2", node_rank=0)
    talk.ready(1, 0)
    talk.pages()
    talk.ready(2, **wrong)
    refused, end = talk.pages()
    assert refused["id"] == 2 and words in refused["why"] and words in end["why"]


def test_who_comes_late_and_does_not_fit_in_disturbs_nobody():
    talk = running(node_rank=0)
    talk.ready(3, 1)
    assert talk.kinds() == ["refused"]
    talk.say("beat", 3)
    assert talk.kinds() == []
