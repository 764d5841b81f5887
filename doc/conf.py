"""Sphinx settings of the manual. Build: sphinx-build -W -b html doc doc/_build/html"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import poolmgr

project = "poolmgr"
copyright = "the poolmgr authors, Apache License 2.0"  # noqa: A001 - Sphinx wants this name
version = release = poolmgr.__version__

extensions = ["cloud_tables", "metric_table", "simcloud_tables", "trouble_table"]
exclude_patterns = ["_build"]
nitpicky = True
html_theme = "alabaster"
html_theme_options = {"description": "Keeps OpenStack virtual machines ready for CI", "fixed_sidebar": True}
