"""The timeline of a recorded run: what is read, what is computed from it, and what a page shows."""

import json
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from minitorch.viz import timeline
from minitorch.viz.overlap import both, length, overlap, union, without
from minitorch.viz.recording import TraceError, messages, read
from minitorch.viz.rounds import collectives
from minitorch.viz.rows import MOST_LANES, rows_of
from minitorch.viz.timeline_svg import rounds_svg, step_svg

from .browser import FOUND, Browser
from .traces import US, ring_events, write_file, write_run

in_browser = pytest.mark.skipif(FOUND is None, reason="no chromium or chrome on this machine")


# Reading


def test_events_are_those_recorded_from_zero_on(tmp_path):
    count = write_run(tmp_path)
    recording = read(tmp_path)
    assert recording.count == count and not recording.notes
    assert [p.title for p in recording.processes] == [f"rank {r}" for r in range(4)]
    assert min(e.start for p in recording.processes for e in p.events) == 0
    first = recording.processes[1].events[0]
    assert first == ("forward", "forward", 7 * US, 407 * US, {})


def test_bad_folders_are_told_in_a_sentence(tmp_path):
    def told(folder):
        with pytest.raises(TraceError) as error:
            read(folder)
        return str(error.value)

    assert "gone is no folder: record a run with MINITORCH_TRACE=" in told(tmp_path / "gone")
    assert "holds no trace (no rank*.jsonl or pid*.jsonl)" in told(tmp_path)
    other = tmp_path / "other"
    write_file(other, 0, [])
    assert "nothing was recorded" in told(other)
    write_file(other, 0, ring_events(0, 2, 1, 0))
    with open(other / "rank0.jsonl", "a") as file:
        file.write("what?\n" + json.dumps({"kind": "op", "name": "x", "start": 1, "end": 2}) + "\n")
    assert re.search(r"rank0.jsonl, line 9: not an event: 'what\?'", told(other))
    (other / "rank0.jsonl").write_text('{"rank": 0}\n')
    assert "rank0.jsonl is no trace" in told(other)


def test_two_runs_in_one_folder(tmp_path):
    for rank, run in enumerate(["new", "new", "old"]):
        write_file(tmp_path, rank, ring_events(rank, 2, 1, 0), run=run)
    with pytest.raises(TraceError) as error:
        read(tmp_path)
    assert "2 runs: rank0.jsonl, rank1.jsonl of run new; rank2.jsonl of run old" in str(error.value)


def test_killed_processes(tmp_path):
    """What was written before is shown, and what is missing is said."""
    count = write_run(tmp_path, size=3)
    path = tmp_path / "rank1.jsonl"
    path.write_text(path.read_text()[:-20])
    (tmp_path / "rank2.jsonl").unlink()
    recording = read(tmp_path)
    assert len(recording.processes[1].events) == count // 3 - 1
    assert [note[:39] for note in recording.notes] == [
        "rank 1: its file ends in the middle of ",
        "no events of rank 2 (of 3): killed earl",
    ]


def test_processes_without_a_rank(tmp_path):
    path = write_file(tmp_path, 0, [("op", "MulBackward0", 5, 9, {})])
    lines = path.read_text().split("\n")
    (tmp_path / "pid42.jsonl").write_text("\n".join([lines[0], *lines[2:]]))
    recording = read(tmp_path)
    assert recording.notes[0] == "pid42.jsonl left out: of processes without a rank"
    path.unlink()
    recording = read(tmp_path)
    assert [p.title for p in recording.processes] == ["process 100"] and not recording.notes
    later = [lines[0], lines[2].replace("5", "500").replace("9", "900")]
    (tmp_path / "pid43.jsonl").write_text("\n".join([*later, ""]))
    assert "did not run at the same time" in read(tmp_path).notes[0]


def test_clocks_of_hosts_are_aligned_by_messages(tmp_path):
    """Messages in a ring over three hosts: no pair talks both ways, yet all clocks are found."""
    ahead = [0, 5_000_000, -70_000_000]
    for rank in range(3):
        events = [
            (kind, name, start + ahead[rank], end + ahead[rank], details)
            for number in range(4)
            for kind, name, start, end, details in ring_events(rank, 3, number, number * 10**6)
        ]
        write_file(tmp_path, rank, events, 3, host=f"host{rank}")
    recording = read(tmp_path)
    begins = [p.events[0].start for p in recording.processes]
    # A message takes 15 us, three make a ring: half of 45 us is what cannot be known.
    assert max(begins) - min(begins) <= 23 * US
    assert sorted(re.sub(r"[\d.]+ micro", "22 micro", note) for note in recording.notes) == [
        f"the clock of rank {rank} is right to 22 microseconds" for rank in (1, 2)
    ]
    assert all(e.start <= f.start for _, e, _, f in messages(recording.processes))


def test_clocks_without_messages_go_by_the_time_of_day(tmp_path):
    event = ("op", "x", 10, 20, {})
    write_file(tmp_path, 0, [event], 2, host="a")
    write_file(tmp_path, 1, [event], 2, host="b", time_ns=1000, perf_ns=0)
    recording = read(tmp_path)
    assert [p.events[0].start for p in recording.processes] == [0, 1000]
    assert "time of day" in recording.notes[0]


# Numbers


def test_intervals():
    assert union([(5, 7), (1, 3), (2, 4), (4, 5), (9, 9)]) == [(1, 7)]
    assert both([(1, 5), (6, 9)], [(0, 2), (4, 7), (8, 20)]) == [(1, 2), (4, 5), (6, 7), (8, 9)]
    assert without([(1, 5), (6, 9)], [(1, 2), (4, 5), (7, 8)]) == [(2, 4), (6, 7), (8, 9)]


@pytest.mark.parametrize("hidden, share", [(True, 2 / 3), (False, 0.0)])
def test_the_share_that_is_hidden(tmp_path, hidden, share):
    """Of three buckets the first two are reduced while backward goes on."""
    write_run(tmp_path, hidden=hidden, buckets=3)
    for process in read(tmp_path).processes:
        parts = overlap(process)
        assert parts.share == pytest.approx(share)
        assert length(parts.hidden) + length(parts.exposed) == 3 * 3 * 6 * 10 * US


def test_barriers_and_calibration_are_no_communication(tmp_path):
    events = [
        ("collective", f"{name} #0", 0, 100, {"group": 0}) for name in ("barrier", "calibration")
    ]
    write_file(tmp_path, 0, events)
    assert overlap(read(tmp_path).processes[0]).share is None


def test_events_that_overlap_get_lanes_of_their_own(tmp_path):
    times = [(0, 10), (2, 30), (3, 4), (5, 8), (10, 20), (31, 40)]
    write_file(tmp_path, 0, [("collective", "c", a, b, {"group": 0}) for a, b in times])
    (row,) = rows_of(read(tmp_path).processes[0])
    assert [lane for lane, _ in row.events] == [0, 1, 2, 2, 0, 0] and row.lanes == 3
    write_file(tmp_path, 0, [("collective", "c", a, 100, {"group": 0}) for a in range(20)])
    (row,) = rows_of(read(tmp_path).processes[0])
    assert row.lanes == MOST_LANES and len(row.events) == 20


# Rounds


def test_a_ring_is_replayed_round_by_round(tmp_path):
    """The table at the top of distributed/algorithms/ring.py."""
    for rank in range(3):
        write_file(tmp_path, rank, ring_events(rank, 3, 1, rank * US, block=500), 3)
    (collective,) = collectives(read(tmp_path))
    assert collective.blocks == [0, 500, 1000, 1500] and len(collective.rounds) == 4
    states = [
        ["".join("abc"[b] + str(r) for r in sorted(held)) for b, held in enumerate(state[0])]
        for state in collective.states()
    ]
    assert states == [
        ["a0", "b0", "c0"],
        ["a0", "b0", "c0c2"],
        ["a0", "b0b1b2", "c0c2"],
        ["a0a1a2", "b0b1b2", "c0c2"],
        ["a0a1a2", "b0b1b2", "c0c1c2"],
    ]
    everything = [[{0, 1, 2}] * 3] * 3
    assert list(collective.states()[-1].values()) == everything
    move = collective.rounds[0][0]
    assert (move.source, move.target, move.first, move.last, move.combined) == (0, 1, 0, 0, True)
    assert move.received - move.sent == 15 * US + US  # rank 1 began 1 us later


def test_what_cannot_be_replayed_is_left_out(tmp_path):
    """A collective of which a member's record, or a message's place, is missing."""
    write_file(tmp_path, 0, ring_events(0, 2, 1, 0) + ring_events(0, 2, 2, 10**6), 2)
    other = ring_events(1, 2, 1, 0)
    write_file(tmp_path, 1, other, 2)
    assert [c.name for c in collectives(read(tmp_path))] == ["all_reduce #1"]
    write_file(tmp_path, 1, [(*e[:4], e[4] | {"place": None}) for e in other], 2)
    assert collectives(read(tmp_path)) == []
    write_file(tmp_path, 1, other[:2] + other[-1:], 2)  # messages that nobody received
    assert collectives(read(tmp_path)) == []


# The files


def test_the_chrome_trace_has_all_events(tmp_path):
    count = write_run(tmp_path)
    recording = read(tmp_path)
    events = timeline.chrome_trace(recording)["traceEvents"]
    assert sum(e["ph"] in "Xi" for e in events) == count
    assert {e["args"]["name"] for e in events if e["name"] == "process_name"} == {
        f"rank {rank}" for rank in range(4)
    }
    by_thread: dict = {}  # within a thread, spans must lie one behind the other, or inside
    for e in events:
        if e["ph"] == "X":
            by_thread.setdefault((e["pid"], e["tid"]), []).append((e["ts"], e["ts"] + e["dur"]))
    for spans in by_thread.values():
        spans.sort()
        assert all(b <= c + 1e-6 for (_, b), (c, _) in pairwise(spans))


def test_the_command(tmp_path, capsys):
    write_run(tmp_path / "run")
    page = tmp_path / "page.html"
    assert timeline.main([str(tmp_path / "run"), "-o", str(page)]) == 0
    told = capsys.readouterr().out
    assert "rank 3: 0.5 ms of communication, 67% hidden, 0.2 ms waited for" in told
    assert json.loads(page.with_suffix(".json").read_text())["traceEvents"]
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\((?!#)""", page.read_text())
    assert timeline.main([str(tmp_path / "none")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_pictures(tmp_path):
    write_run(tmp_path / "run", ops=9)
    assert timeline.main([str(tmp_path / "run"), "--svg", str(tmp_path / "step.svg")]) == 0
    step = ElementTree.parse(tmp_path / "step.svg").getroot()
    texts = ["".join(text.itertext()) for text in step.iter("{http://www.w3.org/2000/svg}text")]
    assert {"rank 3", "backward", "0.2 ms of communication, 67% hidden"} < set(texts)
    assert (tmp_path / "step.svg").read_text().count("all_reduce #4, 0.060 ms") == 4
    rounds = (tmp_path / "step-rounds.svg").read_text()
    ElementTree.fromstring(rounds)
    assert rounds.count("after round") == 6 and ">a0+a1<" in rounds
    recording = read(tmp_path / "run")
    with pytest.raises(TraceError, match="there are 3 backward passes"):
        step_svg(recording, 3)
    assert timeline.main([str(tmp_path / "run"), "--svg", "x.svg", "--collective", "y"]) == 1


def test_pictures_of_many_ranks(tmp_path):
    write_run(tmp_path, size=16, steps=1)
    recording = read(tmp_path)
    ElementTree.fromstring(step_svg(recording))
    picture = rounds_svg(collectives(recording)[0])
    ElementTree.fromstring(picture)
    assert ">15∑<" in picture


# In a browser


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


def page_of(folder, **options):
    count = write_run(folder / "run", **options)
    path = folder / "page.html"
    path.write_text(timeline.page(read(folder / "run")))
    return path, count


def drawn(browser):
    return [int(browser.run(f"canvas.dataset.{key}")) for key in ("drawn", "recorded")]


@in_browser
@pytest.mark.parametrize("size", [2, 4, 16])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_shows_every_event(tmp_path, browser, size, dark):
    path, count = page_of(tmp_path, size=size, steps=2)
    browser.errors.clear()
    browser.open(path, dark=dark)
    assert drawn(browser) == [count, count] and browser.errors == []
    assert browser.run("get('share').textContent") == "67%"
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 23, 31)" if dark else "rgb(255, 255, 255)")
    pixels = "canvas.getContext('2d').getImageData(0, 0, canvas.width, 300).data.buffer"
    assert browser.run(f"new Set(new Uint32Array({pixels})).size") > 20  # something is on it
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


@in_browser
def test_moving_about_the_timeline(tmp_path, browser):
    path, count = page_of(tmp_path, steps=3)
    browser.errors.clear()
    browser.open(path)
    span = "(view.end - view.begin) / data.length"
    browser.click("#in")
    assert browser.run(span) == pytest.approx(0.5) and drawn(browser)[0] < count
    browser.click("#all")
    assert browser.run(span) == 1 and drawn(browser)[0] == count
    for number in range(3):
        browser.click("#following")
        begin, end = browser.run(f"data.backwards[{number}]")
        seen = browser.run("[view.begin, view.end]")
        assert seen[0] < begin < end < seen[1] and seen[1] - seen[0] < 1.2 * (end - begin)
    browser.key("p")
    assert browser.run("view.begin < data.backwards[1][0] && view.end < data.backwards[2][1]")
    before = browser.run("view.begin")
    browser.key("ArrowRight")
    assert browser.run("view.begin") > before
    browser.key("0")
    place = browser.run(
        "(() => { const b = canvas.getBoundingClientRect(); return [b.x, b.y]; })()"
    )
    x, y = place[0] + 700, place[1] + 60
    at = browser.run("timeAt(700)")
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-600)
    assert browser.run(span) < 0.5
    assert browser.run("timeAt(700)") == pytest.approx(at, rel=0.02)  # zoomed at the pointer
    begin = browser.run("view.begin")
    browser.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    browser.mouse("mouseMoved", x - 200, y, button="left", buttons=1)
    browser.mouse("mouseReleased", x - 200, y, button="left", clickCount=1)
    assert browser.run("view.begin") > begin
    assert browser.errors == []


@in_browser
def test_an_event_tells_its_exact_times(tmp_path, browser):
    path, _ = page_of(tmp_path, steps=1)
    browser.open(path)
    at = browser.run(
        "(() => { const b = canvas.getBoundingClientRect(), row = rows[0];"
        "return [b.x + across(200000), b.y + row.top + 5]; })()"
    )
    browser.mouse("mouseMoved", *at)
    assert not browser.run("tip.hidden")
    told = browser.run("tip.textContent")
    assert (
        "forward" in told and "rank 0" in told and "0.4000 ms, from 0.000 µs to 0.4000 ms" in told
    )
    browser.mouse("mousePressed", *at, button="left", buttons=1, clickCount=1)
    browser.mouse("mouseReleased", *at, button="left", clickCount=1)
    assert "forward" in browser.run("get('selected').textContent")
    browser.key(".")  # and by keyboard to the next in the row
    assert "backward" in browser.run("get('selected').textContent")
    assert browser.errors == []


@in_browser
@pytest.mark.parametrize("size", [2, 4, 16])
def test_stepping_through_the_ring(tmp_path, browser, size):
    path, _ = page_of(tmp_path, size=size, steps=1)
    browser.errors.clear()
    browser.open(path)
    browser.click("#tab-chunks")
    whole = "+get('holds').dataset.whole"
    assert browser.run(whole) == 0 and browser.run("get('back').disabled")
    rounds = 2 * size - 2
    for number in range(1, rounds + 1):
        browser.click("#next")
        assert browser.run("get('position').textContent") == f"round {number} of {rounds}"
        assert browser.run("document.querySelectorAll('#circle .way').length") == size
        assert browser.run("document.querySelectorAll('#holds .changed').length") == size
        finished = max(0, number - (size - 2)) * size
        assert browser.run(whole) == finished
    assert browser.run(whole) == size * size == browser.run("+get('holds').dataset.cells")
    assert browser.run("get('next').disabled") and "the end" in browser.run(
        "get('sentence').textContent"
    )
    browser.click("#back")
    assert browser.run(whole) == size * (size - 1)
    browser.key("Home")
    assert browser.run(whole) == 0
    browser.click("#play")
    assert "Pause" in browser.run("get('play').textContent")
    browser.run("new Promise(f => setTimeout(f, 1.5 * PLAY_MS))")
    assert browser.run("now") >= 1
    browser.key("End")
    assert browser.run(whole) == size * size and "Play" in browser.run("get('play').textContent")
    assert browser.errors == []


@in_browser
def test_a_message_of_several_blocks(tmp_path, browser):
    """A broadcast in two halves, of which one goes by way of rank 1."""

    def message(kind, peer, at, **place):
        return kind, "broadcast #1", at, at, {"peer": peer, "group": 0} | place

    a, b, both = ({"place": p, "bytes": n} for p, n in ((0, 100), (100, 100), (0, 200)))
    parts = [
        [message("send", 1, 0, **both), message("send", 2, 1, **b)],
        [message("receive", 0, 5, bytes=200), message("send", 2, 6, **a)],
        [message("receive", 0, 5, bytes=100), message("receive", 1, 9, bytes=100)],
    ]
    span = {"op": "broadcast", "number": 1, "bytes": 200, "members": [0, 1, 2], "failed": False}
    for rank, events in enumerate(parts):
        whole = ("collective", "broadcast #1", 0, 10, span | {"group": 0})
        write_file(tmp_path, rank, [*events, whole], 3)
    (tmp_path / "page.html").write_text(timeline.page(read(tmp_path)))
    browser.errors.clear()
    browser.open(tmp_path / "page.html", "#chunks")
    holds = "[...document.querySelectorAll('#holds td')].map(cell => cell.textContent).join('')"
    seen = [browser.run(holds)]
    for _ in range(2):
        browser.click("#next")
        seen.append(browser.run(holds))
    assert seen == ["ab\u2013\u2013\u2013\u2013", "abab\u2013b", "ababab"]
    assert browser.errors == []


@in_browser
def test_the_address_keeps_the_place(tmp_path, browser):
    path, _ = page_of(tmp_path, steps=1)
    browser.open(path, "#chunks/2/3")
    assert browser.run("[call.name, now, get('timeline').hidden]") == ["all_reduce #3", 3, True]
    browser.key("ArrowRight")
    assert browser.run("location.hash") == "#chunks/2/4"


@in_browser
def test_a_hundred_thousand_events(tmp_path, browser):
    path, count = page_of(tmp_path, size=16, steps=24, ops=42)
    assert count > 100_000
    browser.errors.clear()
    browser.open(path)
    assert drawn(browser) == [count, count] and browser.errors == []
    browser.click("#following")
    assert 0 < drawn(browser)[0] < count


@in_browser
def test_nothing_to_replay(tmp_path, browser):
    """A process alone: there is a timeline, and the other view says why it is empty."""
    write_file(tmp_path, 0, [("op", "</script><b>MulBackward0", 5, 9, {})], size=1)
    path = tmp_path / "page.html"
    path.write_text(timeline.page(read(tmp_path)))
    browser.errors.clear()
    browser.open(path, "#chunks")
    assert "all_reduce" in browser.run("get('stage').textContent")
    browser.key("ArrowRight")
    browser.click("#tab-timeline")
    assert drawn(browser) == [1, 1] and browser.errors == []
