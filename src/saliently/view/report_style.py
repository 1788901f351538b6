"""The style sheet of a report, on top of that of all pages; every rule is scoped to `.saliently`."""

from __future__ import annotations

from saliently.view.palette import STRONG, hexadecimal
from saliently.view.style import SHEET

# Seen on both grounds, at a contrast of 3 to 1 and more. Markers and dashes tell curves apart without colour.
COLOURS = (*map(hexadecimal, (STRONG.raises, STRONG.lowers)), "#0f8c5f", "#cf3e8c", "#8a7a0a", "#767c86")

_FRAME = """
.saliently.saliently-report{max-width:78rem}
.saliently-report>*{max-width:54rem}
.saliently-report>section{max-width:none}
.saliently-report section>p,.saliently-report section>ul,.saliently-report section>dl{max-width:54rem}
.saliently-report section{border-top:1px solid var(--line);padding-top:1.2rem;margin-top:1.4rem}
.saliently-report .asked{font-size:.93rem}
.saliently-report .verdict{border-inline-start:4px solid VIOLET;padding:.1rem 0 .1rem .9rem;margin:0 0 1rem}
.saliently-report .verdict p{font-weight:600;font-size:1.07rem;margin:0 0 .4rem}
.saliently-report .verdict p:last-child{margin:0}
"""

_TABLE = """
.saliently table.figures{line-height:1.3}
.saliently table.figures th,.saliently table.figures td{padding:.3rem .5rem}
.saliently table.figures thead th{min-width:6.9rem;max-width:12rem;border-bottom:0;vertical-align:top}
.saliently table.figures thead small{font-size:.8em;margin-top:.15rem;text-wrap:pretty}
.saliently table.figures thead small.way{color:var(--ink)}
.saliently table.figures thead small.fact,.saliently table.figures thead small.way{white-space:nowrap}
.saliently table.figures .ends td{padding-block:0;font-size:.72em;color:var(--quiet)}
.saliently table.figures .ends i{font-style:normal}
.saliently table.figures .ends span{display:flex;justify-content:space-between;width:96px}
.saliently table.figures thead td:first-child{position:sticky;inset-inline-start:0;background:var(--ground)}
.saliently table.figures tbody tr{border-top:1px solid var(--line)}
.saliently table.figures tbody th{min-width:9rem;max-width:19rem;padding-inline-start:0}
.saliently table.figures .recipe{display:inline-block}
.saliently table.figures .recipe+.recipe{color:var(--quiet);font-size:.9em}
.saliently table.figures .best th{font-weight:650}
.saliently table.figures .control th{font-style:italic}
.saliently table.figures .control td{color:var(--quiet)}
.saliently table.figures td{white-space:nowrap;font-variant-numeric:tabular-nums}
.saliently table.figures td b{font-weight:600}
.saliently table.figures td small{font-size:.8em;color:var(--quiet)}
.saliently table.figures td small.own,.saliently table.figures.many td small{display:block}
.saliently table.figures.many{font-size:.85rem}
.saliently table.figures.many th,.saliently table.figures.many td{padding-inline:.35rem}
.saliently table.figures.many tbody th{padding-inline-start:0}
.saliently table.figures.many thead th{min-width:5.9rem}
.saliently table.figures.many svg,.saliently table.figures.many .ends span{width:84px}
.saliently table.figures svg{display:block;overflow:visible}
.saliently .chip{display:inline-block;border:1px solid var(--quiet);border-radius:3px;padding:0 .35em;
 font-size:.74em;font-weight:600;font-style:normal;white-space:nowrap}
.saliently .best .chip{background:var(--ink);color:var(--ground);border-color:var(--ink)}
.saliently .control .chip{border-style:dashed}
.saliently .whisker{stroke:VIOLET;stroke-width:2}
.saliently .dot{fill:VIOLET;stroke:VIOLET;stroke-width:1.6}
.saliently .best .whisker{stroke-width:3}
.saliently .control .whisker{stroke:var(--quiet);stroke-width:1.4}
.saliently .control .dot{fill:var(--ground);stroke:var(--quiet)}
.saliently .rail{stroke:var(--line)}
.saliently .held{stroke:var(--quiet);stroke-dasharray:2 2}
"""

_CURVES = """
.saliently-curves{display:flex;flex-wrap:wrap;gap:.4rem 1.4rem;align-items:center;margin-bottom:.6rem}
.saliently-curves .drawing{flex:0 1 600px;min-width:0}
.saliently-curves svg{display:block;max-width:100%;height:auto}
.saliently-curves text{fill:var(--ink);font-size:13px;font-family:inherit}
.saliently-curves .tick{fill:var(--quiet);font-size:12px;font-variant-numeric:tabular-nums}
.saliently-curves .grid{stroke:var(--line)}
.saliently-curves .axis{stroke:var(--quiet)}
.saliently-curves .curve{stroke:currentColor;fill:none;stroke-width:2;stroke-linejoin:round}
.saliently-curves .marker{stroke:currentColor;fill:var(--ground);stroke-width:1.6}
.saliently-curves .band{fill:currentColor;stroke:currentColor;stroke-width:.5;fill-opacity:.13;stroke-opacity:.4}
.saliently-curves .lead{stroke:currentColor;stroke-width:1;opacity:.6}
.saliently-curves svg:has(g.line:hover) g.line:not(:hover){opacity:.2}
.saliently-curves ul{list-style:none;padding:0;margin:0;color:inherit;flex:1 1 17rem;min-width:0}
.saliently-curves li{display:flex;gap:.5rem;align-items:center;margin:.2rem 0}
.saliently-curves li svg{flex:none}
.saliently details{margin:0 0 1rem;font-size:.87rem}
.saliently summary{cursor:pointer}
.saliently details table td{white-space:nowrap}
"""

_COLOURED = "".join(f".saliently-curves .c{i}{{color:{colour}}}\n" for i, colour in enumerate(COLOURS))

REPORT_SHEET = SHEET + (_FRAME + _TABLE + _CURVES).replace("VIOLET", hexadecimal(STRONG.strength)) + _COLOURED
