//! The style sheet of the page.

/// Colours follow Okabe and Ito, which colour-blind readers can distinguish; in dark mode the dark ones are lighter.
pub(super) const STYLE: &str = r"
:root { --ink: #1a1c20; --soft: #5b626d; --line: #d9dce1; --paper: #ffffff; --panel: #f6f7f9;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b4578f; --c4: #b98000; --c5: #3f8fc0; --c6: #1a1c20; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #a3abb8; --line: #3a4049; --paper: #15181c; --panel: #1d2126;
    --c0: #5ab4f0; --c1: #ff9248; --c2: #2fcf9f; --c3: #e79cc8; --c4: #f0b93a; --c5: #9fd3f5; --c6: #e8eaed; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  -webkit-text-size-adjust: 100%; }
main { max-width: 1080px; margin: 0 auto; padding: 20px 16px 48px; }
h1 { font-size: 1.45rem; line-height: 1.3; font-weight: 650; margin: 0 0 8px; }
h2 { font-size: 1.15rem; margin: 36px 0 10px; overflow-wrap: anywhere; }
p { margin: 8px 0; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 0.92em; overflow-wrap: anywhere; }
.lead { font-size: 1.1rem; }
.aside, figcaption { color: var(--soft); font-size: 0.86rem; line-height: 1.45; max-width: 96ch; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 22px; padding: 0; margin: 14px 0 0; }
.legend li, th[scope=row] { white-space: normal; }
.swatch { width: 34px; height: 12px; vertical-align: middle; margin-right: 8px; flex: none; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 18px 24px;
  align-items: start; margin-bottom: 18px; }
figure { margin: 0; max-width: 560px; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .tick { fill: var(--soft); }
svg .name { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .level { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 4; }
svg .halo { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
th:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
tbody th { font-weight: 600; }
.numbers tbody th { min-width: 10em; }
td small { display: block; white-space: nowrap; color: var(--soft); font-size: 0.82em; }
.configs code { overflow-wrap: normal; }
.configs th, .configs td { text-align: left; font-weight: 400; padding-left: 0; }
.notes { padding-left: 20px; font-size: 0.92rem; overflow-wrap: anywhere; }
summary { cursor: pointer; }
@media (max-width: 700px) {
  main { padding: 16px 14px 40px; }
  h1 { font-size: 1.25rem; }
  .numbers thead { display: none; }
  .numbers, .numbers tbody, .numbers tr, .numbers th, .numbers td { display: block; }
  .numbers tr { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px;
    margin-bottom: 10px; }
  .numbers th { border: 0; padding: 2px 0 4px; }
  .numbers td { display: grid; grid-template-columns: 1fr auto; gap: 0 12px; border: 0; padding: 3px 0; text-align: right; }
  .numbers td::before { content: attr(data-name); color: var(--soft); text-align: left; grid-row: 1 / span 2; }
  .numbers td span { grid-column: 2; }
  .numbers td small { grid-column: 2; }
  .numbers td:not(:has(span:not(:empty))) { display: none; }
}
";
