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
# Keys whose values are text, however they look: what names something. Of a dotted key, its last step counts.
_TEXTS = frozenset({"label", "title", "name", "dataset", "protocol", "method", "network", "augmentation"})


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2, which are what people mean.

    Text are ``4:00:00``, ``2026-01-01``, ``010``, ``on``, ``off``, ``yes`` and ``no``; ``1e-4`` and ``0o17`` are numbers,
    and only ``true`` and ``false`` are truth values. Keys are text, and so are the values of :data:`_TEXTS`: as they are
    written. Duplicate keys are refused, of which YAML would silently keep the last; those that ``<<`` merges in give
    way to a mapping's own.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag in (_NULL, _MERGE)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _error(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    """Construct a mapping; nodes stay as they are, since an anchored one may be constructed under another key too."""
    own: dict[Any, Any] = {}
    merged: dict[Any, Any] | None = None
    for key_node, value_node in node.value:
        if key_node.tag == _MERGE:
            if merged is not None:
                raise _error("the key '<<' is given twice: list what it merges, <<: [*a, *b]", key_node)
            merged = _merged(loader, value_node)
            continue
        key = _text(key_node) if isinstance(key_node, yaml.ScalarNode) else loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise _error("a key must be a name", key_node)
        if key in own:
            raise _error(f"the key '{key}' is given twice", key_node)
        own[key] = _named(loader, value_node) if _is_text(key) else loader.construct_object(value_node, deep=True)
    return {**(merged or {}), **own}


def _merged(loader: _Loader, node: yaml.Node) -> dict[Any, Any]:
    """Return what ``<<`` merges: a mapping, or a list of them of which the first one that has a key counts."""
    found = loader.construct_object(node, deep=True)
    mappings = found if isinstance(found, list) else [found]
    if not all(isinstance(mapping, dict) for mapping in mappings):
        raise _error("'<<' merges a mapping, or a list of mappings, such as *anchor", node)
    merged: dict[Any, Any] = {}
    for mapping in reversed(mappings):
        merged = {**merged, **mapping}
    return merged


def _is_text(key: Any) -> bool:
    return isinstance(key, str) and key.rpartition(".")[2] in _TEXTS


def _text(node: yaml.ScalarNode) -> str:
    return str(node.value)


def _named(loader: _Loader, node: yaml.Node) -> Any:
    """Construct a value that is text as it is written, 1.10 and not 1.1; a list of such; or, as usual, anything else."""
    if isinstance(node, yaml.ScalarNode) and node.tag in (_INT, _FLOAT, _BOOL):
        return _text(node)
    if isinstance(node, yaml.SequenceNode):
        return [_named(loader, element) for element in node.value]
    return loader.construct_object(node, deep=True)


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    digits = node.value.replace("_", "").lower()
    return int(digits, 0 if re.match(r"[-+]?0[xo]", digits) else 10)


def _plain(loader: _Loader, node: yaml.ScalarNode) -> str:
    return _text(node)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor(_INT, _int)
_Loader.add_constructor(_MERGE, _plain)  # `<<` that is no key
_Loader.add_implicit_resolver(_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    _INT, re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$", re.I),
    list("-+0123456789."),
)


def parse_yaml(text: str, where: str, key: str = "") -> Any:
    """Parse YAML.

    Args:
        text: one document.
        where: for messages.
        key: the dotted key whose value it is; a name is text, however it looks.

    Raises:
        BenchError: one line with the position.
    """
    loader = _loader(text, where)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        return _named(loader, node) if _is_text(key) else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BenchError(f"{where}{_line(mark)}: {_problem(error)}") from None
    except RecursionError:
        raise BenchError(f"{where}: an anchor within itself, or too many lists within lists") from None
    except ValueError as error:  # of an explicit tag, such as `!!int many`
        raise BenchError(f"{where}: {error}") from None
    finally:
        loader.dispose()


def _loader(text: str, where: str) -> _Loader:
    try:
        return _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise BenchError(f"{where}, line {line}: YAML has no character #x{error.character:04x}") from None


def _line(mark: Any) -> str:
    return f", line {mark.line + 1}" if mark is not None else ""


def _problem(error: yaml.YAMLError) -> str:
    if getattr(error, "context", None) == "expected a single document in the stream":
        return "a second document begins here (---); a file holds one"
    return " ".join(str(getattr(error, "problem", None) or error).split())


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
