"""The style sheet of pages: for light and dark screens, phones, the keyboard, and print, which is always light."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #444; --rule: #bbb; --thin: #e2e2e2;
  --axis: #555; --hole: #f4f4f4; --edge: #ccc; --bad: #dcdcdc; --tint: #f3f1e4; --accent: #0072B2; --best: #e2f1ea;
  --worst: #fbe6da; --msi: 0.17; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #16181b; --soft: #b9bdc2; --rule: #565b61; --thin: #33373c; --axis: #a3a8ae;
    --hole: #24272b; --edge: #44484d; --bad: #3a3d42; --tint: #2b2a20; --accent: #59aee6; --best: #173a2b;
    --worst: #472a1b; --msi: 0.24; }
  svg [stroke="#000000"] { stroke: #f2f2f2; } svg [fill="#000000"] { fill: #f2f2f2; }
  svg [stroke="#0072B2"] { stroke: #59aee6; } svg [fill="#0072B2"] { fill: #59aee6; }
  svg [stroke="#D55E00"] { stroke: #f58b45; } svg [fill="#D55E00"] { fill: #f58b45; }
}
body { font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--ink);
  background: var(--paper); max-width: 1080px; margin: 0 auto; padding: 24px; }
h1 { font-size: 24px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 32px 0 8px; padding-bottom: 4px; border-bottom: 1px solid var(--rule);
  overflow-wrap: anywhere; }
p { margin: 6px 0; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 8px 0 0; padding: 0;
  font-size: 14px; }
.verdict { font-size: 17px; border-left: 4px solid var(--accent); padding: 4px 0 4px 12px; }
.wide { overflow-x: auto; }
.note, figcaption, .says, details { color: var(--soft); font-size: 13px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums lining-nums; }
th, td { padding: 3px 14px 3px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--thin);
  overflow-wrap: anywhere; }
th { font-weight: 600; white-space: nowrap; overflow-wrap: normal; }
table:not(.scores) th { white-space: normal; min-width: 9em; max-width: 20em; }
.scores td, .scores thead th + th { text-align: right; padding-left: 18px; white-space: nowrap; }
.scores tbody th, .scores tfoot th { font-weight: 400; }
.scores td.says, .scores thead th.says { text-align: left; white-space: normal; color: var(--soft); }
.scores td.best { font-weight: 600; background: var(--best); }
.scores td.worst { font-style: italic; background: var(--worst); }
.scores.compared thead th + th { white-space: normal; }
.compared thead th { vertical-align: bottom; }
.scores.compared td, .scores.compared thead th + th { padding: 3px 7px; }
.compared tbody th { white-space: normal; min-width: 9em; }
.scores td.failed { text-align: left; white-space: normal; }
.scores tfoot { border-top: 2px solid var(--rule); }
summary { cursor: pointer; padding: 4px 0; }
dl { margin: 4px 0; } dt { font-weight: 600; } dd { margin: 0 0 4px 16px; }
figure { margin: 0; break-inside: avoid; }
figcaption { padding: 4px 0; }
figcaption b { color: var(--ink); }
.row { display: grid; gap: 14px; margin: 8px 0; grid-template-columns: repeat(var(--columns, 1), minmax(0, 1fr)); }
img, figure > svg { display: block; width: 100%; height: auto; }
img { image-rendering: pixelated; background: var(--hole); border: 1px solid var(--edge); box-sizing: border-box; }
svg { overflow: visible; } svg image { image-rendering: pixelated; }
svg text { font: 11.5px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--ink); }
svg .grid { stroke: var(--thin); } svg .axis { stroke: var(--axis); fill: none; }
svg .line { fill: none; stroke-width: 1.7; stroke-linejoin: round; }
svg .mark { stroke: var(--axis); stroke-dasharray: 4 3; } svg .bar { fill: var(--accent); }
svg .bad { fill: var(--bad); } svg .tinted { fill: var(--tint); } svg .area { fill-opacity: 0.25; }
svg .msi { fill: #56B4E9; fill-opacity: var(--msi); }
svg .ring { fill: none; stroke: #000; stroke-width: 1.6; }
svg .halo { fill: none; stroke: #fff; stroke-width: 4.5; }
svg .big { font-size: 20px; } svg .scale { stroke: var(--ink); stroke-width: 2; fill: none; }
svg .dot { font-size: 20px; font-weight: 700; paint-order: stroke; fill: #1a1a1a; stroke: #fff;
  stroke-width: 4px; }
@media (max-width: 640px) {
  body { padding: 16px; }
  .row { grid-template-columns: minmax(0, 1fr); }
  table:not(.scores) :is(th, td) { display: block; padding-right: 0; }
  table:not(.scores) th { border: 0; padding-bottom: 0; max-width: none; }
}
@page { margin: 14mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav, summary { display: none; }
  a { color: inherit; text-decoration: none; }
  h2 { break-after: avoid; margin-top: 18px; }
  .row, tr { break-inside: avoid; }
  .wide { overflow: visible; }
  details::details-content { content-visibility: visible; block-size: auto; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
