"""Run a net that OpenVINO has compiled, from many threads at once, so that a run can be stopped.

OpenVINO 2026.4 keeps, in a compiled net, the shapes that each node met last. A run that breaks off, being
stopped or by a fault, leaves the nodes behind that place with older shapes than those before it, and the
next run of the older length gets a result of the other one. So, where a node's shapes may change, no run
is stopped in flight (its result is dropped), and after a fault the net is made anew.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from voxstack.core.cancel import CancelScope
from voxstack.core.errors import Cancelled, NetError
from voxstack.core.nets import NetSpec
from voxstack.core.ports import Array
from voxstack.runtimes.openvino_library import ov, reason, shown

__all__ = ["OpenVinoExecutable"]

T = TypeVar("T")

INT32 = range(-(1 << 31), 1 << 31)


class OpenVinoExecutable:
    """A net that OpenVINO has compiled; its values are OpenVINO's tensors, in ordinary memory.

    renewed    compiles the same net anew

    A cancelled run of fixed sizes stops before the next node of the net. One of free sizes ends first,
    and so does a node that is itself a loop.
    """

    def __init__(
        self, spec: NetSpec, net: Any, runtime: str, precision: str, renewed: Callable[[], Any]
    ) -> None:
        self.runtime = runtime
        self.precision = precision
        self._spec = spec
        self._compiled = _Compiled(net)
        self._types = {name: net.input(name).element_type for name in spec.inputs}
        self._shapes = {name: net.input(name).partial_shape for name in spec.inputs}
        self._is_fixed = _is_fixed(net)
        # Not kept where it is never needed: what it compiles from is as large as the net.
        self._renewed = None if self._is_fixed else renewed

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return self._infer({name: self.value(array) for name, array in feeds.items()}, self.array)

    def value(self, array: Array) -> Any:
        if array.dtype == "int64" and array.size:
            for extreme in (array.min(), array.max()):
                if int(extreme) not in INT32:
                    raise self._fault(f"got the integer {extreme}, but OpenVINO computes int64 in 32 bits")
        value = ov.Tensor(ov.Type(array.dtype), ov.Shape(array.shape))
        value.data[...] = array
        return value

    def array(self, value: Any) -> Array:
        return value.data.copy()

    def run_values(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        return self._infer(feeds, _copied)

    def _infer(self, values: Mapping[str, Any], copied: Callable[[Any], T]) -> dict[str, T]:
        """Run once and return copies of the results: their memory is used again."""
        self._check(values)
        used, renewed = self._compiled, self._renewed
        try:
            results = self._once(values, copied, used)
            if renewed is None or used is self._compiled:
                return results
            # Meanwhile a run on another thread broke off: whether before or after this one, nobody knows.
        except NetError:
            if renewed is None:
                raise
        # Its own fault, or what another's left behind? On a net that nobody else has yet, it shows.
        self._compiled = _Compiled(renewed())
        fresh = _Compiled(renewed())
        return self._once(values, copied, fresh)

    def _once(self, values: Mapping[str, Any], copied: Callable[[Any], T], used: "_Compiled") -> dict[str, T]:
        request = used.take()
        scope = CancelScope.current()
        if scope is None:
            self._wait(request, values)
        else:
            # Lent even where nothing can be stopped: so that nothing begins in a cancelled scope.
            with scope.stopping(lambda: self._stop(request)):
                self._wait(request, values, scope)
            if scope.is_cancelled:
                # The request is not used again: whoever cancels may be about to stop it only now.
                raise Cancelled("the stream was closed")
        results = {name: copied(request.get_tensor(name)) for name in self._spec.outputs}
        used.idle.append(request)
        return results

    def _wait(self, request: Any, values: Mapping[str, Any], scope: CancelScope | None = None) -> None:
        """Run to the end. Not by `infer`: that cannot be stopped."""
        try:
            for name in self._spec.inputs:
                request.set_tensor(name, values[name])
            request.start_async()
            if scope is not None and scope.is_cancelled:
                self._stop(request)  # it was cancelled when there was no run yet to stop
            request.wait()
        except RuntimeError as error:
            if scope is not None and scope.is_cancelled and self._is_fixed:
                raise Cancelled("the stream was closed") from None
            shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in values.items())
            raise self._fault(f"failed on {shapes}: {reason(error)}") from error

    def _stop(self, request: Any) -> None:
        if not self._is_fixed:
            return
        try:
            request.cancel()
        except RuntimeError:
            return  # a device that cannot stop a run: the scope is asked again behind it

    def _check(self, values: Mapping[str, Any]) -> None:
        """Refuse what OpenVINO would take, and compute something of."""
        if values.keys() != self._shapes.keys():
            raise self._fault(f"takes {sorted(self._shapes)}, got {sorted(values)}")
        steps: dict[str, int] = {}
        for name, tensor in self._spec.inputs.items():
            # Not `.shape`, of which each look takes 40 µs: half a millisecond for a step with many states.
            got, type_ = list(values[name].data.shape), values[name].element_type
            if type_ != self._types[name]:
                raise self._fault(f"{name}: got dtype {type_.to_dtype()}, want {tensor.dtype}")
            if not self._shapes[name].compatible(ov.PartialShape(got)):
                raise self._fault(f"{name}: got shape {got}, was compiled for {shown(self._shapes[name])}")
            for axis, size in zip(tensor.axes, got, strict=True):
                if isinstance(axis, str) and steps.setdefault(axis, size) != size:
                    raise self._fault(
                        f"'{axis}' is {size} steps long in '{name}' but {steps[axis]} in another input"
                    )

    def _fault(self, what: str) -> NetError:
        return NetError(what, where=f"net '{self._spec.name}'")


class _Compiled:
    """A compiled net with its requests, one a run in flight; taking from a list and appending are atomic."""

    def __init__(self, net: Any) -> None:
        self.net = net
        self.idle: list[Any] = []

    def take(self) -> Any:
        try:
            return self.idle.pop()
        except IndexError:
            return self.net.create_infer_request()


def _is_fixed(net: Any) -> bool:
    """Answer whether no node's shapes can change, the inner ones neither."""
    if any(port.partial_shape.is_dynamic for port in net.inputs):
        return False
    try:
        nodes = net.get_runtime_model().get_ordered_ops()
    except RuntimeError:
        return False  # a device that does not show its nodes
    return all(port.partial_shape.is_static for node in nodes for port in node.outputs())


def _copied(value: Any) -> Any:
    copy = ov.Tensor(value.element_type, value.shape)
    value.copy_to(copy)
    return copy
