"""YAML as people mean it: safe, no key twice, and neither words nor numbers misread."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from bench.errors import BenchError

Raw = dict[str, Any]  # keys and values as YAML gives them, not validated yet
RawView = Mapping[str, Any]  # the same, only looked at
_INT, _FLOAT, _BOOL, _NULL, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null", "merge"))
_TEXTS = ("label", "title")  # keys whose values are text, however they look


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2, which are what people mean.

    Text are ``4:00:00``, ``2026-01-01``, ``010``, ``on``, ``off``, ``yes`` and ``no``; ``1e-4`` is a number, and only
    ``true`` and ``false`` are truth values. Duplicate keys are refused, of which YAML would silently keep the last; those
    that ``<<`` merges in give way to a mapping's own.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag in (_NULL, _MERGE)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, value_node in node.value:
        if key_node.tag == _MERGE:
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a name", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is given twice", key_node.start_mark)
        seen.add(key)
        if key in _TEXTS and isinstance(value_node, yaml.ScalarNode) and value_node.tag in (_INT, _FLOAT, _BOOL):
            value_node.tag = "tag:yaml.org,2002:str"  # as it is written: 1.10 is not 1.1
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_implicit_resolver(_BOOL, re.compile(r"true$|false$", re.I), list("tTfF"))
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$", re.I),
    list("-+0123456789."),
)


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML.

    Raises:
        BenchError: one line with the position.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a subclass of SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise BenchError(f"{where}{line}: {getattr(error, 'problem', None) or error}") from None


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        BenchError: one line: that it can't be read, or where it isn't YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: can't be read: {error}") from None
    return parse_yaml(text, str(path))
