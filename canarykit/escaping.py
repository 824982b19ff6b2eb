"""Text that a visitor may have written, made safe for the place where it is shown.

Property values, survey answers, exception messages and file names come from strangers. Four places read
them as more than text: a terminal (control and direction signs), a pipeline's log (GitHub's commands), a
Markdown renderer, and HTML with mathematics. Every view passes its text through one function here.
"""

from __future__ import annotations

import re
from html import escape

__all__ = ["html_text", "markdown_text", "one_line", "workflow_text"]

# Every sign that ends a line somewhere; one blank stands in for a run of them.
_LINE_ENDS = re.compile("[\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029]+")
# C0 and C1 controls (ANSI sequences begin with one), signs that turn the direction of what follows,
# invisible signs, tags, and halves of a pair.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_COMMAND_AT_START = re.compile(r"^(\s*):(?=:)")
_COMMAND_ANYWHERE = re.compile(r"##(?=\w*\[)")

_FORMULA = re.compile(r"\$.*\$|\\[(\[a-zA-Z]", re.DOTALL)
_MARKDOWN_SIGNS = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")
_BLOCK_AT_START = re.compile(r"^(\s*)(?:([#+=-])(?=[\s#+=-]|$)|(\d{1,9})([.)])(?=\s|$))")
_LINK = re.compile(r":(?=//)|(?<=\bwww)\.", re.IGNORECASE)
_MENTION = re.compile(r"(?<![\w.-])@(?=\w)")


def one_line(text: object) -> str:
    """The text on one line, without a sign that a terminal or the log of a pipeline would obey.

    Line ends become a blank. Control signs, signs that turn the direction of writing, invisible signs and
    halves of a pair are written out (`\\x1b`, `\\u202e`). `::command` at the start and `##[command]`
    anywhere, which GitHub and Azure obey, are taken apart.

    Examples
    --------
    >>> print(one_line("Fire\\x1b[2Jfox\\r\\n::set-output name=verdict::promote"))
    Fire\\x1b[2Jfox ::set-output name=verdict::promote
    >>> one_line("::stop-commands::x"), one_line("##[add-mask]a")
    (': :stop-commands::x', '# #[add-mask]a')
    """
    line = _LINE_ENDS.sub(" ", str(text))
    line = _UNSEEN.sub(_written_out, line)
    return _COMMAND_ANYWHERE.sub("# #", _COMMAND_AT_START.sub(r"\1: ", line))


def markdown_text(text: object) -> str:
    """The text as GitHub-flavoured Markdown that renders as itself: no markup, link, mention or formula.

    Examples
    --------
    >>> print(markdown_text("## **PROMOTE** <img src=x>"))
    \\## \\*\\*PROMOTE\\*\\* &lt;img src=x&gt;
    >>> print(markdown_text("signup_started of $pageview | 3"))
    signup_started of $pageview \\| 3
    """
    line = _MARKDOWN_SIGNS.sub(lambda sign: "\\" + sign[0], one_line(text).strip())
    if _FORMULA.search(line):
        line = line.replace("$", "\\$")
    line = _LINK.sub(lambda sign: "\\" + sign[0], line)
    line = _BLOCK_AT_START.sub(_escaped_block, line)
    return _MENTION.sub("<span>@</span>", escape(line, quote=False))


def html_text(text: object) -> str:
    """The text between two tags of HTML: escaped, and never read as a formula by a notebook.

    A notebook typesets what stands between two dollar signs of one text; a tag around each keeps them
    apart.

    Examples
    --------
    >>> html_text("<b> & $a$")
    '&lt;b&gt; &amp; <span>$</span>a<span>$</span>'
    >>> html_text("$pageview")
    '$pageview'
    """
    safe = escape(one_line(text).strip())
    if _FORMULA.search(safe):
        safe = re.sub(r"[$\\]", lambda sign: f"<span>{sign[0]}</span>", safe)
    return safe


def workflow_text(text: object) -> str:
    """The text as the message of a GitHub workflow command (`::notice::message`).

    Examples
    --------
    >>> workflow_text("5 % of\\npeople")
    '5 %25 of people'
    """
    return one_line(text).replace("%", "%25")


def _written_out(sign: re.Match[str]) -> str:
    return sign[0].encode("unicode_escape").decode("ascii")


def _escaped_block(start: re.Match[str]) -> str:
    blank, sign, number, dot = start.groups()
    return f"{blank}\\{sign}" if sign else f"{blank}{number}\\{dot}"
