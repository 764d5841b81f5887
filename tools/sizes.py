#!/usr/bin/env python3
"""Prints the largest modules and functions of poolmgr/: places to look at twice, never a gate.

tools/sizes.py [MODULE_LINES] [FUNCTION_LINES]      report what is longer; default 400 and 50
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def functions(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Name, line and length of each function, its docstring not counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                first = node.body[0]
                lines -= (first.end_lineno or first.lineno) - first.lineno + 1
            yield node.name, node.lineno, lines


def main(module_limit: int = 400, function_limit: int = 50) -> None:
    rows = []
    for path in sorted((ROOT / "poolmgr").rglob("*.py")):
        text = path.read_text()
        place = path.relative_to(ROOT)
        if (lines := text.count("\n")) > module_limit:
            rows.append((lines, f"{place}"))
        rows += [
            (lines, f"{place}:{line} {name}")
            for name, line, lines in functions(ast.parse(text))
            if lines > function_limit
        ]
    for lines, place in sorted(rows, reverse=True):
        print(f"{lines:5} lines  {place}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
