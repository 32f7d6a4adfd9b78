"""Cut a model around its ONNX Loop over frames: what stands before it, one step of it, what stands behind.

    ids ──► before ──► held tensors, first states ──► step, step, step … ──► pieces ──► after

Any Loop goes this way whose steps make frames until a condition ends them. What the body carries is told by
what is done with it, never by names:

    unchanged                       held: a tensor of the whole utterance, which the encoder net gives
    grows by a constant             a counter: the input `position`, if anything reads it
    a flag that ends the loop       never set at a step's beginning: a constant
    a buffer written once a step    collected: an output of the step
    leads to nothing that is kept   dropped
    anything else                   state

What hangs on held tensors alone is computed before the loop. Noise becomes inputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.captures import close_loops
from voxstack.importers.graphs.folding import fold
from voxstack.importers.graphs.graph import Constant, Edge, Graph
from voxstack.importers.graphs.measuring import Examples
from voxstack.importers.loops.body import find_loop, read_body
from voxstack.importers.loops.noise import lift_noise
from voxstack.importers.loops.pieces import cut_after
from voxstack.importers.loops.step import Step, cut_step
from voxstack.importers.loops.stop import StopRule, find_stop
from voxstack.importers.loops.values import LoopValues

__all__ = ["LoopParts", "cut_loop"]


@dataclass(frozen=True)
class LoopParts:
    """A model, cut around its Loop.

    before   the model's inputs → held tensors, and the states that do not begin with zeros
    step     held tensors, states, noise, position → pieces, states after the step, `stop`, `alignment`
    after    pieces, stacked along a first axis "steps" → the model's outputs that were wanted
    state    state input → output that it becomes
    pieces   what is collected: outputs of the step and inputs of `after`; and, where the Loop itself
             stacks the pieces, what the stack is called in the model
    stop     when the loop ends; it has the output `stop` where `stop.tensor` is not None
    noise    random inputs of `before` and `step`, and what they are: "normal" or "uniform"
    """

    before: Graph
    step: Graph
    after: Graph
    state: Mapping[str, str]
    pieces: Mapping[str, str | None]
    stop: StopRule
    noise: Mapping[str, str]


def cut_loop(
    model: onnx.ModelProto,
    examples: Sequence[Mapping[str, Constant]],
    *,
    steps: Sequence[int],
    axis: str = "phonemes",
    outputs: Sequence[str] = (),
    dropout: str | None = None,
) -> LoopParts:
    """Cut a model whose Loop makes frames.

    In:       examples  inputs of the model for two utterances of different length, to learn shapes from
              steps     how long these are along `axis`, the axis of the memory that a step attends to
              outputs   which outputs of the model are wanted; () means all
              dropout   name of a scalar input of the step that brings back a body's Dropout, idle in an
                        export, by this amount; None leaves it idle
    Raises:   ImporterError saying what cannot be cut
    """
    if len(set(steps)) != 2 or len(examples) != 2:
        raise ImporterError(f"got examples of {list(steps)} {axis}, want two of different length")
    main = fold(Graph.read(close_loops(model)))
    node = find_loop(main)
    body = read_body(main, node)
    main.nodes = [other for other in main.nodes if other is not node]
    main.changed()
    loop = LoopValues(main, body, Examples(main, examples, axis=axis, steps=steps))
    stop = find_stop(body, loop.fixed, loop.shape_of)
    loop.settle(stop)
    after, pieces = cut_after(loop, outputs)
    step = cut_step(loop, pieces, stop, amount=dropout)
    before, drawn = _before(loop, step)
    wholes = {item.piece: item.whole for item in body.collected if item.joined is None}
    return LoopParts(
        before=before,
        step=step.graph,
        after=after,
        state=step.state,
        pieces={name: wholes.get(piece) for piece, name in pieces.items()},
        stop=stop,
        noise={**step.noise, **drawn},
    )


def _before(loop: LoopValues, step: Step) -> tuple[Graph, dict[str, str]]:
    """Cut what gives the step its held tensors and first states; return it and what it draws."""
    main, examples = loop.main, loop.examples
    shapes = {
        name: examples.axes(examples.values([name])[name], of=name)
        for node in main.nodes
        for name in node.output[:1]
        if node.op_type.startswith("Random")
    }
    outputs: dict[str, Edge] = {}
    for tensor, edge in step.needs.items():
        if not any(own.name == tensor for own in main.inputs):
            own = tensor if main.producer(tensor) is not None else main.add("Identity", [tensor])
            outputs[own] = edge
    main.outputs = [Edge(tensor, edge.dtype, edge.axes) for tensor, edge in outputs.items()]
    drawn = lift_noise(main, shapes.__getitem__, prefix="noise")
    before = main.extract({edge.name: edge for edge in main.inputs}, outputs)
    read = {edge.name for edge in before.inputs}
    return fold(before), {name: kind for name, kind in drawn.items() if name in read}
