"""Sphinx's settings: ``make docs`` builds the site into build/docs, ``make docs-links`` tries links that lead out."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from optional_pages import CARD

project = "coseg"
author = "the authors of coseg"
version = release = installed_version("coseg")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "configuration_page",  # this and what follows lie in _ext
    "formulas",
    "optional_pages",
    "search_excerpts",
    "self_contained",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_ext", "_static", "results"]
if not CARD.is_file():  # a checkout without the bundled model
    exclude_patterns.append("bundled_model.md")

# Markdown: a link to a heading that is not there is an error.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
nitpicky = True
# What torch, numpy, Lightning and Python define has its own documentation, elsewhere.
nitpick_ignore_regex = [("py:.*", ".*")]

# Docstrings are Google's style; `name` in them is code, and leads to what is documented here.
default_role = "py:obj"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

html_theme = "furo"  # brings its own styles and scripts: a page asks nothing of any other machine
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_title = f"coseg {release}"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False

linkcheck_timeout = 30
