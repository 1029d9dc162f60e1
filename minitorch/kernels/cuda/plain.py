"""What needs no kernel of its own: NumPy's functions as CuPy has them, called in the same way.

A recurrence over time steps (LSTM, CTC) is a loop in Python on every device, so the CPU's functions
serve here too: they make nothing that does not say like which array.
"""

from __future__ import annotations

import numpy as np

from ..cpu.ctc import ctc_loss_backward, ctc_loss_forward
from ..cpu.lstm import lstm_backward, lstm_forward

__all__ = [
    "ctc_loss_backward",
    "ctc_loss_forward",
    "floor_divide",
    "fmod",
    "hypot",
    "inverse",
    "logaddexp",
    "lstm_backward",
    "lstm_forward",
    "remainder",
    "where",
]

floor_divide, fmod, hypot = np.floor_divide, np.fmod, np.hypot
logaddexp, remainder = np.logaddexp, np.remainder
where = np.where
inverse = np.linalg.inv
