"""Who saw which variant, from when on: the first exposure of every unit, as the log observed it.

What a flag answered is trusted as it was observed. A value that is missing or failed is unknown, never
control; people who saw several variants are kept apart and counted.
"""

from canarykit.exposure.find import exposures
from canarykit.exposure.result import Exposures

__all__ = ["Exposures", "exposures"]
