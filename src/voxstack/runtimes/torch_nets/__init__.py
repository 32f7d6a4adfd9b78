"""Turn an ONNX net into a torch module: one small function an operator, found by its name in a table."""

from voxstack.runtimes.torch_nets.reading import module_of

__all__ = ["module_of"]
