"""Every matplotlib call of canarykit: one module per area, one style for a variant in all of them.

Plot functions take a finished result and an `ax`, draw numbers that somebody else computed, and return
the axes. Results call them from their own `.plot(*, ax=None)`, so matplotlib is imported when a picture
is asked for and not before.
"""

from canarykit.errors import part

part("matplotlib", what="drawing", install="matplotlib")
