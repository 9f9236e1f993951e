"""The style sheet of ``report.html``. A Python file, because only such travel in an app bundle."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --muted: #5b6773; --line: #dfe4e9;
  --paper: #ffffff; --ground: #f4f6f8; --good: #0b63a5; --bad: #b54708; --alert: #fff3e6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaee; --muted: #9aa6b2; --line: #323b45;
  --paper: #1b2128; --ground: #12161b; --good: #6cb6ef; --bad: #f0975a; --alert: #35261a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55
  system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 48px 0 12px; }
p { max-width: 78ch; margin: 8px 0; overflow-wrap: anywhere; }
.muted, figcaption, footer { color: var(--muted); }
.alert { background: var(--alert); border-left: 4px solid var(--bad); padding: 10px 16px;
  border-radius: 4px; margin: 16px 0; max-width: none; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px;
  margin: 24px 0 8px; }
.tile { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; }
.tile .name { color: var(--muted); font-size: .85rem; }
.tile .value { font-size: 1.55rem; font-weight: 650; line-height: 1.25; white-space: nowrap; }
.tile .note { font-size: .85rem; color: var(--muted); }
.good { color: var(--good); } .bad { color: var(--bad); }
figure { margin: 0 0 20px; }
figure img { display: block; width: 100%; height: auto; background: #fff; border-radius: 10px;
  border: 1px solid var(--line); padding: 10px; }
figcaption { font-size: .88rem; margin: 6px 2px 0; max-width: 90ch; }
.scroll { overflow: auto; max-height: 640px; background: var(--paper);
  border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; }
tbody tr:last-child td { border-bottom: 0; }
th { position: sticky; top: 0; background: var(--paper); color: var(--muted); font-weight: 600;
  white-space: nowrap; }
td.txt { overflow-wrap: anywhere; }
th.num, td.num { text-align: right; white-space: nowrap; }
.config { max-width: 100%; } .config td:first-child { white-space: nowrap; color: var(--muted);
  width: 16rem; }
.config td {
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  font-size: .85rem; }
details summary { cursor: pointer; margin: 0 0 10px; color: var(--muted); }
footer { margin-top: 56px; font-size: .85rem;
  border-top: 1px solid var(--line); padding-top: 12px; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .92em; }
@media print { body { background: #fff; } main { max-width: none; padding: 0; }
  .scroll { max-height: none; overflow: visible; } figure, .tile { break-inside: avoid; } }
"""
