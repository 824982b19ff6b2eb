"""How the documentation is built: `make docs`, offline, warnings are errors."""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

import canarykit  # noqa: E402

project = "canarykit"
author = "the canarykit contributors"
copyright = author
release = version = canarykit.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # formulas without the web
    "numpydoc",
    "myst_nb",
    "sphinx_design",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
default_role = "code"  # a name in single backticks is code, whether or not it has a page

# The notebooks as they were executed: copied beside the pages, since Sphinx reads below its own folder.
notebooks = HERE / "notebooks"
shutil.rmtree(notebooks, ignore_errors=True)
notebooks.mkdir()
for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
    text = notebook.read_text(encoding="utf-8").replace("../sample_data/README.md", "../sample_data.md")
    (notebooks / notebook.name).write_text(text, encoding="utf-8")

# Guides are Markdown with code cells and without outputs: the build executes them. Notebooks carry outputs.
nb_execution_mode = "auto"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_excludepatterns = ["notebooks/*.ipynb"]
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3

shutil.rmtree(HERE / "api" / "generated", ignore_errors=True)  # no page of a name that is gone
autosummary_generate = True
autosummary_imported_members = False
autodoc_typehints = "none"  # the signature has them
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = f"canarykit {release}"
html_theme_options = {
    "show_nav_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_show_sourcelink = False
html_static_path: list[str] = []
