"""A new annotator.toml: every setting with its default, commented out, made from the settings themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HEAD = """# Settings of this annotator project.
# A line without '#' in front counts; the others show the defaults. ANNOTATOR_<NAME> in the environment goes before this
# file, e.g. ANNOTATOR_DATABASE_URL=postgresql+psycopg://user@host/database. Paths start at this file's folder.
"""

FROM_ENVIRONMENT = "set ANNOTATOR_{name} in the environment, so that it is not in a file"


def config_text(profile: str) -> str:
    """The text of a new settings file for that profile."""
    from annotator.settings import Settings

    lines = [HEAD, f'profile = "{profile}"']
    for name, info in Settings.model_fields.items():
        if name not in ("root", "profile"):
            lines += ["", f"# {info.description}", f"# {_example(name, info.get_default(call_default_factory=True))}"]
    return "\n".join(lines) + "\n"


def _example(name: str, default: Any) -> str:
    if "password" in name or "secret" in name or "key" in name:
        return FROM_ENVIRONMENT.format(name=name.upper())
    if default is None:
        return f"{name} = ..."
    return f"{name} = {_toml(default)}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Path):
        return json.dumps(str(value))
    return "{}" if value == {} else str(value)
