"""The style sheet of pages and notebook cells; every rule is scoped to `.saliently`."""

from __future__ import annotations

from saliently.view.palette import (
    DARK_FILL,
    DARK_GROUND,
    DARK_INK,
    LIGHT_FILL,
    LIGHT_GROUND,
    LIGHT_INK,
    STRONG,
    Hues,
    Rgb,
)


def _channels(colour: Rgb) -> str:
    return " ".join(map(str, colour))


def _theme(fill: Hues, ink: Rgb, ground: Rgb) -> str:
    return (
        f"--ground:rgb({_channels(ground)});--ink:rgb({_channels(ink)});"
        f"--line:rgb({_channels(ink)} / .16);--quiet:rgb({_channels(ink)} / .72);"
        f"--raises:{_channels(fill.raises)};--lowers:{_channels(fill.lowers)};"
        f"--strength:{_channels(fill.strength)};"
    )


_LIGHT = _theme(LIGHT_FILL, LIGHT_INK, LIGHT_GROUND)
_DARK = _theme(DARK_FILL, DARK_INK, DARK_GROUND)
_BLUE, _ORANGE, _VIOLET = (f"rgb({_channels(colour)})" for colour in STRONG)

# A reader's system says light or dark; a notebook may say otherwise, and then the notebook is right.
_THEMES = f"""
.saliently{{color-scheme:light;{_LIGHT}}}
@media (prefers-color-scheme:dark){{.saliently{{color-scheme:dark;{_DARK}}}}}
[data-jp-theme-light="true"] .saliently,.vscode-light .saliently,
html[theme="light"] .saliently{{color-scheme:light;{_LIGHT}}}
[data-jp-theme-light="false"] .saliently,.vscode-dark .saliently,
html[theme="dark"] .saliently{{color-scheme:dark;{_DARK}}}
@media print{{.saliently{{color-scheme:light;{_LIGHT}}}}}
"""

_PROSE = """
.saliently{box-sizing:border-box;background:var(--ground);color:var(--ink);padding:1.1rem 1.3rem;
 border-radius:6px;
 font:400 15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;text-align:start;
 max-width:54rem;overflow-wrap:anywhere}
.saliently *{box-sizing:border-box}
.saliently p,.saliently dl,.saliently ul,.saliently h1,.saliently h2,.saliently h3{margin:0 0 .8rem;
 padding:0;color:inherit}
.saliently h1{font-size:1.55rem;line-height:1.25;font-weight:650}
.saliently h2{font-size:1.12rem;line-height:1.4;font-weight:600}
.saliently h3{font-size:.93rem;font-weight:600;margin-bottom:.3rem}
.saliently .saliently-alert{border:1px solid ORANGE;border-inline-start:5px solid ORANGE;
 border-radius:4px;padding:.5rem .8rem;
 font-weight:600}
.saliently-alert::before{content:"\\26A0\\FE0E\\A0";color:ORANGE;font-size:1.15em}
.saliently .saliently-legend,.saliently .saliently-small,.saliently .saliently-plain{color:var(--quiet);
 font-size:.87rem}
.saliently .saliently-legend mark,.saliently .saliently-strip mark{color:var(--ink)}
.saliently .saliently-small{margin-bottom:0}
.saliently dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1.1rem;font-size:.93rem}
.saliently dt{color:var(--quiet);font-weight:400;margin:0}
.saliently dd{margin:0}
.saliently ul{padding-inline-start:1.1rem;font-size:.87rem;color:var(--quiet);list-style:disc}
"""

# With a fixed ink, the fill behind a word is all that varies; palette.py says why that stays legible.
# Underlines tell the sign without colour. The numbers are attributes, so copied text is the user's own text.
_WORDS = """
.saliently .saliently-name{color:var(--quiet);font-size:.87rem;margin-bottom:.15rem}
.saliently-text{white-space:pre-wrap;unicode-bidi:plaintext;overflow-wrap:anywhere;font-size:1.14rem;
 line-height:1.85;
 border:1px solid var(--line);border-radius:6px;padding:.65rem .95rem;margin:0 0 1rem}
.saliently-text:empty::before{content:"(empty)";color:var(--quiet)}
.saliently mark{background:rgb(var(--hue) / var(--share));color:inherit;border-radius:3px;padding:.12em 0;
 text-decoration-thickness:2px;text-underline-offset:.22em;text-decoration-skip-ink:none;
 -webkit-box-decoration-break:clone;box-decoration-break:clone}
.saliently .raises{--hue:var(--raises)}
.saliently .lowers{--hue:var(--lowers)}
.saliently .strength{--hue:var(--strength)}
.saliently .raises.cue{text-decoration-line:underline;text-decoration-style:solid;
 text-decoration-color:BLUE}
.saliently .lowers.cue{text-decoration-line:underline;text-decoration-style:dashed;
 text-decoration-color:ORANGE}
.saliently mark[data-tip]:hover,.saliently mark[data-tip]:focus-visible{outline:2px solid var(--ink);
 outline-offset:1px}
.saliently mark[data-tip]:hover::after,
 .saliently mark[data-tip]:focus-visible::after{content:attr(data-tip);
 position:fixed;z-index:9;inset-inline-start:1rem;bottom:1rem;width:max-content;max-width:min(28rem,90vw);
 padding:.4rem .7rem;border-radius:5px;background:var(--ink);color:var(--ground);
 font:400 13px/1.45 system-ui,sans-serif;
 white-space:normal;unicode-bidi:isolate;direction:ltr;text-align:left;pointer-events:none}
@supports (position-area:bottom){
.saliently mark[data-tip]:hover,.saliently mark[data-tip]:focus-visible{anchor-name:--saliently-word}
.saliently mark[data-tip]:hover::after,
 .saliently mark[data-tip]:focus-visible::after{position-anchor:--saliently-word;
 position-area:bottom;position-try-fallbacks:flip-block;inset:auto;margin:6px}}
.saliently-skip{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden;
 white-space:nowrap}
.saliently-skip:focus{position:static;clip-path:none;width:auto;height:auto;color:inherit}
"""

_ROWS = """
.saliently .saliently-strip{font-size:.87rem;color:var(--quiet)}
.saliently .saliently-strip span{white-space:nowrap;margin-inline-start:.9rem}
.saliently table{border-collapse:collapse;margin:0 0 1rem;font-size:.9rem;background:none;border:0;
 color:inherit}
.saliently tr,.saliently tbody tr:nth-child(n),.saliently thead{background:none;border:0}
.saliently th,.saliently td{padding:.16rem .55rem;border:0;text-align:start;vertical-align:top;
 font-weight:400;
 background:none;white-space:normal;overflow-wrap:break-word}
.saliently thead th{border-bottom:1px solid var(--line);vertical-align:bottom;font-weight:600}
.saliently thead small{display:block;font-weight:400;color:var(--quiet)}
.saliently .failed{white-space:nowrap}
.saliently .number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.saliently .which{color:var(--quiet);font-size:.85em;margin-inline-start:.4em}
.saliently bdi mark{padding:.12em .25em}
.saliently table.bars{width:100%;max-width:44rem}
.saliently table.bars th{width:1%;min-width:6rem;max-width:19rem;padding-inline-start:0;white-space:nowrap;
 overflow:hidden;text-overflow:ellipsis}
.saliently table.bars .number{width:1%}
.saliently-bar{display:block;position:relative;height:.85em;margin-top:.36em;direction:ltr}
.saliently-bar i{position:absolute;top:0;bottom:0;border-radius:2px}
.saliently-bar.signed::before{content:"";position:absolute;inset:-.6em auto -.6em 50%;width:1px;
 background:var(--quiet)}
.saliently-bar .raises{background:BLUE}
.saliently-bar .lowers{background:ORANGE}
.saliently-bar .strength{background:VIOLET}
.saliently-scroll{overflow-x:auto}
.saliently table.heat th,.saliently table.heat td{padding:1px;vertical-align:middle;white-space:nowrap}
.saliently table.heat tbody th,.saliently table.heat .number{padding-inline:0 .7rem}
.saliently table.heat .upright{writing-mode:vertical-rl;transform:rotate(180deg);padding:.3rem 0;text-align:start;
 max-height:9rem;overflow:hidden;text-overflow:ellipsis}
.saliently table.heat td.begins{padding-inline-start:.8rem}
.saliently table.heat th.begins{padding-right:.8rem}
.saliently table.heat mark{display:block;width:1.3em;height:1.3em;line-height:1.3;text-align:center;
 border-radius:2px;padding:0;box-shadow:inset 0 0 0 1px var(--line)}
.saliently-scroll thead th:first-child,.saliently-scroll tbody th{position:sticky;inset-inline-start:0;
 background:var(--ground)}
.saliently table.heat.many{font-size:.78rem}
.saliently table.heat.many mark{width:1.1em;height:1.1em;line-height:1.1}
.saliently table.heat.many .upright,.saliently table.heat.many tbody th{line-height:1.15}
.saliently-arcs svg{display:block}
.saliently-arcs path{fill:none}
.saliently-arcs .raises path{stroke:BLUE}
.saliently-arcs .lowers path{stroke:ORANGE}
.saliently-arcs .reach{opacity:0;pointer-events:stroke}
.saliently-arcs text{fill:var(--ink);font-size:14px;unicode-bidi:isolate}
.saliently-arcs svg:has(g:hover) g:not(:hover){opacity:.2}
.saliently a{color:inherit}
.saliently.page{margin:0 auto;border-radius:0;max-width:58rem;padding:2rem 1.5rem}
.saliently section+section,.saliently nav+section{border-top:1px solid var(--line);padding-top:1.4rem;
 margin-top:1.6rem}
@media print{.saliently,.saliently *{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.saliently tr,.saliently p{break-inside:avoid}
.saliently section+section,.saliently nav+section{break-before:page}}
@media (max-width:40rem){.saliently dl{grid-template-columns:1fr}.saliently dt{margin-top:.3rem}}
"""

SHEET = (_THEMES + _PROSE + _WORDS + _ROWS).replace("BLUE", _BLUE).replace("ORANGE", _ORANGE).replace("VIOLET", _VIOLET)
# The ground of a whole page is that of its content.
PAGE_SHEET = f"""
html{{background:rgb({_channels(LIGHT_GROUND)})}}
@media screen and (prefers-color-scheme:dark){{html{{background:rgb({_channels(DARK_GROUND)})}}}}
body{{margin:0}}
"""
