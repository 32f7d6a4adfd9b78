"""Tell editors and other tools what addon.json may hold, as a JSON Schema made from the code.

The schema is shipped beside this file; write it anew after a change of `AddonConfig`:

    python -m voxstack.stack.schema > src/voxstack/stack/addon.schema.json
"""

import json
from typing import Any

from voxstack.stack.config import FORMAT, AddonConfig

__all__ = ["addon_schema", "schema_text"]


def addon_schema() -> dict[str, Any]:
    """Return the JSON Schema of addon.json, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:voxstack:addon:{FORMAT}",
        **AddonConfig.model_json_schema(),
        "title": "addon.json",
    }


def schema_text() -> str:
    """Return the schema as it is shipped."""
    return json.dumps(addon_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
