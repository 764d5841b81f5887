"""Tables of simcloud.rst that are the program's own: shapes, faults, texts of faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cloud_tables import Table
from sphinx.application import Sphinx

from poolmgr.simcloud.fault_kinds import KINDS
from poolmgr.simcloud.fault_texts import TEXTS
from poolmgr.simcloud.shapes import SHAPES


def _code(text: str) -> str:
    """With `names` as literals."""
    return text.replace("`", "``")


class Shapes(Table):
    def rows(self) -> Iterator[Sequence[str]]:
        yield "Shape", "What a client meets"
        for name, shape in SHAPES.items():
            yield f"``{name}``", _code(shape.about)


class Faults(Table):
    def rows(self) -> Iterator[Sequence[str]]:
        yield "Fault", "What happens", "To which calls, if nobody says otherwise"
        for kind, row in KINDS.items():
            calls = ", ".join(f"``{operation}``" for operation in row.operations)
            yield f"``{kind.value}``", _code(row.does), calls or "all but ``identity.*``"


class Texts(Table):
    def rows(self) -> Iterator[Sequence[str]]:
        yield "Text", "Status", "Words"
        for name, text in TEXTS.items():
            yield f"``{name}``", str(text.status), text.message


def setup(app: Sphinx) -> dict[str, bool]:
    for name, directive in (("sim-shapes", Shapes), ("sim-faults", Faults), ("sim-texts", Texts)):
        app.add_directive(name, directive)
    return {"parallel_read_safe": True}
