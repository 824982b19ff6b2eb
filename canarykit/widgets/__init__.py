"""Pictures one can click: from a bar to the people and the recordings behind it, in the notebook.

One widget draws everything. What is drawn, and who stands behind each part of it, is said by `views`; the
same people come from the results' own methods, without a widget.
"""

from canarykit.widgets.explorer import Explorer

__all__ = ["Explorer"]
