"""Run recurrent layers, in one direction or both, over sequences of one length or several.

Where torch has the layer, its kernel runs; what torch lacks (another order of a GRU's reset, the last
cell state of sequences of several lengths) is run step by step.
Source:   the operators LSTM, GRU and RNN of ONNX; X [T, B, I], W [D, G·H, I], R [D, G·H, H], B [D, 2·G·H]
"""

from collections.abc import Callable, Mapping, Sequence

import torch

from voxstack.runtimes.torch_nets.operators import Node, Operator, sizes
from voxstack.runtimes.torch_nets.selections import reverse_sequences

__all__ = ["OPERATORS"]

Tensor = torch.Tensor
States = tuple[Tensor, ...]
Weights = list[Tensor]
"""Of one direction: from the input, from the state, and a bias of each."""

Whole = Callable[[Tensor, States, Weights], tuple[Tensor, States]]
Cell = Callable[[Tensor, States, Weights], States]

LSTM_ORDER, GRU_ORDER = (0, 2, 3, 1), (1, 0, 2)
"""Where torch's gates lie in ONNX's: i f g o in i o f c, r z n in z r h."""


def _lstm(
    node: Node,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    c: Tensor | None = None,
) -> tuple[Tensor, ...]:
    def whole(x: Tensor, states: States, weights: Weights) -> tuple[Tensor, States]:
        y, h, c = torch.lstm(x, list(states), weights, True, 1, 0.0, False, False, False)
        return y, (h, c)

    cell = _lstm_cell if lengths is not None and node.wants(2) else None
    return _layer(node, x, (w, r, b), LSTM_ORDER, lengths, (h, c), whole, cell)


def _lstm_cell(x: Tensor, states: States, weights: Weights) -> States:
    return torch.lstm_cell(x, list(states), *weights)


def _gru(
    node: Node,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
) -> tuple[Tensor, ...]:
    def whole(x: Tensor, states: States, weights: Weights) -> tuple[Tensor, States]:
        y, h = torch.gru(x, states[0], weights, True, 1, 0.0, False, False, False)
        return y, (h,)

    cell = None if node.get("linear_before_reset", 0) else _early_reset
    return _layer(node, x, (w, r, b), GRU_ORDER, lengths, (h,), whole, cell)


def _early_reset(x: Tensor, states: States, weights: Weights) -> States:
    """Step a GRU that resets its state before it is multiplied, not after."""
    (h,) = states
    w, r, wb, rb = weights
    reset, update, new = torch.nn.functional.linear(x, w, wb + rb).chunk(3, 1)
    of_reset, of_update, of_new = r.chunk(3)
    reset = torch.sigmoid(reset + h @ of_reset.T)
    update = torch.sigmoid(update + h @ of_update.T)
    new = torch.tanh(new + (reset * h) @ of_new.T)
    return ((1 - update) * new + update * h,)


def _rnn(
    node: Node,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
) -> tuple[Tensor, ...]:
    run = torch.rnn_relu if node.get("activations", ["Tanh"])[0] == "Relu" else torch.rnn_tanh

    def whole(x: Tensor, states: States, weights: Weights) -> tuple[Tensor, States]:
        y, h = run(x, states[0], weights, True, 1, 0.0, False, False, False)
        return y, (h,)

    return _layer(node, x, (w, r, b), (0,), lengths, (h,), whole, None)


def _layer(
    node: Node,
    x: Tensor,
    weights: tuple[Tensor, Tensor, Tensor | None],
    order: Sequence[int],
    lengths: Tensor | None,
    states: Sequence[Tensor | None],
    whole: Whole,
    cell: Cell | None,
) -> tuple[Tensor, ...]:
    """Run a layer in each of its directions; return Y [T, D, B, H] and its last states [D, B, H]."""
    batch_first = bool(node.get("layout", 0))
    if batch_first:
        x = x.transpose(0, 1)
        states = [None if state is None else state.transpose(0, 1) for state in states]
    direction = node.get("direction", "forward")
    outputs: list[Tensor] = []
    last: list[States] = []
    for place, backwards in enumerate({"forward": [False], "reverse": [True]}.get(direction, [False, True])):
        own = _weights(weights, place, order)
        hidden = sizes(own[1])[1]
        begun = tuple(x.new_zeros(sizes(x)[1], hidden) if state is None else state[place] for state in states)
        y, ended = _one_way(x, own, begun, lengths, backwards, whole, cell)
        outputs.append(y)
        last.append(ended)
    y = torch.stack(outputs, 1)
    ends = [torch.stack(state) for state in zip(*last, strict=True)]
    if batch_first:
        y, ends = y.permute(2, 0, 1, 3), [state.transpose(0, 1) for state in ends]
    return (y, *ends)


def _weights(weights: tuple[Tensor, Tensor, Tensor | None], place: int, order: Sequence[int]) -> Weights:
    """Return the weights of one direction, their gates in torch's order."""
    w, r, b = weights
    biases = w.new_zeros(2 * sizes(w)[1]) if b is None else b[place]
    parts = (w[place], r[place], *biases.chunk(2))
    if len(order) == 1:
        return list(parts)
    return [torch.cat([part.chunk(len(order))[gate] for gate in order]) for part in parts]


def _one_way(
    x: Tensor,
    weights: Weights,
    states: States,
    lengths: Tensor | None,
    backwards: bool,
    whole: Whole,
    cell: Cell | None,
) -> tuple[Tensor, States]:
    if backwards:
        x = x.flip(0) if lengths is None else reverse_sequences(x, lengths)
    if cell is not None:
        y, states = _by_steps(x, weights, states, lengths, cell)
    else:
        y, ended = whole(x, tuple(state.unsqueeze(0) for state in states), weights)
        h = states[0]
        states = tuple(state.squeeze(0) for state in ended)
        if lengths is not None:
            y, states = _inside(y, lengths), (_at_end(y, h, lengths), *states[1:])
    if backwards:
        y = y.flip(0) if lengths is None else reverse_sequences(y, lengths)
    return y, states


def _by_steps(
    x: Tensor, weights: Weights, states: States, lengths: Tensor | None, cell: Cell
) -> tuple[Tensor, States]:
    outputs: list[Tensor] = []
    for at, step in enumerate(x.unbind(0)):
        after = cell(step, states, weights)
        shown = after[0]
        if lengths is not None:
            goes_on = (at < lengths).unsqueeze(1)
            after = tuple(torch.where(goes_on, new, old) for new, old in zip(after, states, strict=True))
            shown = torch.where(goes_on, shown, torch.zeros_like(shown))
        states = after
        outputs.append(shown)
    return torch.stack(outputs), states


def _inside(y: Tensor, lengths: Tensor) -> Tensor:
    """Return what a layer gives: nothing behind a sequence's end."""
    at = torch.arange(sizes(y)[0], device=y.device).unsqueeze(1)
    return torch.where((at < lengths).unsqueeze(-1), y, torch.zeros_like(y))


def _at_end(y: Tensor, h: Tensor, lengths: Tensor) -> Tensor:
    """Return the state at each sequence's end; where it has no steps, that is the one it began with."""
    ends = lengths.long()
    found = y[(ends - 1).clamp(min=0), torch.arange(sizes(y)[1], device=y.device)]
    return torch.where((ends > 0).unsqueeze(1), found, h)


def _refused(node: Node) -> str:
    usual = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}[node.op]
    asked = node.get("activations", usual)
    relu = ["Relu"] if node.op == "RNN" else usual
    alike = asked[: len(usual)]
    if (alike != usual and alike != relu) or asked != alike * (len(asked) // len(usual)):
        return f"activations {asked}"
    if node.op == "LSTM" and node.has(7):
        return "peepholes"
    return next((name for name in ("clip", "input_forget") if node.get(name, 0)), "")


OPERATORS: Mapping[str, Operator] = {
    "LSTM": Operator(_lstm, refuses=_refused),
    "GRU": Operator(_gru, refuses=_refused),
    "RNN": Operator(_rnn, refuses=_refused),
}
