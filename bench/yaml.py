"""YAML as people mean it: safe, bounded, no key twice, and neither words nor numbers misread.

A file from outside costs no more time and memory than these limits let it: its size, how deep it nests, how much it
holds once anchors are followed, the length of a text and the size of a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from bench.errors import BenchError
from bench.patience import open_file
from bench.text import cut, shown

Raw = dict[str, Any]  # keys and values as YAML gives them, not validated yet
RawView = Mapping[str, Any]  # the same, only looked at
MAX_BYTES = 256 << 10  # of a file: the grids that ship have 3 KiB at most
MAX_DEPTH = 40  # lists and mappings within each other
MAX_VALUES = 50_000  # as written, and once anchors are followed
MAX_TEXT = 8192  # characters of one text
_TAG = "tag:yaml.org,2002:"
_INT, _FLOAT, _BOOL, _NULL, _STR, _MERGE = (
    f"{_TAG}{name}" for name in ("int", "float", "bool", "null", "str", "merge")
)
_MAP, _SEQ = f"{_TAG}map", f"{_TAG}seq"
_PATTERNS = {
    _BOOL: re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"),
    _INT: re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+)$"),
    _FLOAT: re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$", re.I
    ),
}
_FIRST = {_BOOL: "tTfF", _INT: "-+0123456789", _FLOAT: "-+0123456789."}
# Keys whose values are text, however they look: what names something. Of a dotted key, its last step counts.
_TEXTS = frozenset({"label", "title", "name", "dataset", "protocol", "method", "network", "augmentation"})
_SURROGATE = re.compile("[\ud800-\udfff]")
_Path: TypeAlias = tuple[str, ...]  # the keys that lead to a value


class _NodeError(Exception):
    """What is wrong with a node, and where."""

    def __init__(self, problem: str, node: yaml.Node | yaml.Event, path: _Path = ()) -> None:
        super().__init__(problem)
        self.mark, self.path = node.start_mark, path


class _Composer(yaml.SafeLoader):
    """Text as nodes, with the scalars of YAML 1.2, which are what people mean.

    Text are ``4:00:00``, ``2026-01-01``, ``010``, ``on``, ``off``, ``yes`` and ``no``; ``1e-4`` and ``0o17`` are numbers,
    and only ``true`` and ``false`` are truth values.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag in (_NULL, _MERGE)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node, unless it lies too deep, or is one too many."""
        self.depth += 1
        self.nodes += 1
        if self.nodes > 2 * MAX_VALUES:  # keys are nodes too
            raise _NodeError(f"more than {MAX_VALUES:,} values", self.peek_event())  # type: ignore[no-untyped-call]
        if self.depth > MAX_DEPTH:
            raise _NodeError(f"more than {MAX_DEPTH} lists or mappings within each other", self.peek_event())  # type: ignore[no-untyped-call]
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _tag, _pattern in _PATTERNS.items():
    _Composer.add_implicit_resolver(_tag, _pattern, list(_FIRST[_tag]))


class _Builder:
    """Nodes as Python's values.

    Keys are text, and so are the values of :data:`_TEXTS`: as they are written. Duplicate keys are refused, of which YAML
    would silently keep the last; those that ``<<`` merges in give way to a mapping's own. An anchored node is built anew
    wherever it is named, and counted each time.

    Args:
        texts: every scalar is text, as it is written.
    """

    def __init__(self, texts: bool = False) -> None:
        self.texts = texts
        self.values = 0
        self.within: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: _Path, named: bool) -> Any:
        """Return a node's value; where something is named, scalars and those of a list are text as they are written."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise _NodeError(f"more than {MAX_VALUES:,} values, anchors followed", node, path)
        if isinstance(node, yaml.ScalarNode):
            as_written = self.texts or (named and node.tag in _PATTERNS)
            return _text(node, path) if as_written else _scalar(node, path)
        if any(node is one for one in self.within):
            raise _NodeError("an anchor within itself", node, path)
        if len(self.within) >= MAX_DEPTH:
            raise _NodeError(f"more than {MAX_DEPTH} lists or mappings within each other, anchors followed", node, path)
        self.within.append(node)
        found: Any = None
        if isinstance(node, yaml.SequenceNode):
            found = self._list(node, path, named)
        elif isinstance(node, yaml.MappingNode):
            found = self._mapping(node, path)
        self.within.pop()
        return found

    def _list(self, node: yaml.SequenceNode, path: _Path, named: bool) -> list[Any]:
        if node.tag != _SEQ:
            raise _foreign(node, path)
        return [self.value(element, (*path, str(i)), named) for i, element in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: _Path) -> Raw:
        if node.tag != _MAP:
            raise _foreign(node, path)
        own, merged = Raw(), None
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                if merged is not None:
                    raise _NodeError("the key '<<' is given twice: list what it merges, <<: [*a, *b]", key_node, path)
                merged = self._merged(value_node, path)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise _NodeError("a key must be a name", key_node, path)
            key = _text(key_node, path)
            if key in own:
                raise _NodeError(f"the key '{cut(key)}' is given twice", key_node, path)
            own[key] = self.value(value_node, (*path, key), _is_text(key))
        return {**(merged or {}), **own}

    def _merged(self, node: yaml.Node, path: _Path) -> Raw:
        """Return what ``<<`` merges: a mapping, or a list of them of which the first one that has a key counts."""
        found = self.value(node, path, named=False)
        mappings = found if isinstance(found, list) else [found]
        if not all(isinstance(mapping, dict) for mapping in mappings):
            raise _NodeError("'<<' merges a mapping, or a list of mappings, such as *anchor", node, path)
        merged: Raw = {}
        for mapping in reversed(mappings):
            merged.update(mapping)
        return merged


def _foreign(node: yaml.Node, path: _Path) -> _NodeError:
    tag = str(node.tag).replace(_TAG, "!!")
    return _NodeError(f"the tag {cut(tag)} is none that is known for such a value; write it without", node, path)


def _scalar(node: yaml.ScalarNode, path: _Path) -> Any:
    """Return a scalar's value by its tag, which may be written before it: !!int."""
    text = node.value
    if node.tag in (_STR, _MERGE):  # `<<` that is no key
        return _text(node, path)
    if node.tag == _NULL and text in ("", "~", "null", "Null", "NULL"):
        return None
    if node.tag == _BOOL and _PATTERNS[_BOOL].match(text):
        return text.lower() == "true"
    if node.tag == _INT and _PATTERNS[_INT].match(text):
        return _int(node, path)
    if node.tag == _FLOAT and (_PATTERNS[_FLOAT].match(text) or _PATTERNS[_INT].match(text)):
        return _float(node, path)
    if node.tag not in (_NULL, *_PATTERNS):
        raise _foreign(node, path)
    raise _NodeError(f"{shown(text)} is no {node.tag.replace(_TAG, '')}", node, path)


def _int(node: yaml.ScalarNode, path: _Path) -> int:
    digits = node.value.replace("_", "").lower()
    if len(digits) <= 70:  # 64 bits and a prefix
        number = int(digits, 0 if re.match(r"[-+]?0[xo]", digits) else 10)
        if abs(number) < 1 << 64:
            return number
    raise _NodeError(f"{cut(node.value)} is beyond 64 bits", node, path)


def _float(node: yaml.ScalarNode, path: _Path) -> float:
    digits = node.value.replace("_", "").lower()
    if digits.endswith((".inf", ".nan")):
        return float(digits.replace(".", ""))
    number = float(digits)
    if math.isinf(number):
        raise _NodeError(f"{cut(node.value)} is larger than a number can be", node, path)
    return number


def _is_text(key: str) -> bool:
    return key.rpartition(".")[2] in _TEXTS


def _text(node: yaml.ScalarNode, path: _Path) -> str:
    """Return a scalar as it is written.

    It may hold control characters, escaped: whatever prints it replaces them (see ``bench/text.py``).
    """
    text = str(node.value)
    if len(text) > MAX_TEXT:
        raise _NodeError(f"a text of {len(text):,} characters, of at most {MAX_TEXT:,}: {shown(text)}", node, path)
    if half := _SURROGATE.search(text):
        raise _NodeError(f"{shown(text)} holds half a character, #x{ord(half[0]):04x}", node, path)
    return text


def parse_yaml(text: str, where: str, key: str = "", texts: bool = False) -> Any:
    """Parse YAML.

    Args:
        text: one document.
        where: for messages.
        key: the dotted key whose value it is; a name is text, however it looks.
        texts: all values are text, as they are written.

    Raises:
        BenchError: one line with the position, and the key that leads there.
    """
    if len(text) > MAX_BYTES:
        raise BenchError(f"{where}: more than {MAX_BYTES >> 10} KiB of YAML; it takes none so long")
    loader = _loader(text, where)
    try:
        node = loader.get_single_node()
        return None if node is None else _Builder(texts).value(node, (), _is_text(key))
    except _NodeError as error:
        path = f"{cut('.'.join(error.path))}: " if error.path else ""
        raise BenchError(f"{where}{_line(error.mark)}: {path}{error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BenchError(f"{where}{_line(mark)}: {_problem(error)}") from None
    except (ValueError, OverflowError) as error:  # an escape such as \\U99999999
        raise BenchError(f"{where}: {cut(str(error))}") from None
    finally:
        loader.dispose()


def _loader(text: str, where: str) -> _Composer:
    try:
        return _Composer(text)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise BenchError(f"{where}, line {line}: YAML has no character #x{error.character:04x}") from None


def _line(mark: Any) -> str:
    return f", line {mark.line + 1}" if mark is not None else ""


def _problem(error: yaml.YAMLError) -> str:
    if getattr(error, "context", None) == "expected a single document in the stream":
        return "a second document begins here (---); a file holds one"
    return cut(" ".join(str(getattr(error, "problem", None) or error).split()), 200)


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        BenchError: one line: that it can't be read, or where it isn't YAML.
    """
    try:
        with open_file(path) as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8") if len(content) <= MAX_BYTES else ""
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: can't be read: {error}") from None
    if len(content) > MAX_BYTES:
        raise BenchError(f"{path}: more than {MAX_BYTES >> 10} KiB; no file of settings is so long")
    return parse_yaml(text, str(path))
