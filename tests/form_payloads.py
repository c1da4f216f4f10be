"""What Prefect's two forms send where nobody touched a field, by the rules of each UI's own code.

Both begin with the deployment's parameters. A field of the schema without a value gets the schema's default. The first
UI sends a switch without a default as off; both send a field of type null as null, and one that they can't draw as a
`__prefect_kind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]
NO_FIELD = {"__prefect_kind": "json"}


def untouched(schema: Schema, parameters: Mapping[str, Any], *, first_ui: bool) -> dict[str, Any]:
    """The parameters that a form of this schema sends."""
    return _object(schema, dict(parameters), first_ui)


def _object(schema: Schema, values: Mapping[str, Any], first_ui: bool) -> dict[str, Any]:
    sent = dict(values)
    for name, field in schema["properties"].items():
        value = _value(_alternative(field, values.get(name)), field, values.get(name), first_ui)
        if value is not None:
            sent[name] = value[0]
    return sent


def _alternative(field: Schema, value: Any) -> Schema:
    """The one of several that is shown: the one of the value's type, or the first."""
    kinds = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    value = field.get("default") if value is None else value
    fitting = [one for one in field.get("anyOf", []) if one.get("type") == kinds.get(type(value), "null")]
    return {**field, **(fitting or field.get("anyOf") or [{}])[0]}


def _value(shown: Schema, field: Schema, value: Any, first_ui: bool) -> tuple[Any] | None:
    """What is sent, in a tuple; None for nothing."""
    assert "$ref" not in shown, "look the definition up"
    value = field.get("default") if value is None else value
    kind = shown.get("type")
    if kind == "object" and shown.get("properties"):
        inside = _object(shown, value or {}, first_ui)
        return (inside,) if inside or value is not None else None
    if kind in (None, "object") and "enum" not in shown:
        return (NO_FIELD,)
    if kind == "null" or ("default" in field and field["default"] is None and value is None):
        return (None,)
    if value is None and kind == "boolean" and first_ui:
        return (False,)
    return None if value is None else (value,)
