"""Write a stack's graph as a Mermaid flowchart, for pages that draw it themselves."""

from collections.abc import Iterator

from voxstack.stack.graph import NOBODY, OUTPUT, REQUEST, SOURCE, Edge, Frame, Graph, Node, shown

__all__ = ["mermaid"]

CLASSES = (
    "classDef fault fill:#fdecea,stroke:#c62828,stroke-width:2px,color:#c62828",
    "classDef unknown fill:#f4f4f4,stroke:#888,stroke-dasharray:5 3",
    "classDef request fill:#f3f7ec,stroke:#6b8e3d",
)
ESCAPED = str.maketrans({"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "|": "#124;", "\n": " "})


def mermaid(graph: Graph) -> str:
    """Return the graph as a flowchart: a subgraph for each container, tensors at the arrows."""
    names = {node.path: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart TB", *_ends(graph)]
    counted = iter(range(1_000_000))
    for frame in graph.frames:
        lines += [f"  {line}" for line in _frame(frame, names, counted)]
    for edge in graph.edges:
        lines += [f"  {line}" for line in _edges(edge, names)]
    lines += [f"  {line}" for line in CLASSES]
    for node in graph.nodes:
        if node.faults:
            lines.append(f"  class {names[node.path]} {'fault' if node.is_certain else 'unknown'}")
    return "\n".join(lines) + "\n"


def _ends(graph: Graph) -> Iterator[str]:
    """Write what is no block: what a request brings, what nobody gives, what flows in and out."""
    brought = {port.name: port for edge in graph.edges if edge.giver == REQUEST for port in edge.ports}
    if brought:
        yield '  subgraph request["the request"]'
        yield from (
            f"    {_asked(name)}([{_quoted(shown(port))}]):::request" for name, port in brought.items()
        )
        yield "  end"
    missing = {port.name: port for edge in graph.edges if edge.giver == NOBODY for port in edge.ports}
    yield from (f"  {_nobody(name)}([{_quoted(shown(port))}]):::fault" for name, port in missing.items())
    if any(edge.giver == SOURCE for edge in graph.edges):
        yield '  source(["from above"]):::request'
    if any(edge.taker == OUTPUT for edge in graph.edges):
        yield '  output(["out"]):::request'


def _frame(frame: Frame, names: dict[str, str], counted: Iterator[int]) -> Iterator[str]:
    title = "<br/>".join(map(_escaped, (frame.title, *frame.faults)))
    yield f'subgraph f{next(counted)}["{title}"]'
    for item in frame.inside:
        inside = _frame(item, names, counted) if isinstance(item, Frame) else (_node(item, names),)
        yield from (f"  {line}" for line in inside)
    yield "end"


def _node(node: Node, names: dict[str, str]) -> str:
    text = "<br/>".join(map(_escaped, (node.title, *node.lines, *node.faults)))
    return f'{names[node.path]}["{text}"]'


def _edges(edge: Edge, names: dict[str, str]) -> Iterator[str]:
    taker = names.get(edge.taker, edge.taker)
    if edge.giver == REQUEST:
        yield from (f"{_asked(port.name)} --> {taker}" for port in edge.ports)
    elif edge.giver == NOBODY:
        yield from (f"{_nobody(port.name)} -.-x {taker}" for port in edge.ports)
    else:
        label = "<br/>".join(_escaped(shown(port)) for port in edge.ports)
        carried = f'|"{label}"|' if label else ""
        yield f"{names.get(edge.giver, edge.giver)} -->{carried} {taker}"


def _asked(name: str) -> str:
    return f"r_{_plain(name)}"


def _nobody(name: str) -> str:
    return f"u_{_plain(name)}"


def _plain(name: str) -> str:
    return "".join(
        letter if letter.isascii() and letter.isalnum() else f"_{ord(letter):x}_" for letter in name
    )


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return text.translate(ESCAPED)
