"""A YAML file that still knows where each of its keys and values stands.

`read_document` never raises for what a file holds: everything found, down to a file that is not YAML, is in
`Document.problems`, so that one run reports the findings of all files. The dialect is PyYAML's safe loader, as
in the reference: anchors, aliases and `<<` merge keys work. Additional to it: a repeated key is reported, as
are an alias inside of itself and aliases that would expand to more than `MOST_NODES` values. PyYAML's faster binding
to libyaml is not used: it ends the process on deep nesting (6.0.3, measured); 1,000 lines take 0.1 s without it.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from poolmgr.config.interpolation import PLACEHOLDER, Expanded, expand
from poolmgr.config.problem import Path, Problem, Severity, kind, shown

MOST_NODES = 300_000  # OpenDev's largest file expands to some 10,000

_MERGE = "tag:yaml.org,2002:merge"
_Span = tuple[int, int, int]  # where the key begins, where the value begins, where it ends


class _Spans:
    """Where the entries of each mapping and list stand in the text."""

    def __init__(self) -> None:
        # Containers are kept alive: one that a repeated key threw away must not lend its id to another.
        self._tables: dict[int, tuple[Any, dict[Any, _Span]]] = {}

    def add(self, container: Any) -> dict[Any, _Span]:
        return self._tables.setdefault(id(container), (container, {}))[1]

    def of(self, container: Any, step: Any) -> _Span | None:
        entry = self._tables.get(id(container))
        return entry[1].get(step) if entry else None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Line and column in `file`, both from 1; 0 for data that no file holds."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, kw_only=True)
class Document:
    """What `file` holds. `data` is None when it is empty or cannot be read (`problems` tells)."""

    file: str
    data: Any = None
    problems: tuple[Problem, ...] = ()
    strict: bool = False
    _text: Expanded | None = field(default=None, repr=False)
    _spans: _Spans = field(default_factory=_Spans, repr=False, compare=False)

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Where the value at `path` begins (`key`: where its key does); of the nearest parent if there is none."""
        if self._text is None:
            return Place(file=self.file, line=0, column=0)
        found = None
        container = self.data
        for step in path:
            span = self._spans.of(container, step)
            if span is None:
                break
            found = span
            container = container[step]
        if found is None:
            return Place(file=self.file, line=1, column=1)
        line, column = self._text.place(found[0] if key else found[1])
        return Place(file=self.file, line=line, column=column)

    def value(self, path: Path) -> Any:
        """The value at `path`; None when there is none."""
        container = self.data
        for step in path:
            if self._spans.of(container, step) is None:
                return None
            container = container[step]
        return container

    def may_be_secret(self, path: Path) -> bool:
        """Whether the value at `path` came out of the environment, as passwords do."""
        container, span = self.data, None
        for step in path:
            span = self._spans.of(container, step)
            if span is None:
                return True
            container = container[step]
        return span is not None and self._text is not None and self._text.from_variable(span[1], span[2])

    def problem(
        self,
        path: Path,
        what: str,
        *,
        severity: Severity = Severity.ERROR,
        found: str | None = None,
        allowed: str = "",
        hint: str = "",
        key: bool = False,
    ) -> Problem:
        """A finding about the value at `path` (`key`: about the key itself).

        `found` None shows the value (or only its kind when it came from the environment); pass "" to show
        nothing, for secrets above all.
        """
        place = self.place(path, key=key)
        if found is None:
            value = self.value(path)
            found = kind(value) if self.may_be_secret(path) else shown(value)
        return Problem(
            severity=severity,
            file=self.file,
            line=place.line,
            column=place.column,
            path=path,
            what=what,
            found=found,
            allowed=allowed,
            hint=hint,
            inside=", ".join(self._names(path)),
        )

    @property
    def doubtful(self) -> Severity:
        """For what the reference lets pass and nobody can have meant: a warning, an error when strict."""
        return Severity.ERROR if self.strict else Severity.WARNING

    def _names(self, path: Path) -> Generator[str, None, None]:
        """Names of the list entries on the way to `path`: `provider north`, `pool main`."""
        container = self.data
        for position, step in enumerate(path):
            if self._spans.of(container, step) is None:
                return
            container = container[step]
            name = container.get("name") if isinstance(container, dict) else None
            if isinstance(step, int) and position and isinstance(name, str):
                yield f"{str(path[position - 1]).removesuffix('s')} {name}"


def document_of(data: Mapping[str, Any], *, origin: str, strict: bool = False) -> Document:
    """`data` that no file holds, for findings in the form of all others; `origin` stands where the file would."""
    spans = _Spans()
    return Document(file=origin, data=_located(data, spans), strict=strict, _spans=spans)


def _located(data: Any, spans: _Spans) -> Any:
    """A copy of `data` whose mappings and lists are in `spans`, at no place in particular."""
    if isinstance(data, Mapping):
        mapping = {key: _located(value, spans) for key, value in data.items()}
        spans.add(mapping).update(dict.fromkeys(mapping, (0, 0, 0)))
        return mapping
    if isinstance(data, (list, tuple)):
        items = [_located(value, spans) for value in data]
        spans.add(items).update(dict.fromkeys(range(len(items)), (0, 0, 0)))
        return items
    return data


def read_document(path: str, *, environ: Mapping[str, str], strict: bool = False) -> Document:
    """The file at `path`, with `%(NODEPOOL_name)` replaced from `environ`. A file that cannot be read is a finding."""
    try:
        with open(path, "rb") as stream:
            raw = stream.read()
        text = raw.decode("utf-8")
    except OSError as error:
        return _unreadable(path, f"cannot read the file: {error.strerror or error}")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return _unreadable(path, "not UTF-8 text", line=line, found=f"byte 0x{raw[error.start]:02x}")
    return parse_document(text, file=path, environ=environ, strict=strict)


def parse_document(text: str, *, file: str, environ: Mapping[str, str], strict: bool = False) -> Document:
    """As `read_document`, for a text that is at hand; `file` is its name in findings."""
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # JSON may be indented with tabs, and has none inside of its texts
    expanded = expand(text, environ)
    loader: _Loader | None = None
    try:
        loader = _Loader(expanded.text)
        return _parse(loader, expanded, file=file, environ=environ, strict=strict)
    except RecursionError:
        return _unreadable(file, "nested too deeply")
    except yaml.YAMLError as error:
        return Document(file=file, problems=(_syntax(error, expanded, file, environ),), strict=strict)
    finally:
        if loader is not None:
            loader.dispose()


def _parse(
    loader: _Loader, expanded: Expanded, *, file: str, environ: Mapping[str, str], strict: bool
) -> Document:
    root = loader.get_single_node()
    if root is None:
        return Document(file=file, strict=strict, _text=expanded)
    notes = _Survey(expanded, environ).of(root)
    data = loader.construct_document(root)
    document = Document(file=file, data=data, strict=strict, _text=expanded, _spans=loader.spans)
    problems = []
    for path, index, what, hint in notes:
        line, column = expanded.place(index)
        problems.append(
            Problem(
                severity=document.doubtful,
                file=file,
                line=line,
                column=column,
                path=path,
                what=what,
                hint=hint,
            )
        )
    return Document(
        file=file, data=data, problems=tuple(problems), strict=strict, _text=expanded, _spans=loader.spans
    )


def _unreadable(file: str, what: str, *, line: int = 0, found: str = "") -> Document:
    problem = Problem(
        severity=Severity.ERROR, file=file, line=line, column=min(line, 1), what=what, found=found
    )
    return Document(file=file, problems=(problem,))


class _Loader(yaml.SafeLoader):
    """The safe loader, taking down where each entry of a mapping or list was written.

    Aliases share one object, so the tables grow with the file, not with what it expands to.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.spans = _Spans()

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
            # PyYAML lets these out for values such as 2024-99-99, !!bool maybe or 0x_.
            kind_of = node.tag.rsplit(":", 1)[-1]
            raise yaml.constructor.ConstructorError(
                None, None, f"not a valid {kind_of}", node.start_mark
            ) from error

    def construct_located_map(self, node: yaml.MappingNode) -> Generator[dict[Any, Any], None, None]:
        data: dict[Any, Any] = {}
        yield data
        self.flatten_mapping(node)
        spans = self.spans.add(data)
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a mapping or list cannot be a key", key_node.start_mark
                )
            data[key] = self.construct_object(value_node)
            spans[key] = (key_node.start_mark.index, *_extent(value_node))

    def construct_located_list(self, node: yaml.SequenceNode) -> Generator[list[Any], None, None]:
        data: list[Any] = []
        yield data
        spans = self.spans.add(data)
        for position, item in enumerate(node.value):
            data.append(self.construct_object(item))
            start, end = _extent(item)
            spans[position] = (start, start, end)


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_located_map)
_Loader.add_constructor("tag:yaml.org,2002:seq", _Loader.construct_located_list)


def _extent(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.index, node.end_mark.index


_Note = tuple[Path, int, str, str]  # path, index in the text, what, hint


class _Survey:
    """One walk over the nodes of a file, each once however often aliases name it, before values are made."""

    def __init__(self, expanded: Expanded, environ: Mapping[str, str]) -> None:
        self._expanded = expanded
        self._environ = environ
        self._sizes: dict[int, int] = {}  # values a node expands to; 0 while it is being looked at
        self._notes: list[_Note] = []

    def of(self, root: yaml.Node) -> list[_Note]:
        """What was noticed. Raises YAMLError for aliases that loop or explode."""
        self._size(root, ())
        return self._notes

    def _size(self, node: yaml.Node, path: Path) -> int:
        known = self._sizes.get(id(node))
        if known == 0:
            raise yaml.composer.ComposerError(None, None, "an alias inside of what it names", node.start_mark)
        if known is not None:
            return known
        self._sizes[id(node)] = 0
        size = 1 + sum(self._size(child, where) for child, where in self._children(node, path))
        if size > MOST_NODES:
            raise yaml.composer.ComposerError(
                None, None, f"aliases expand to more than {MOST_NODES:,} values", node.start_mark
            )
        self._sizes[id(node)] = size
        return size

    def _children(self, node: yaml.Node, path: Path) -> Generator[tuple[yaml.Node, Path], None, None]:
        if isinstance(node, yaml.ScalarNode):
            self._unexpanded(node, path)
        elif isinstance(node, yaml.SequenceNode):
            yield from ((item, (*path, i)) for i, item in enumerate(node.value))
        elif isinstance(node, yaml.MappingNode):
            self._repeated(node, path)
            for key, value in node.value:
                yield key, path
                yield value, path if key.tag == _MERGE else (*path, key.value)

    def _repeated(self, node: yaml.MappingNode, path: Path) -> None:
        first: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            earlier = first.setdefault((key.tag, key.value), key)
            if earlier is not key:
                line, _column = self._expanded.place(earlier.start_mark.index)
                what = f"the key is repeated; it stands on line {line} already"
                self._notes.append(
                    ((*path, key.value), key.start_mark.index, what, "only the last one counts")
                )

    def _unexpanded(self, node: yaml.ScalarNode, path: Path) -> None:
        for match in PLACEHOLDER.finditer(node.value):
            self._notes.append((path, node.start_mark.index, *_why_unexpanded(match[1], self._environ)))


def _why_unexpanded(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    if name in environ:
        return f"%({name}) came out of another variable and is not expanded again", "it stays as text"
    return f"environment variable {name} is not set", f"%({name}) stays as text"


def _syntax(error: yaml.YAMLError, expanded: Expanded, file: str, environ: Mapping[str, str]) -> Problem:
    """A parser's complaint as a finding; its excerpt of the file is left out, it may show a secret."""
    index, what = _complaint(error)
    line, column = expanded.place(index)
    unset = PLACEHOLDER.match(expanded.text, index)
    if unset is not None:
        what, _ = _why_unexpanded(unset[1], environ)
        return Problem(
            severity=Severity.ERROR,
            file=file,
            line=line,
            column=column,
            what=what,
            found=unset[0],
            hint=f"set {unset[1]} or quote the value",
        )
    return Problem(severity=Severity.ERROR, file=file, line=line, column=column, what=f"not YAML: {what}")


def _complaint(error: yaml.YAMLError) -> tuple[int, str]:
    if isinstance(error, yaml.reader.ReaderError):
        return error.position, f"character U+{error.character:04X} is not allowed"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        words = ", ".join(word for word in (error.context, error.problem) if word)
        return (mark.index if mark else 0), words or "cannot be parsed"
    return 0, "cannot be parsed"
