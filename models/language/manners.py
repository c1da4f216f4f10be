"""The request's form: first as OpenAI's newest models accept it, then simpler if the server refuses it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from models.language.failures import Reply

SIMPLER: dict[str, Literal["json_object", "text"]] = {"json_schema": "json_object", "json_object": "text"}
_WITHOUT_TEMPERATURE = re.compile(r"(?:.*/)?(?:gpt-5|o\d)")
_OF_ANOTHER_KIND = re.compile(
    r"context.{0,20}(length|window)|too many tokens|model.{0,40}not (found|exist)|unknown model|invalid model"
    r"|api.?key|quota|billing|credit|content.?(policy|filter)|safety",
    re.IGNORECASE,
)
"""Refusals that another form of the request would not avoid."""


@dataclass(frozen=True)
class Manner:
    """A request's form."""

    form: Literal["json_schema", "json_object", "text"] = "json_schema"
    """How JSON is requested: by its schema, as any JSON object, or only in the prompt."""
    temperature: bool = True
    """Whether the temperature is sent."""
    system: bool = True
    """Whether the rules are a system message; if not, they precede the story in the user's message."""

    @classmethod
    def first(cls, model: str, temperature_is_asked_for: bool) -> Manner:
        """Return the first form. Models known to refuse a temperature get one only if it was set explicitly."""
        return cls(temperature=temperature_is_asked_for or not _WITHOUT_TEMPERATURE.match(model))

    def parameters(self, schema: dict[str, Any], temperature: float) -> dict[str, Any]:
        """Return the request's parameters other than model and messages."""
        found: dict[str, Any] = {"temperature": temperature} if self.temperature else {}
        if self.form == "json_schema":
            form = {"name": "storyboard", "strict": True, "schema": schema}
            found["response_format"] = {"type": "json_schema", "json_schema": form}
        elif self.form == "json_object":
            found["response_format"] = {"type": "json_object"}
        return found

    def messages(self, rules: str, story: str, schema: dict[str, Any]) -> list[dict[str, str]]:
        """Return the first messages; if the server does not get the schema, it is in the prompt."""
        if self.form != "json_schema":
            rules += (
                f"\nAnswer with one JSON object and nothing else. It fits this JSON schema:\n{json.dumps(schema)}\n"
            )
        if not self.system:
            return [{"role": "user", "content": f"{rules}\n{story}"}]
        return [{"role": "system", "content": rules}, {"role": "user", "content": story}]

    def simpler(self, failure: Reply) -> Manner | None:
        """Return the form to try after this refusal, or None if no other form helps."""
        said = failure.text.lower()
        if failure.status not in (400, 415, 422) or _OF_ANOTHER_KIND.search(said):
            return None
        if self.temperature and "temperature" in said:
            return replace(self, temperature=False)
        if self.system and re.search(r"system.{0,20}(role|message|prompt)|role.{0,20}system", said):
            return replace(self, system=False)
        if self.form in SIMPLER:
            return replace(self, form=SIMPLER[self.form])
        return None

    def without(self, simpler: Manner) -> str:
        """Return what the simpler form leaves out, in words."""
        if simpler.temperature != self.temperature:
            return "temperature"
        return "the system role" if simpler.system != self.system else f"response_format {self.form}"
