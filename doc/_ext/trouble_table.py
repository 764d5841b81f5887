"""`.. troubles::` shows every word for what can be wrong with a cloud, and what to do, as the program tells it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cloud_tables import Table
from sphinx.application import Sphinx

from poolmgr.model.trouble import Trouble


class Troubles(Table):
    def rows(self) -> Iterator[Sequence[str]]:
        yield "Reason", "What to do"
        for trouble in sorted(Trouble, key=lambda trouble: trouble.value):
            remedy = trouble.remedy.replace("`", "'").replace("\\", "\\\\").replace("*", "\\*")
            yield f"``{trouble.value}``", f"{remedy[0].upper()}{remedy[1:]}."


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("troubles", Troubles)
    return {"parallel_read_safe": True}
