"""Recurrent layers: a cell applied time step by time step, in one or both directions.

What depends on the inputs alone is computed for all time steps at once; what is left for each step
is one product with the hidden state and the cell's few operations. Packed batches (nn/utils/rnn.py)
run through the same loop: the number of sequences may change from step to step.
PyTorch: torch/nn/modules/rnn.py, aten/src/ATen/native/RNN.cpp.
"""

from __future__ import annotations

import math
import warnings

from ...dispatch.declare import functions
from ...ops.recurrent import gru_step, lstm_layer, lstm_step
from .. import functional as F
from .. import init
from ..utils.rnn import PackedSequence
from .module import Module
from .utils import empty_parameter

cat = functions["cat"]


def _rnn_step(x, state, weight, bias, activation):
    return (activation(x + F.linear(state[0], weight, bias)),)


def _lstm_step(x, state, weight, bias):
    return lstm_step(x + F.linear(state[0], weight, bias), state[1])


def _gru_step(x, state, weight, bias):
    return (gru_step(x, F.linear(state[0], weight, bias), state[0]),)


_ACTIVATIONS = {"tanh": functions["tanh"], "relu": functions["relu"]}


class RNNBase(Module):
    """What RNN, LSTM and GRU share. Mirrors torch.nn.RNNBase.

    The parameters of layer k are weight_ih_lk (gates * hidden, inputs), weight_hh_lk, bias_ih_lk
    and bias_hh_lk; with "_reverse" those of the other direction. All start uniform within
    +-1 / sqrt(hidden_size).
    """

    gates: int
    states = 1  # tensors that are carried from step to step

    def __init__(
        self,
        mode,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        if not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an "
                "element being zeroed"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                f"dropout expects num_layers greater than 1, but got dropout={dropout} and "
                f"num_layers={num_layers}",
                stacklevel=3,
            )
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"proj_size has to be from 0 to less than hidden_size ({hidden_size}): {proj_size}"
            )
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        out = proj_size or hidden_size
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else out * (1 + bidirectional)
            for suffix in self._suffixes(layer):
                shapes = {"weight_ih": (self.gates * hidden_size, inputs)}
                shapes["weight_hh"] = (self.gates * hidden_size, out)
                if bias:
                    shapes["bias_ih"] = shapes["bias_hh"] = (self.gates * hidden_size,)
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    parameter = empty_parameter(*shape, device=device, dtype=dtype)
                    self.register_parameter(name + suffix, parameter)
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing: it is for CUDA's library."""

    @property
    def all_weights(self) -> list:
        return [
            [p for name, p in self._parameters.items() if name.endswith(suffix)]
            for layer in range(self.num_layers)
            for suffix in self._suffixes(layer)
        ]

    def _step(self, x, state, weight, bias):
        raise NotImplementedError

    def forward(self, input, hx=None):
        """(outputs of the last layer, the last states of all layers).

        input (L, N, input_size); (N, L, input_size) with batch_first; (L, input_size); or packed.
        hx: the states to start with, (layers * directions, N, hidden_size), zeros by default.
        """
        packed = isinstance(input, PackedSequence)
        single = not packed and input.dim() == 2
        states = hx if hx is None or self.states > 1 else (hx,)
        if packed:
            sizes = input.batch_sizes.tolist()
            x, n, order = input.data, sizes[0], input.sorted_indices
        else:
            if input.dim() not in (2, 3):
                raise ValueError(f"{self.mode}: Expected input to be 2D or 3D, got {input.dim()}D")
            x = input.unsqueeze(1) if single else input
            x = x.transpose(0, 1) if self.batch_first and not single else x
            n, order = x.shape[1], None
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                f"{x.shape[-1]}"
            )
        states = self._start(states, x, n, single)
        if order is not None:
            states = [s.index_select(1, order) for s in states]
        finals: list[list] = [[] for _ in states]
        for layer in range(self.num_layers):
            outs = []
            for reverse, suffix in enumerate(self._suffixes(layer)):
                place = layer * (1 + self.bidirectional) + reverse
                first = tuple(s[place] for s in states)
                bias = getattr(self, "bias_ih" + suffix, None)
                sums = F.linear(x, getattr(self, "weight_ih" + suffix), bias)
                if self.mode == "LSTM" and not packed and not self.proj_size:
                    out, last = self._whole_lstm(sums, first, suffix, reverse)
                else:
                    steps = sums.split(sizes) if packed else sums.unbind(0)
                    out, last = self._run(steps, first, suffix, reverse)
                    out = cat(out) if packed else functions["stack"](out)
                outs.append(out)
                for final, state in zip(finals, last, strict=True):
                    final.append(state)
            x = outs[0] if len(outs) == 1 else cat(outs, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        last_states = [functions["stack"](final) for final in finals]
        if packed:
            back = input.unsorted_indices
            if back is not None:
                last_states = [s.index_select(1, back) for s in last_states]
            x = PackedSequence(x, *input[1:])
        elif single:
            x, last_states = x.squeeze(1), [s.squeeze(1) for s in last_states]
        elif self.batch_first:
            x = x.transpose(0, 1)
        return x, last_states[0] if self.states == 1 else tuple(last_states)

    def _start(self, states, x, n: int, single: bool) -> list:
        """The first states, checked; zeros if there are none."""
        count = self.num_layers * (1 + self.bidirectional)
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)[: self.states]
        if states is None:
            return [x.new_zeros(count, n, size) for size in sizes]
        found = []
        for state, size in zip(states, sizes, strict=True):
            state = state.unsqueeze(1) if single and state.dim() == 2 else state
            if tuple(state.shape) != (count, n, size):
                raise RuntimeError(
                    f"Expected hidden size {(count, n, size)}, got {list(state.shape)}"
                )
            found.append(state)
        return found

    def _whole_lstm(self, sums, first, suffix: str, reverse: int):
        """What `_run` does for an LSTM, by one operation for all steps."""
        bias = getattr(self, "bias_hh" + suffix, None)
        sums = sums if bias is None else sums + bias
        sums = sums.flip(0) if reverse else sums
        hs, cs, _ = lstm_layer(sums, *first, getattr(self, "weight_hh" + suffix))
        return hs.flip(0) if reverse else hs, (hs[-1], cs[-1])

    def _run(self, steps, first, suffix: str, reverse: int):
        """(the outputs of all steps in the order of time, the last states)."""
        weight = getattr(self, "weight_hh" + suffix)
        bias = getattr(self, "bias_hh" + suffix, None)
        projection = getattr(self, "weight_hr" + suffix, None)
        state = tuple(s[: len(steps[-1 if reverse else 0])] for s in first)
        outputs, finished = [], []
        for x in reversed(steps) if reverse else steps:
            n, now = len(x), len(state[0])
            if n < now:  # the shorter sequences of a packed batch have ended
                finished.append(tuple(s[n:] for s in state))
                state = tuple(s[:n] for s in state)
            elif n > now:  # backwards they begin
                state = tuple(cat([s, f[now:n]]) for s, f in zip(state, first, strict=True))
            state = self._step(x, state, weight, bias)
            if projection is not None:
                state = (F.linear(state[0], projection), *state[1:])
            outputs.append(state[0])
        if finished:
            state = tuple(cat(parts) for parts in zip(state, *reversed(finished), strict=True))
        return outputs[::-1] if reverse else outputs, state

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if not self.bias:
            text += f", bias={self.bias}"
        if self.batch_first:
            text += f", batch_first={self.batch_first}"
        if self.dropout:
            text += f", dropout={self.dropout}"
        return text + (f", bidirectional={self.bidirectional}" if self.bidirectional else "")


class RNN(RNNBase):
    """h = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu. Mirrors torch.nn.RNN.

    Returns (outputs (L, N, directions * hidden), last h (layers * directions, N, hidden)).
    """

    gates = 1

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        nonlinearity="tanh",
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        device=None,
        dtype=None,
    ):
        if nonlinearity not in _ACTIVATIONS:
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        options = (num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        super().__init__("RNN_" + nonlinearity.upper(), input_size, hidden_size, *options)
        self.nonlinearity = nonlinearity

    def _step(self, x, state, weight, bias):
        return _rnn_step(x, state, weight, bias, _ACTIVATIONS[self.nonlinearity])


class LSTM(RNNBase):
    """Long short-term memory: states (h, c), gates input, forget, cell, output.

    Returns (outputs, (last h, last c)). proj_size: h is projected to it. Mirrors torch.nn.LSTM.
    """

    gates, states = 4, 2
    _step = staticmethod(_lstm_step)

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent unit: gates reset, update, new. Mirrors torch.nn.GRU."""

    gates = 3
    _step = staticmethod(_gru_step)

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """One step as a layer: (N, input_size) or (input_size,), and the state."""

    gates: int
    states = 1

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = self.gates * hidden_size
        self.weight_ih = empty_parameter(rows, input_size, device=device, dtype=dtype)
        self.weight_hh = empty_parameter(rows, hidden_size, device=device, dtype=dtype)
        for name in ("bias_ih", "bias_hh"):
            parameter = empty_parameter(rows, device=device, dtype=dtype) if bias else None
            self.register_parameter(name, parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, x, state, weight, bias):
        raise NotImplementedError

    def forward(self, input, hx=None):
        """The state after the step; hx: the state before it, zeros by default."""
        if input.dim() not in (1, 2):
            raise ValueError(
                f"{type(self).__name__}: Expected input to be 1D or 2D, got {input.dim()}D instead"
            )
        states = (hx,) if self.states == 1 and hx is not None else hx
        if states is None:
            states = (input.new_zeros(*input.shape[:-1], self.hidden_size),) * self.states
        x = F.linear(input, self.weight_ih, self.bias_ih)
        state = self._step(x, tuple(states), self.weight_hh, self.bias_hh)
        return state[0] if self.states == 1 else tuple(state)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        text += "" if self.bias else f", bias={self.bias}"
        relu = getattr(self, "nonlinearity", "tanh") != "tanh"
        return text + (f", nonlinearity={self.nonlinearity}" if relu else "")


class RNNCell(RNNCellBase):
    """One step of an RNN. Mirrors torch.nn.RNNCell."""

    gates = 1

    def __init__(
        self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None
    ):
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def _step(self, x, state, weight, bias):
        if self.nonlinearity not in _ACTIVATIONS:
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return _rnn_step(x, state, weight, bias, _ACTIVATIONS[self.nonlinearity])


class LSTMCell(RNNCellBase):
    """One step of an LSTM: (h, c) -> (h, c). Mirrors torch.nn.LSTMCell."""

    gates, states = 4, 2
    _step = staticmethod(_lstm_step)


class GRUCell(RNNCellBase):
    """One step of a GRU. Mirrors torch.nn.GRUCell."""

    gates = 3
    _step = staticmethod(_gru_step)
