"""What pages share: one set of colours for a light and a dark room, a layout for phone, desk and paper."""

from __future__ import annotations

from canarykit.escaping import html_text

# Contrast of every text against its ground is at least 4.5 in both themes.
_LIGHT = (
    "--ground:#fff;--panel:#f6f7f9;--ink:#1f2328;--quiet:#57606a;--rule:#d0d5db;"
    "--good:#00704f;--bad:#b03a00;--care:#8a5a00;--canary:#b87700;--control:#5f7c94;--band:#cfd8e1"
)
_DARK = (
    "--ground:#15181c;--panel:#1f242a;--ink:#e8eaed;--quiet:#aab2bb;--rule:#3c444d;"
    "--good:#4fcf9f;--bad:#ff8d5f;--care:#e9b44c;--canary:#e69f00;--control:#8fb0cc;--band:#3a4653"
)
_SCREEN = (
    "*{box-sizing:border-box}"
    "body{background:var(--ground);color:var(--ink);margin:0 auto;padding:16px;max-width:1060px;"
    "font:15px/1.45 -apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;overflow-wrap:anywhere}"
    "a{color:inherit}p{margin:4px 0}h1,h2,h3{line-height:1.2}h1{margin:8px 0}"
    "h2{font-size:17px;margin:0 0 6px}"
    "h3{font-size:15px;margin:14px 0 4px}ol,ul{margin:4px 0;padding-left:22px}li{margin:4px 0}"
    ".quiet{color:var(--quiet);font-size:13px}.number{font-variant-numeric:tabular-nums}"
    ".banner{color:#fff;border-radius:8px;padding:14px 18px;margin:0 0 12px}"
    ".banner h1{font-size:32px;margin:2px 0 4px;letter-spacing:.02em}.banner p{font-size:18px}"
    ".banner .quiet{color:#fff;font-size:14px}"
    ".banner.promote,.mark.promote{background:#00704f}.banner.hold,.mark.hold{background:#5a5a5a}"
    ".banner.roll-back,.mark.roll-back{background:#b03a00}"
    ".mark{color:#fff;border-radius:4px;padding:2px 8px;font-weight:600;font-size:13px;white-space:nowrap}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr));gap:12px;"
    "margin:8px 0 12px}"
    ".groups{display:flex;flex-wrap:wrap;gap:0 12px}.groups>section{min-width:0}"
    ".tile,.panel{background:var(--panel);border:1px solid var(--rule);border-radius:8px;padding:12px 14px;"
    "min-width:0}"
    ".tile{border-top:4px solid var(--rule)}.tile.good{border-top-color:var(--good)}"
    ".tile.bad{border-top-color:var(--bad)}.tile.care{border-top-color:var(--care)}"
    ".good>.status{color:var(--good)}.bad>.status{color:var(--bad)}.care>.status{color:var(--care)}"
    ".status{font-weight:700;margin:0}.tile h2,.tile h3{font-size:16px;margin:0 0 2px}"
    ".arms{border-collapse:collapse;width:100%;margin:6px 0}.arms th{font-weight:400;text-align:left}"
    ".arms td{text-align:right}.arms th,.arms td{padding:2px 0}"
    ".tile svg{display:block;width:100%;max-width:400px;height:auto;margin:2px 0}"
    ".pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:12px;"
    "margin:0 0 16px}"
    "svg text{fill:var(--ink);font-size:11px}svg .quiet{fill:var(--quiet)}"
    "svg .axis{stroke:var(--quiet);stroke-width:1}svg .line{stroke:var(--ink);stroke-width:1.5;fill:none}"
    "svg .dashed{stroke-dasharray:4 3}svg .band{fill:var(--band)}svg .dot{fill:var(--ink)}"
    "svg .bar{stroke:var(--quiet);stroke-width:5}svg .good{stroke:var(--good)}svg .bad{stroke:var(--bad)}"
    "svg .care{stroke:var(--care)}svg .end{fill:var(--quiet)}"
    "details{border-top:1px solid var(--rule)}"
    "summary{cursor:pointer;padding:10px 0;font-weight:600}details>*:last-child{margin-bottom:14px}"
    ".wide{overflow-x:auto;max-width:100%;overflow-wrap:normal}"
    ".checks{border-collapse:collapse;width:100%;font-size:13px}"
    ".checks th,.checks td{padding:5px 9px 5px 0;text-align:left;vertical-align:top}"
    ".checks tr.said td{border-bottom:1px solid var(--rule);padding-top:0}"
    ".checks .good{color:var(--good)}.checks .bad{color:var(--bad)}.checks .care{color:var(--care)}"
    ".facts{border-collapse:collapse}.facts td{padding:2px 14px 2px 0;vertical-align:top}"
    ".figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:8px}"
    "img{max-width:100%;height:auto;vertical-align:top;border-radius:4px}"
    "pre{font-size:11px;white-space:pre-wrap;word-break:break-all}"
)
_TIMELINE = (
    ".timeline{list-style:none;padding:0}"
    ".timeline>li{border-top:1px solid var(--rule);padding:12px 0;margin:0;"
    "display:grid;grid-template-columns:minmax(0,230px) minmax(0,1fr);gap:4px 20px}"
    ".timeline h2{margin:0}.track{position:relative;height:20px;border-radius:4px;background:var(--panel);"
    "border:1px solid var(--rule);margin:3px 0 8px}"
    ".track i{position:absolute;top:0;bottom:0;min-width:6px;border-radius:3px}"
    ".track .promote{background:#00704f}.track .hold{background:#7a7a7a}.track .roll-back{background:#c8500f}"
    ".share{display:block;height:6px;background:var(--band);border-radius:3px;margin:4px 0;max-width:200px}"
    ".share i{display:block;height:6px;background:var(--canary);border-radius:3px}"
)
_PHONE = (
    "@media (max-width:640px){.timeline>li{grid-template-columns:minmax(0,1fr)}.banner h1{font-size:27px}"
    ".banner p{font-size:16px}"
    ".checks thead{display:none}.checks tr,.checks td{display:block}.checks td{padding:1px 0}"
    ".checks td[data-name]::before{content:attr(data-name) ': ';color:var(--quiet)}}"
)
# Pictures are drawn on white; in the dark they are turned round, hues kept.
_NIGHT = "img{filter:invert(.91) hue-rotate(180deg)}"
# On paper everything is open, in the light theme, and nothing scrolls.
_PAPER = (
    "@page{size:A4;margin:14mm}"
    "@media print{:root{" + _LIGHT + "}img{filter:none}"
    "body{max-width:none;padding:0;font-size:11px;-webkit-print-color-adjust:exact;"
    "print-color-adjust:exact}a{text-decoration:none}h2,h3,summary{break-after:avoid}"
    "details::details-content{content-visibility:visible;display:block;block-size:auto;height:auto}"
    "summary{list-style:none}summary::marker{content:''}thead{display:table-header-group}"
    "tr,img,li,.tile,.panel{break-inside:avoid}.wide{overflow:visible}"
    ".tiles{grid-template-columns:1fr 1fr}.figures{grid-template-columns:1fr 1fr}img{max-height:75mm}"
    "table{font-size:9.5px!important}pre{font-size:8px}}"
)
_STYLE = (
    ":root{color-scheme:light dark;"
    + _LIGHT
    + "}"
    + _SCREEN
    + _TIMELINE
    + _PHONE
    + "@media screen and (prefers-color-scheme:dark){:root{"
    + _DARK
    + "}"
    + _NIGHT
    + "}"
    + _PAPER
)


def document(title: str, *blocks: str) -> str:
    """A whole page: its title for the tab, its own style, and blocks of HTML; empty ones are left out.

    In the blocks every text of others is escaped already.
    """
    body = "\n".join(block for block in blocks if block)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html_text(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def kind_of_verdict(verdict: str) -> str:
    """The class of a verdict's colour.

    Examples
    --------
    >>> kind_of_verdict("roll back")
    'roll-back'
    """
    return verdict.replace(" ", "-")
