"""What stands where a flag is named."""

from __future__ import annotations

from canarykit.errors import PlanError, require_kind
from canarykit.flags.definition import Flag


def key_of(flag: str | Flag) -> str:
    """The key of a flag, which may stand for it.

    `PlanError` if it is neither a flag nor a key.

    Examples
    --------
    >>> key_of("new-checkout"), key_of(Flag("new-checkout"))
    ('new-checkout', 'new-checkout')
    """
    require_kind("flag", flag, (str, Flag), "the key of a flag, such as 'new-checkout', or a Flag")
    if not flag:
        raise PlanError("flag is ''; expected the key of a flag, such as 'new-checkout'")
    return flag if isinstance(flag, str) else flag.key
