"""Choose which convolutions compute in 8 bits: by what each costs alone, and what they cost together.

    1  large enough to pay           a share of all multiplications; not a mere step to another layout
    2  alone near enough, and cheap  SNR of the net's output; damage for a multiplication saved
    3  ordered by price              the cheapest first
    4  as many as stay near enough   together, on sentences that calibrated nothing

Damage adds up as power does: noise in itself, log-spectral distance in its square.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from voxstack.core.closeness import Closeness, closeness
from voxstack.core.errors import ImporterError
from voxstack.importers.graphs.graph import Graph, attributes
from voxstack.importers.quantising.ranges import Seen
from voxstack.importers.quantising.rewriting import with_int8
from voxstack.importers.quantising.running import Feeds, outputs_of

__all__ = ["Chosen", "Limits", "choose", "convolutions", "multiplications"]


LAYOUT = ("Transpose", "Reshape")
"""A convolution that only these read gains nothing: the engine's integers are float again before them
(measured on an upsampling: 0.38 of the float net's time with it in 8 bits, 0.38 without)."""


@dataclass(frozen=True)
class Limits:
    """How near the output must stay, and what is too dear.

    snr_db, spectral_db   least and most of the output, with all that was chosen
    alone_snr_db          least with one convolution alone
    price                 most damage of one, of what is allowed together, for its share of multiplications
    share                 least of all multiplications that pays

    Measured on a voice of medium quality: the convolutions that may be rounded cost 0.4 to 4.1, those in
    which rounding is a hiss 7 to 500. With these limits a recogniser hears no worse, but the predicted
    opinion of 20 sentences falls by 0.05 of 4.26, more than by chance; with the cheapest six of the twelve
    by 0.02, with bfloat16 alone by 0.01. Those six gain a third as much time.
    """

    snr_db: float = 22.0
    spectral_db: float = 3.0
    alone_snr_db: float = 30.0
    price: float = 5.5
    share: float = 0.01

    def line(self) -> str:
        return f"SNR {self.snr_db:g} dB and log-spectral distance {self.spectral_db:g} dB"

    def allow(self, found: Closeness) -> bool:
        return found.is_within(least_snr_db=self.snr_db, most_spectral_db=self.spectral_db)

    def allow_alone(self, found: Closeness, share: float) -> bool:
        return found.snr_db >= self.alone_snr_db and self.price_of(found, share) <= self.price

    def price_of(self, found: Closeness, share: float) -> float:
        """Return how much of what is allowed one convolution uses up, for its share of multiplications."""
        noise = 10 ** ((self.snr_db - found.snr_db) / 10)
        return max(noise, (found.spectral_db / self.spectral_db) ** 2) / share


@dataclass(frozen=True)
class Chosen:
    """What was chosen: the graph with it, the tensors that its convolutions make, how near its output is."""

    graph: Graph
    outputs: tuple[str, ...]
    closeness: Closeness


def convolutions(graph: Graph) -> list[onnx.NodeProto]:
    """Return the convolutions that could be quantised: with constant weights, over all channels."""
    return [
        node
        for node in graph.nodes
        if node.op_type == "Conv"
        and node.input[1] in graph.constants
        and attributes(node).get("group", 1) == 1
        and attributes(node).get("auto_pad", "NOTSET") == "NOTSET"
    ]


def multiplications(graph: Graph, node: onnx.NodeProto, seen: Mapping[str, Seen]) -> int:
    """Return how many a convolution took in all that was seen."""
    strides = attributes(node).get("strides")
    steps = seen[node.input[0]].steps
    for stride in strides if isinstance(strides, list) else ():
        steps //= int(stride)
    return graph.constants[node.input[1]].size * steps


def choose(graph: Graph, seen: Mapping[str, Seen], held_out: Sequence[Feeds], limits: Limits) -> Chosen:
    """Return the graph with as many convolutions in 8 bits as the limits allow.

    Raises: ImporterError if that is none
    """
    everything = convolutions(graph)
    work = {node.output[0]: multiplications(graph, node, seen) for node in everything}
    share = {name: much / sum(work.values()) for name, much in work.items()}
    large = [name for name in share if share[name] >= limits.share and not _changes_layout(graph, name)]
    wanted = outputs_of(graph, held_out)

    def measure(outputs: Sequence[str]) -> tuple[Graph, Closeness]:
        rounded = with_int8(graph, outputs, seen)
        return rounded, closeness(wanted, outputs_of(rounded, held_out))

    alone = {name: measure([name])[1] for name in large}
    near = [name for name in large if limits.allow_alone(alone[name], share[name])]
    near.sort(key=lambda name: limits.price_of(alone[name], share[name]))
    best: Chosen | None = None
    least, most = 1, len(near)  # between them, it is looked for how many; all are tried first
    many = most
    while least <= most:
        rounded, found = measure(near[:many])
        if limits.allow(found):
            best, least = Chosen(rounded, tuple(near[:many]), found), many + 1
        else:
            most = many - 1
        many = (least + most + 1) // 2
    if best is None:
        raise ImporterError(_refusal(everything, large, alone, limits))
    return best


def _changes_layout(graph: Graph, tensor: str) -> bool:
    readers = graph.users(tensor)
    return bool(readers) and all(node.op_type in LAYOUT for node in readers)


def _refusal(
    everything: Sequence[onnx.NodeProto],
    large: Sequence[str],
    alone: Mapping[str, Closeness],
    limits: Limits,
) -> str:
    best = max(alone.values(), key=lambda found: found.snr_db, default=None)
    nearest = f"; the nearest alone gave {best.line()}" if best else ""
    return (
        f"no convolution can compute in 8 bits within {limits.line()}: of {len(everything)} "
        f"{len(large)} would pay{nearest}; import without int8"
    )
