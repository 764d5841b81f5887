"""`.. metric-table::` shows the table the program sends by, so the manual cannot differ from it."""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from poolmgr.observe.names import METRICS, Metric


class MetricTable(SphinxDirective):
    """The metrics whose name begins with the argument, as rows of name, type and meaning."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        rows = [metric for metric in METRICS if metric.template.startswith(self.arguments[0])]
        assert rows, f"no metric begins with {self.arguments[0]}"
        titles = ("Name", "Type", "For Prometheus", "Meaning")
        lines = [".. list-table::", "   :header-rows: 1", "", "   * - " + "\n     - ".join(titles)]
        lines = "\n".join(lines).split("\n")
        for metric in rows:
            lines += [
                f"   * - {_shown(metric)}",
                f"     - {'+'.join(metric.types) or '(none)'}",
                f"     - {_labelled(metric)}",
                f"     - {metric.meaning}",
            ]
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source="metric-table"), self.content_offset, container)
        return container.children


def _shown(metric: Metric) -> str:
    name = metric.template
    for part in metric.parts:
        name = name.replace(f"{{{part}}}", f"<{part}>")
    return f"``{name}``"


def _labelled(metric: Metric) -> str:
    counter = metric.types == ("c",)
    return f"``{metric.prometheus}{'_total' if counter else ''}{{{', '.join(metric.parts)}}}``"


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("metric-table", MetricTable)
    return {"parallel_read_safe": True}
