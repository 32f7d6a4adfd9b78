"""Make one net ready by itself, without an addon around it: for tests of blocks and of runtimes."""

from voxstack.core.compiled import CompiledNet, compiled
from voxstack.core.executables import Engine, Executable, FixedAxes
from voxstack.core.nets import NetSpec
from voxstack.core.sizes import DYNAMIC, ShapePolicy

__all__ = ["open_net"]


def open_net(engine: Engine, spec: NetSpec, data: bytes, shapes: ShapePolicy = DYNAMIC) -> CompiledNet:
    """Return a net of a file's bytes; an engine that serves compiled nets only compiles it first.

    Raises:   NetError if the file, its tensors or the device are not as said
    """

    def make(axes: FixedAxes) -> Executable:
        if engine.needs_artefact:
            return engine.restore(spec, engine.compile(spec, data, axes), axes)
        return engine.build(spec, data, axes)

    return compiled(spec, shapes, make, locked=engine.locks_sizes)
