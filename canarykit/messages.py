"""A few lines that leave the notebook: the same message as text, Markdown, for Slack, or as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from canarykit.errors import PlanError, did_you_mean
from canarykit.escaping import html_text, markdown_text, one_line

__all__ = ["Message", "Style"]

Style = Literal["text", "markdown", "slack", "html"]
_STYLES = ("text", "markdown", "slack", "html")


@dataclass(frozen=True)
class Message:
    """A title, and lines of a label with a sentence each.

    Examples
    --------
    >>> message = Message("new-checkout: roll back", (("Next", "Set the flag to 0 %."),))
    >>> print(message.render("markdown"))
    **new-checkout: roll back**
    <BLANKLINE>
    - **Next:** Set the flag to 0 %.
    """

    title: str
    lines: tuple[tuple[str, str], ...]

    def render(self, style: Style = "text") -> str:
        """The message in the form that its place reads.

        Parameters
        ----------
        style
            "text" for a mail or a terminal, "markdown" for a pull request, "slack" for the markup of Slack
            (which has one star for bold and no tables), "html" for a mail with formatting.

        Raises
        ------
        PlanError
            If there is no such style.
        """
        match style:
            case "text":
                return "\n".join([one_line(self.title), *(f"{a}: {one_line(b)}" for a, b in self.lines)])
            case "markdown":
                rows = "\n".join(f"- **{markdown_text(a)}:** {markdown_text(b)}" for a, b in self.lines)
                return f"**{markdown_text(self.title)}**\n\n{rows}"
            case "slack":
                rows = "\n".join(f"• *{_slack(a)}:* {_slack(b)}" for a, b in self.lines)
                return f"*{_slack(self.title)}*\n{rows}"
            case "html":
                rows = "".join(f"<li><b>{html_text(a)}:</b> {html_text(b)}</li>" for a, b in self.lines)
                return f"<p><b>{html_text(self.title)}</b></p><ul>{rows}</ul>"
        raise PlanError(f"style is {style!r}; {did_you_mean(str(style), _STYLES)}")


def _slack(text: str) -> str:
    """Slack's three escapes; its stars, ticks and tildes are taken out of what others wrote."""
    safe = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("*", "∗").replace("`", "'").replace("~", "∼")
