"""From the tree of an order's text to an order: names looked up, values checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from mamba_core.scan_orders import nodes, parse
from mamba_core.scan_orders.data_paths import DataPaths
from mamba_core.scan_orders.modifiers import MODIFIERS
from mamba_core.scan_orders.nodes import Node
from mamba_core.scan_orders.parse import (
    Call,
    Layers,
    Modified,
    OrderTextError,
    Sum,
    Tree,
    complain,
)
from mamba_core.scan_orders.protocols import DataOrder
from mamba_core.signature import fields_model
from mamba_registry.errors import ScanOrderError
from mamba_registry.suggest import suggest

Made = Node | DataOrder


@dataclass(frozen=True)
class Builder:
    """Makes the orders of one text."""

    text: str

    def layers(self, dims: int | None) -> tuple[Made, ...]:
        """Return one order per part of ``a|b|...``, usually a single one.

        :param dims: dimensions of the grid; None for any.
        """
        tree = parse.parse(self.text)
        parts = tree.parts if isinstance(tree, Layers) else (tree,)
        return tuple(self.make(part, dims) for part in parts)

    def make(self, tree: Tree, dims: int | None) -> Made:
        """Return the order of one tree."""
        if isinstance(tree, Call):
            return self._registered(tree, dims)
        if isinstance(tree, Modified):
            return self._modified(tree.order, tree.modifier, dims)
        assert isinstance(tree, Sum)
        return self._sum([self.make(part, dims) for part in tree.parts])

    def _sum(self, parts: list[Made]) -> Made:
        shaped = [part for part in parts if isinstance(part, Node)]
        if not shaped:
            return DataPaths.of([part for part in parts if not isinstance(part, Node)])
        if len(shaped) < len(parts):
            raise ScanOrderError(
                f"scan order {self.text!r} joins an order of the shape and one of the data by '+'"
            )
        try:
            return nodes.Stacked.of(shaped)
        except ScanOrderError as error:
            raise ScanOrderError(f"scan order {self.text!r}: {error}") from None

    def _registered(self, call: Call, dims: int | None) -> Made:
        from mamba_core import registry

        try:
            spec = registry.scan_order_spec(call.name, dims=dims)
        except ScanOrderError as error:
            if call.name == self.text:
                raise
            complain(self.text, call.at, str(error))
        order = registry.resolve(spec.order)
        if hasattr(order, "inputs"):
            return self._data(call, order)
        return nodes.Registered(spec, order, self._fields(call, order, _given(order)))

    def _data(self, call: Call, order: Any) -> DataOrder:
        if inspect.isclass(order):
            return cast(DataOrder, order(**self._fields(call, order, ("self",))))
        if call.positional or call.named:
            complain(self.text, call.at, f"'{call.name}' takes no values")
        return order

    def _modified(self, base: Tree, call: Call, dims: int | None) -> Made:
        modify = MODIFIERS.get(call.name)
        if modify is None:
            hint = suggest(call.name, MODIFIERS)
            complain(
                self.text,
                call.at,
                f"no modifier '{call.name}'.{hint} Available: {', '.join(MODIFIERS)}.",
            )
        if call.name == "fold" and dims is not None:
            dims -= len(call.positional)
        order = self.make(base, dims)
        if not isinstance(order, Node):
            if call.name == "reverse":
                return DataPaths.of([order]).reversed()
            complain(self.text, call.at, f"'{call.name}' is for orders of a shape, not of the data")
        try:
            return self._call(modify, order, call)
        except OrderTextError:
            raise
        except ScanOrderError as error:
            complain(self.text, call.at, str(error))

    def _call(self, modify: Callable[..., Node], order: Node, call: Call) -> Node:
        if any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(modify).parameters.values()):
            wrong = [v for v in call.positional if isinstance(v, bool) or not isinstance(v, int)]
            if wrong or call.named:
                raise ScanOrderError(f"{call.name}() takes the numbers of axes")
            return modify(order, *call.positional)
        if call.name == "blocks":
            return self._blocks(modify, order, call)
        return modify(order, **self._fields(call, modify, ("order",)))

    def _blocks(self, modify: Callable[..., Node], order: Node, call: Call) -> Node:
        """``blocks(size, inside)``, where ``inside`` is the text of an order itself."""
        values = dict(zip(("size", "inside"), call.positional, strict=False)) | dict(call.named)
        text = values.pop("inside", "raster")
        (inside,) = Builder(str(text)).layers(None)
        if not isinstance(inside, Node):
            raise ScanOrderError(f"inside={text!r} is an order of the data, not of a shape")
        call = Call(call.name, (), tuple(values.items()), call.at)
        return modify(order, inside=inside, **self._fields(call, modify, ("order", "inside")))

    def _fields(self, call: Call, build: Callable[..., Any], skip: tuple[str, ...]) -> dict:
        """Check a call's values against the signature of what is called."""
        model = fields_model(build, skip)
        names = list(model.model_fields)
        if len(call.positional) > len(names):
            takes = f"takes {', '.join(names)}" if names else "takes no values"
            complain(self.text, call.at, f"'{call.name}' {takes}")
        given = dict(zip(names, call.positional, strict=False))
        for name, value in call.named:
            if name in given:
                complain(self.text, call.at, f"'{call.name}': {name} is given twice")
            given[name] = value
        try:
            fields = model.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            known = f"; it takes {', '.join(names)}" if where not in names and names else ""
            complain(self.text, call.at, f"'{call.name}': {where}: {first['msg']}{known}")
        return {name: getattr(fields, name) for name in fields.model_fields_set}


def _given(order: Callable[..., Any]) -> tuple[str, ...]:
    """The arguments that are no parameters of an order: the shape, whatever it is called."""
    first = next(iter(inspect.signature(order).parameters), "shape")
    return (first, "device")
