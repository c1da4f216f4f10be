"""How an answer is asked for: as OpenAI's newest models take it, and simpler where a server refuses that."""

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
"""Refusals that no other form of the request avoids."""


@dataclass(frozen=True)
class Manner:
    """What a request holds beside the conversation."""

    form: Literal["json_schema", "json_object", "text"] = "json_schema"
    """How JSON is asked for: by its schema, as any JSON, or in words alone."""
    temperature: bool = True
    system: bool = True
    """Whether the rules are a system message; without, they stand before the story."""

    @classmethod
    def first(cls, model: str, temperature_is_asked_for: bool) -> Manner:
        """How to ask at first: models that are known to take no temperature are sent one only where it was set."""
        return cls(temperature=temperature_is_asked_for or not _WITHOUT_TEMPERATURE.match(model))

    def parameters(self, schema: dict[str, Any], temperature: float) -> dict[str, Any]:
        """What is sent beside model and messages."""
        found: dict[str, Any] = {"temperature": temperature} if self.temperature else {}
        if self.form == "json_schema":
            form = {"name": "storyboard", "strict": True, "schema": schema}
            found["response_format"] = {"type": "json_schema", "json_schema": form}
        elif self.form == "json_object":
            found["response_format"] = {"type": "json_object"}
        return found

    def messages(self, rules: str, story: str, schema: dict[str, Any]) -> list[dict[str, str]]:
        """The conversation's beginning; where the server isn't given the schema, the model is told it."""
        if self.form != "json_schema":
            rules += (
                f"\nAnswer with one JSON object and nothing else. It fits this JSON schema:\n{json.dumps(schema)}\n"
            )
        if not self.system:
            return [{"role": "user", "content": f"{rules}\n{story}"}]
        return [{"role": "system", "content": rules}, {"role": "user", "content": story}]

    def simpler(self, failure: Reply) -> Manner | None:
        """How to ask after this refusal, or None where asking otherwise does not help."""
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
        """What the simpler way leaves out, in words."""
        if simpler.temperature != self.temperature:
            return "temperature"
        return "the system role" if simpler.system != self.system else f"response_format {self.form}"
