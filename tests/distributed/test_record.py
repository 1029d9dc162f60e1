"""@record: the error file is PyTorch's, whoever writes it and whoever reads it."""

import json
import signal
import time

import pytest
import torch.distributed.elastic.multiprocessing.errors as theirs

import minitorch
import minitorch.distributed.elastic.multiprocessing.errors as ours

both = pytest.mark.parametrize("package", [ours, theirs], ids=["minitorch", "torch"])


@pytest.fixture(autouse=True)
def keep_faulthandler(monkeypatch):
    """Which pytest has set up for itself."""
    monkeypatch.setattr("faulthandler.enable", lambda *args, **kwargs: None)


@pytest.fixture
def error_file(tmp_path, monkeypatch):
    path = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(path))
    return path


def fail():
    raise ValueError("why: 'ä'")


def content(package, error_file):
    """What `record` writes, without the time and the lines of the wrapper itself."""
    start = int(time.time())
    with pytest.raises(ValueError, match="why"):
        package.record(fail)()
    written = json.loads(error_file.read_text())
    details = written["message"]["extraInfo"]
    assert start <= int(details.pop("timestamp")) <= time.time()
    assert details["py_callstack"].startswith("Traceback (most recent call last):\n")
    details["py_callstack"] = details["py_callstack"].partition("in fail\n")[2]
    return written


def test_the_file_is_pytorchs(error_file):
    mine = content(ours, error_file)
    assert mine == content(theirs, error_file)
    assert mine["message"]["message"] == "ValueError: why: 'ä'"
    assert mine["message"]["extraInfo"]["py_callstack"].endswith("ValueError: why: 'ä'\n")


@both
def test_without_a_failure_there_is_no_file(package, error_file):
    @package.record
    def main(value):
        """Its own words."""
        return value

    assert main(3) == 3 and main.__doc__ == "Its own words."
    assert package.record(lambda: exit(0))() is None
    for code in (1, None, "words"):
        with pytest.raises(SystemExit):
            package.record(exit)(code)
    with pytest.raises(KeyboardInterrupt):
        package.record(interrupt)()
    assert not error_file.exists()


def interrupt():
    raise KeyboardInterrupt


@both
def test_without_a_place_for_the_file(package, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    with pytest.raises(ValueError, match="why"):
        package.record(fail)()


def test_a_file_that_cannot_be_written_does_not_hide_the_error(error_file):
    error_file.mkdir()
    with pytest.warns(UserWarning, match="cannot write the error file"), pytest.raises(ValueError):
        ours.record(fail)()


@both
def test_a_handler_of_ones_own(package):
    class Handler(package.ErrorHandler):
        said = []

        def initialize(self):
            self.said.append("begin")

        def record_exception(self, e):
            self.said.append(str(e))

    with pytest.raises(ValueError):
        package.record(fail, Handler())()
    assert Handler.said == ["begin", "why: 'ä'"]
    assert type(package.get_error_handler()) is package.ErrorHandler


@pytest.mark.parametrize("writer", [ours, theirs], ids=["by minitorch", "by torch"])
@both
def test_a_failure_is_read(package, writer, error_file):
    with pytest.raises(ValueError):
        writer.record(fail)()
    failure = package.ProcessFailure(1, 42, -9, str(error_file))
    assert failure.message["message"] == "ValueError: why: 'ä'"
    assert abs(failure.timestamp - time.time()) < 60
    assert failure.signal_name() == "SIGKILL"


@both
@pytest.mark.parametrize("exit_code", [-signal.SIGSEGV, 3])
def test_a_failure_without_a_file(package, exit_code, tmp_path):
    failure = package.ProcessFailure(1, 42, exit_code, str(tmp_path / "none"))
    assert failure.error_file == "<N/A>"
    if exit_code < 0:
        assert failure.message == "Signal 11 (SIGSEGV) received by PID 42"
    else:
        assert failure.signal_name() == "<N/A>" and isinstance(failure.message, str)


@both
def test_a_childs_file_becomes_the_parents(package, tmp_path, error_file, monkeypatch):
    """The first failure is the root cause, with the exit code that only the parent knows."""
    failures = {}
    for rank, moment in ((3, 200), (5, 100)):
        path = tmp_path / f"{rank}.json"
        details = {"py_callstack": f"Traceback of {rank}", "timestamp": str(moment)}
        path.write_text(json.dumps({"message": {"message": "words", "extraInfo": details}}))
        failures[rank] = package.ProcessFailure(rank, 42, 7, str(path))
    error = package.ChildFailedError("trainer", failures)
    assert error.name == "trainer" and error.failures is failures
    assert error.get_first_failure() == (5, failures[5])
    words = str(error)
    assert "trainer FAILED" in words and "Root Cause (first observed failure):" in words
    assert words.index("Root Cause") < words.index("Traceback of 5")

    def main():
        raise error

    with pytest.raises(package.ChildFailedError):
        package.record(main)()
    written = json.loads(error_file.read_text())["message"]
    assert written["extraInfo"]["py_callstack"] == "Traceback of 5" and written["errorCode"] == 7


def test_a_childs_failure_without_a_file(error_file):
    failure = ours.ProcessFailure(0, 42, -9, "none")
    error = ours.ChildFailedError("trainer", {0: failure})

    def main():
        raise error

    with pytest.raises(ours.ChildFailedError, match="SIGKILL"):
        ours.record(main)()
    assert not error_file.exists()
    with pytest.raises(ValueError, match="at least one failure"):
        ours.ChildFailedError("trainer", {})


def test_it_is_where_pytorch_has_it():
    errors = minitorch.distributed.elastic.multiprocessing.errors
    assert errors.record is ours.record
    assert not set(theirs.__all__) - set(ours.__all__)
