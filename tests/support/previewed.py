"""What `--preview` prints of a tap's lines, and the maps that it proposes there."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from forked import run


def preview(lines: list[Any], **settings: Any) -> str:
    """What it prints on stdout; it needs no token and asks no Klar."""
    ended = run(None, lines, "--preview", **settings)
    assert ended.code == 0, ended.err
    return ended.out


def proposed(out: str) -> dict[str, Any]:
    """The maps that it prints, of all streams; as JSON and as YAML they are the same."""
    blocks = re.findall(r"^    (\{.*\})\n.*\n((?:    .*\n)+)", out, re.MULTILINE)
    maps: dict[str, Any] = {}
    for as_json, as_yaml in blocks:
        assert json.loads(as_json) == yaml.safe_load(as_yaml)
        maps |= json.loads(as_json)["stream_maps"]
    return maps
