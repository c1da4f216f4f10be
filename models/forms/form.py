"""A record of options as a form: what people set first, then the rest in groups; and what a form sends, as the record.

A form of Prefect's dashboard is made from a JSON schema, and sends every default of that schema as if it had been
chosen. So the schema has none: it tells defaults in words. What a form sends of a field that nobody touched, and `auto`
and null, count as unset. The record itself stays flat: a group is only a place in the form, and an option may be given
by its own name, outside its group, as well.
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
"""Default of a flow's options: nothing set. A record's own defaults would be sent by every form."""
NO_PASSWORD = f"^(?!.*{CREDENTIALS.pattern})"
"""Of every text: Prefect stores what a run is given, and refuses what does not fit the schema before it does."""
OptionalText = Annotated[str | None, WithJsonSchema({"type": "string", "maxLength": 1024, "pattern": NO_PASSWORD})]
"""Text that may be left empty. Its default is "", since a form has no good field for a null."""
OptionalTexts = Annotated[list[str] | None, WithJsonSchema({"type": "array", "items": {"type": "string"}})]
"""Texts, of which there may be none; the default is as above."""
AUTO = "auto"
"""In a form: nothing chosen."""
NOTHING = "none"
"""Unsets an option that is set otherwise."""
YES_OR_NO = [AUTO, "yes", "no"]
"""A switch in a form. One that is only on or off is sent as off by Prefect's first UI where nobody touched it."""
PAIR = {"type": "string", "pattern": f"{NO_PASSWORD}[0-9]+=.+$"}
"""An entry of a mapping, N=FILE, as the command line has it: a form has no field for a mapping."""


class Group(NamedTuple):
    """Options that stand together."""

    title: str
    """Heading in --help, explanation in a form."""
    options: tuple[str, ...]
    key: str = ""
    """Name of the record that holds them in a form; empty for those at its top."""


@dataclass(frozen=True)
class Form:
    """Annotation of a record that a flow takes: `Annotated[StoryboardOptions, Form(StoryboardOptions, GROUPS)]`."""

    record: type[BaseModel]
    groups: tuple[Group, ...]

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """The JSON schema of every option, by name."""
        properties: dict[str, dict[str, Any]] = self.record.model_json_schema()["properties"]
        return properties

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the form, which also takes every option by its own name; no field has a default."""
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
        """What a form or a person sent, as the flat record takes it.

        Raises:
            ValueError: an option is given twice, inside and outside its group, and differently.
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
    """An option's schema without the null that it may be instead."""
    return {**schema, **schema.get("anyOf", [{}])[0]}


def _field(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An option as a field of a form: one type, no default, no null."""
    field = {key: item for key, item in value_schema(schema).items() if key not in ("anyOf", "default")}
    field["description"] = explain_option(schema)
    if field["type"] == "string" and "enum" not in field:
        field.setdefault("pattern", NO_PASSWORD)
    if field["type"] == "array" and field["items"]["type"] == "string":
        field["items"] = {**field["items"], "pattern": NO_PASSWORD}
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
    """What an option may be that is given by its own name, outside its group: also null, and true or false."""
    words_only = ("anyOf", "default", "title", "description")
    limits = {key: item for key, item in value_schema(schema).items() if key not in words_only}
    words = [AUTO, *([NOTHING] if _is_unset_by_null(schema) else [])]
    kind = limits.pop("type")
    kinds = [kind]
    if kind == "boolean":
        return {"enum": [*YES_OR_NO, True, False, None]}
    if "enum" in limits:
        return {"enum": [*words, *limits["enum"], None]}
    if kind == "string":
        return {**limits, "type": ["string", "null"], "pattern": f"^{AUTO}$|{limits.get('pattern', NO_PASSWORD)}"}
    if kind == "array" and limits["items"]["type"] == "string":
        limits["items"] = {**limits["items"], "pattern": NO_PASSWORD}
    if kind == "object":
        limits, kinds = {**limits, "items": PAIR}, ["object", "array"]
    return {**limits, "type": [*kinds, "null", "string"], "if": {"type": "string"}, "then": {"enum": words}}


def _is_unset_by_null(schema: Mapping[str, Any]) -> bool:
    return {"type": "null"} in schema.get("anyOf", []) and schema.get("default") is not None


def _may_be(word: str, schema: Mapping[str, Any]) -> bool:
    """Whether the word is a value of the option itself."""
    value = value_schema(schema)
    is_text = value.get("type") == "string" and "enum" not in value
    return is_text and re.search(value.get("pattern", ""), word) is not None


def explain_option(schema: Mapping[str, Any]) -> str:
    """An option's explanation, its limits and its default, in words."""
    text, _, unset = " ".join(schema["description"].split()).rstrip(".").partition(" Unset: ")
    facts = "; ".join(_facts(value_schema(schema), unset))
    return f"{text.rstrip('.')} ({facts})" if facts else text


def _facts(schema: Mapping[str, Any], unset: str) -> Iterator[str]:
    kind, default = schema["type"], schema["default"]
    if limits := _limits(schema):
        yield limits
    if kind in ("object", "array"):
        least = schema.get("minItems", 0)
        yield f"to be given {least} times or more" if least > 1 else "may be given more than once"
    if kind == "boolean" and (default or unset):
        yield f"default: {unset or 'on'}"
    elif kind not in ("object", "boolean") and default != []:
        yield f"default: {unset if default is None else _as_given(default)}"
        if unset and default is not None:
            yield f"none: {unset}"


def _limits(schema: Mapping[str, Any]) -> str:
    """The least and the greatest value in words: "1 to 24", "above 0 to 1", "0 to below 1", "1 or more"."""
    lowest = {"minimum": "{:.10g}", "exclusiveMinimum": "above {:.10g}"}
    highest = {"maximum": "to {:.10g}", "exclusiveMaximum": "to below {:.10g}"}
    low = [text.format(schema[key]) for key, text in lowest.items() if key in schema]
    high = [text.format(schema[key]) for key, text in highest.items() if key in schema]
    return " ".join(low + (high or ["or more"])) if low else ""


def _as_given(default: Any) -> str:
    """A default as one would write it on the command line."""
    return ",".join(default) if isinstance(default, list) else str(default)
