"""Turns a record of options into a form with groups, and a form's values back into the record.

Prefect's dashboard makes a form from a JSON schema, and sends every default of that schema as if it had been chosen.
So this schema has no defaults; the descriptions name them. A field left untouched, `auto` and null count as unset. The
record itself is flat: groups exist only in the form, and an option may also be given outside its group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from models.secrets.addresses import CREDENTIALS

UNSET: Any = {}
"""Default of a flow's options, with nothing set, because every form would send a record's own defaults."""
NO_PASSWORD = f"^(?!.*{CREDENTIALS.pattern})"
"""Pattern of every text, so that Prefect refuses a URL with a password before it stores a run's parameters."""
OptionalText = Annotated[str | None, WithJsonSchema({"type": "string", "maxLength": 1024, "pattern": NO_PASSWORD})]
"""Optional text. Its default is "", because forms show a null badly."""
OptionalTexts = Annotated[list[str] | None, WithJsonSchema({"type": "array", "items": {"type": "string"}})]
"""Optional list of texts; its default is an empty list."""
AUTO = "auto"
"""A form's value for an unset option."""
NOTHING = "none"
"""Sets an option to null although its default is not null."""
YES_OR_NO = [AUTO, "yes", "no"]
"""Values of a switch in a form. For a boolean Prefect's first UI would send an untouched field as false."""
PAIR = {"type": "string", "pattern": f"{NO_PASSWORD}[0-9]+=.+$"}
"""An entry of a mapping as N=FILE, as on the command line, because forms have no field for a mapping."""


class Group(NamedTuple):
    """A group of options."""

    title: str
    """Heading in --help, description in a form."""
    options: tuple[str, ...]
    key: str = ""
    """Name of the object that holds them in a form; empty for options at the top level."""


@dataclass(frozen=True)
class Form:
    """Annotation of a flow's parameter: `Annotated[StoryboardOptions, Form(StoryboardOptions, GROUPS)]`."""

    record: type[BaseModel]
    groups: tuple[Group, ...]

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """The JSON schema of every option, by name."""
        properties: dict[str, dict[str, Any]] = self.record.model_json_schema()["properties"]
        return properties

    def schema(self) -> dict[str, Any]:
        """Return the form's JSON schema, without defaults; it also accepts every option outside its group."""
        fields = {name: _field(schema) for name, schema in self.options.items()}
        properties: dict[str, Any] = {}
        plain: dict[str, Any] = {}
        for group in self.groups:
            inside = {name: fields[name] for name in group.options}
            if group.key:
                properties[group.key] = _group(group, inside)
                plain |= {f"^{name}$": _plain(self.options[name]) for name in group.options}
            else:
                properties |= inside
        names = [*properties, *(name for name in fields if name not in properties)]
        shown = {"type": "object", "title": self.record.__name__, "properties": properties}
        return {**shown, "patternProperties": plain, "propertyNames": {"enum": names}}

    def lift(self, value: Any) -> Any:
        """Return a form's values as the flat record takes them, without unset ones.

        Raises:
            ValueError: an option has two different values, inside and outside its group.
        """
        if not isinstance(value, Mapping):
            return value
        keys = {group.key for group in self.groups if group.key}
        found: dict[str, Any] = {}
        for name, content in self._chosen(value, keys):
            if name in found and found[name] != content:
                raise ValueError(f"{name} is given twice, {found[name]!r} and {content!r}; keep one")
            found[name] = content
        return found

    def _chosen(self, value: Mapping[str, Any], keys: set[str]) -> Iterator[tuple[str, Any]]:
        for name, content in value.items():
            if name in keys and isinstance(content, Mapping):
                yield from self._chosen(content, set())
            elif not (content is None or (content == AUTO and not _may_be(AUTO, self.options.get(name, {})))):
                unsets = content == NOTHING and _is_unset_by_null(self.options.get(name, {}))
                yield name, None if unsets else content

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.lift, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return self.schema()


def _group(group: Group, fields: dict[str, Any]) -> dict[str, Any]:
    words = {"title": group.key.capitalize(), "description": f"{group.title[:1].upper()}{group.title[1:]}."}
    return {"type": "object", **words, "properties": fields, "additionalProperties": False}


def value_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return an option's schema without the alternative null."""
    return {**schema, **schema.get("anyOf", [{}])[0]}


def _without_passwords(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return an option's schema without null, whose texts may hold no password."""
    value = value_schema(schema)
    if value["type"] == "string" and "enum" not in value:
        value.setdefault("pattern", NO_PASSWORD)
    if value["type"] == "array" and value["items"]["type"] == "string":
        value["items"] = {**value["items"], "pattern": NO_PASSWORD}
    return value


def _field(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return an option's schema as a form field: one type, no default, no null."""
    field = {key: item for key, item in _without_passwords(schema).items() if key not in ("anyOf", "default")}
    field["description"] = explain_option(schema)
    if field["type"] == "boolean":
        unset = "" if schema["default"] is not False else " (auto: no)"
        return {**field, "type": "string", "enum": YES_OR_NO, "description": field["description"] + unset}
    if field["type"] == "object":
        title, description = field["title"], f"{field['description']}; write N=FILE"
        return {"type": "array", "title": title, "description": description, "items": PAIR}
    if "enum" in field:
        field["enum"] = [AUTO, *field["enum"]]
    return field


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an option outside its group: null and `auto` are valid too, for switches also booleans."""
    words_only = ("anyOf", "default", "title", "description")
    limits = {key: item for key, item in _without_passwords(schema).items() if key not in words_only}
    words = [AUTO, *([NOTHING] if _is_unset_by_null(schema) else [])]
    kind = limits.pop("type")
    kinds = [kind]
    if kind == "boolean":
        return {"enum": [*YES_OR_NO, True, False, None]}
    if "enum" in limits:
        return {"enum": [*words, *limits["enum"], None]}
    if kind == "string":
        return {**limits, "type": ["string", "null"], "pattern": f"^{AUTO}$|{limits['pattern']}"}
    if kind == "object":
        limits, kinds = {**limits, "items": PAIR}, ["object", "array"]
    return {**limits, "type": [*kinds, "null", "string"], "if": {"type": "string"}, "then": {"enum": words}}


def _is_unset_by_null(schema: Mapping[str, Any]) -> bool:
    return {"type": "null"} in schema.get("anyOf", []) and schema.get("default") is not None


def _may_be(word: str, schema: Mapping[str, Any]) -> bool:
    """Whether the word is a valid value of the option itself."""
    value = value_schema(schema)
    is_text = value.get("type") == "string" and "enum" not in value
    return is_text and re.search(value.get("pattern", ""), word) is not None


def explain_option(schema: Mapping[str, Any]) -> str:
    """Return an option's explanation with its limits and its default."""
    text, _, unset = " ".join(schema["description"].split()).rstrip(".").partition(" Unset: ")
    facts = "; ".join(_facts(value_schema(schema), unset))
    return f"{text.rstrip('.')} ({facts})" if facts else text


def _facts(schema: Mapping[str, Any], unset: str) -> Iterator[str]:
    kind, default = schema["type"], schema["default"]
    if limits := _limits(schema):
        yield limits
    if kind in ("object", "array"):
        least = schema.get("minItems", 0)
        if names := schema.get("items", {}).get("enum"):
            yield f"of {', '.join(names)}"
        else:
            yield f"to be given {least} times or more" if least > 1 else "may be given more than once"
    if kind == "boolean" and (default or unset):
        yield f"default: {unset or 'on'}"
    elif kind not in ("object", "boolean") and default != []:
        yield f"default: {unset if default is None else _as_given(default)}"
        if unset and default is not None:
            yield f"none: {unset}"


def _limits(schema: Mapping[str, Any]) -> str:
    """Return the limits in words: "1 to 24", "above 0 to 1", "0 to below 1", "1 or more"."""
    lowest = {"minimum": "{:.10g}", "exclusiveMinimum": "above {:.10g}"}
    highest = {"maximum": "to {:.10g}", "exclusiveMaximum": "to below {:.10g}"}
    low = [text.format(schema[key]) for key, text in lowest.items() if key in schema]
    high = [text.format(schema[key]) for key, text in highest.items() if key in schema]
    return " ".join(low + (high or ["or more"])) if low else ""


def _as_given(default: Any) -> str:
    """Return a default as written on the command line."""
    return ",".join(default) if isinstance(default, list) else str(default)
