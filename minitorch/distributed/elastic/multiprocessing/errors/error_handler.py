"""The error file: what a failing process leaves for its launcher, as JSON.

    {"message": {"message": "ValueError: why",
                 "extraInfo": {"py_callstack": the traceback, "timestamp": seconds since 1970}}}

The format is PyTorch's: torch/distributed/elastic/multiprocessing/errors/error_handler.py.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import time
import traceback
import warnings


class ErrorHandler:
    """Writes the file at TORCHELASTIC_ERROR_FILE, or nothing if that is not set.

    Meant to be subclassed: `record` calls `initialize` before the function, and
    `record_exception` after it has failed. Mirrors torch's class.
    """

    def _get_error_file_path(self) -> str | None:
        return os.environ.get("TORCHELASTIC_ERROR_FILE")

    def initialize(self) -> None:
        """From now on a crash (SIGSEGV and its like) prints Python's stack."""
        with contextlib.suppress(Exception):  # stderr may be something without a descriptor
            faulthandler.enable(all_threads=True)

    def record_exception(self, e: BaseException) -> None:
        """Write down the exception that is being handled."""
        details = {"py_callstack": traceback.format_exc(), "timestamp": str(int(time.time()))}
        self._write({"message": {"message": f"{type(e).__name__}: {e}", "extraInfo": details}})

    def dump_error_file(self, rootcause_error_file: str, error_code: int = 0) -> None:
        """Pass a child's error file on as our own, with its exit code if that is not 0."""
        with open(rootcause_error_file) as file:
            content = json.load(file)
        if error_code and isinstance(content.get("message"), dict):
            content["message"]["errorCode"] = error_code
        self._write(content)

    def _write(self, content: dict) -> None:
        path = self._get_error_file_path()
        if path is None:
            return
        try:
            with open(path, "w") as file:
                json.dump(content, file)
        except OSError as error:  # must not hide the exception that is to be recorded
            warnings.warn(f"cannot write the error file: {error}", stacklevel=2)
