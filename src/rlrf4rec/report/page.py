"""The page: one HTML file that asks for nothing from outside the repository. Jinja2 escapes whatever it is given."""

from collections.abc import Sequence

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from rlrf4rec.report.blocks import Section

STYLE = """
:root { --page: #fff; --ink: #1b1f24; --soft: #57606a; --edge: #d0d7de; --shade: #f6f8fa; --grid: #e3e7eb;
  --s0: #0072b2; --s1: #c14a00; --s2: #00795a; --s3: #8b3f78;
  --gain: #00795a; --null: #57606a; --loss: #b3261e; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #14171a; --ink: #e6e9ec; --soft: #a5adb5;
  --edge: #3b4249; --shade: #1d2125; --grid: #2c3238; --s0: #5ab4e5; --s1: #f0914e; --s2: #3fbf97; --s3: #d48fc3;
  --gain: #3fbf97; --null: #a5adb5; --loss: #ff8a80; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 72rem; padding: 0.75rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 2.5rem 0 0.75rem; padding-top: 0.75rem;
  border-top: 2px solid var(--edge); }
h3 { font-size: 1.1rem; margin: 1.75rem 0 0.5rem; }
h4 { font-size: 1rem; margin: 1rem 0 0.25rem; }
p { margin: 0.6rem 0; max-width: 46rem; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 0.75rem 0; padding: 0; list-style: none; }
a { color: var(--s0); }
nav a { display: inline-block; padding: 0.25rem 0; }
.verdict { border: 1px solid var(--edge); border-left: 6px solid var(--null); background: var(--shade);
  border-radius: 4px; padding: 0.6rem 0.9rem; font-weight: 600; }
.verdict.gain { border-left-color: var(--gain); }
.verdict.loss { border-left-color: var(--loss); }
.scroll { overflow-x: auto; margin: 1rem 0; border: 1px solid var(--edge); border-radius: 4px; }
.scroll:focus-visible, a:focus-visible { outline: 3px solid var(--s0); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; line-height: 1.4; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; font-size: 15px; padding: 0.5rem 0.6rem; }
caption span { position: sticky; left: 0.6rem; display: block; max-width: min(66rem, calc(100vw - 3.5rem)); }
th, td { padding: 0.35rem 0.6rem; text-align: right; vertical-align: top; border-top: 1px solid var(--edge);
  white-space: nowrap; font-weight: 400; }
thead th { font-weight: 600; vertical-align: bottom; background: var(--shade); }
.word { text-align: left; white-space: normal; min-width: min(11rem, 40vw); max-width: 30rem; }
.person .word { min-width: 5rem; }
tbody tr:nth-child(even) { background: var(--shade); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1.5rem 2rem; }
figure { margin: 1rem 0; min-width: 0; }
figcaption { color: var(--soft); font-size: 14px; margin-bottom: 0.5rem; }
.plot { display: block; max-width: 46rem; }
.plot text { font-size: 14px; fill: var(--ink); }
.plot .label { font-weight: 600; }
.plot .tick { fill: var(--soft); }
.plot .label, .plot .halo { paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
.plot .grid { stroke: var(--grid); stroke-width: 1px; }
.plot .zero { stroke: var(--ink); stroke-width: 1.5px; stroke-dasharray: 5 3; }
.plot .axis { stroke: var(--soft); stroke-width: 1px; }
.plot .pooled { fill: var(--ink); stroke: var(--ink); }
.plot .bold { stroke-width: 2.5px; }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); } .s3 { --c: var(--s3); }
.plot .s0, .plot .s1, .plot .s2, .plot .s3 { fill: var(--c); fill-opacity: 0.35; stroke: var(--c);
  stroke-width: 1.5px; }
.plot .bar { fill-opacity: 0.75; }
.plot .curve { fill: none; stroke-width: 2.5px; stroke-linejoin: round; }
.plot .s1.curve, .plot line.s1 { stroke-dasharray: 7 4; }
.plot .rough { stroke-width: 1px; stroke-opacity: 0.45; stroke-dasharray: none !important; }
.person { border: 1px solid var(--edge); border-radius: 6px; padding: 0 1rem 0.5rem; margin: 1.25rem 0; }
.history { columns: 17rem; column-gap: 1.5rem; font-size: 14px; margin: 0.25rem 0; padding: 0; list-style: none; }
.history li { break-inside: avoid; display: flex; gap: 0.5rem; justify-content: space-between; }
blockquote { margin: 0; }
.texts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: 0.75rem;
  margin: 0; }
.texts > div { background: var(--shade); border-radius: 4px; padding: 0.5rem 0.75rem; }
.texts dt { font-weight: 600; } .texts dd { margin: 0; }
.liked { font-weight: 700; }
.liked::before { content: "\\2713\\00a0"; color: var(--gain); }
iframe { width: 100%; height: 32rem; border: 1px solid var(--edge); border-radius: 4px; }
footer { margin: 2rem 0 1rem; color: var(--soft); font-size: 14px; }
@media (max-width: 30rem) { body { padding: 0.5rem; } .person { padding: 0 0.6rem 0.4rem; } .history { columns: 1; } }
@media print { @page { margin: 14mm; } body { max-width: none; padding: 0; font-size: 11pt; } nav { display: none; }
  .scroll { overflow: visible; border: 0; } caption span { position: static; max-width: none; }
  table { font-size: 8.5pt; } th, td { padding: 0.2rem 0.35rem; }
  .word { min-width: 5rem; overflow-wrap: anywhere; }
  figure, tr, .texts, .verdict, .scroll { break-inside: avoid; } h2, h3, h4, caption, figcaption { break-after: avoid; }
  thead { display: table-header-group; } .figures { display: block; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""

TEMPLATE = """\
{% macro note(b) %}
<p{% if b.tone != "plain" %} class="verdict {{ b.tone }}"{% endif %}>{{ b.text }}</p>
{% endmacro %}
{% macro heading(b) %}
<h3>{{ b.text }}</h3>
{% endmacro %}
{% macro table(b) %}
<div class="scroll" role="region" aria-label="{{ b.caption }}" tabindex="0">
<table>
<caption><span>{{ b.caption }}</span></caption>
<thead><tr>
{% for c in b.columns %}<th scope="col"{% if loop.index <= b.words %} class="word"{% endif %}>{{ c }}</th>
{% endfor %}</tr></thead>
<tbody>
{% for row in b.rows %}<tr>{% for cell in row %}{% if loop.first %}<th scope="row" class="word">{{ cell }}</th>
{%- else %}<td{% if loop.index <= b.words %} class="word"{% endif %}>{{ cell }}</td>{% endif %}{% endfor %}</tr>
{% endfor %}</tbody>
</table>
</div>
{% endmacro %}
{% macro beside(b) %}
<p><a href="{{ b.path }}">{{ b.title }}</a></p>
<iframe src="{{ b.path }}" title="{{ b.title }}" loading="lazy"></iframe>
{% endmacro %}
{% macro figures(b) %}
<div class="figures">
{% for f in b.figures %}<figure><figcaption>{{ f.caption }}</figcaption>{{ f.svg }}</figure>
{% endfor %}</div>
{% endmacro %}
{% macro person(b) %}
<article class="person">
<h3>User {{ b.user }}</h3>
<h4>History: {{ b.history | length }} ratings, the earliest first</h4>
<ul class="history">
{% for r in b.history %}<li><span>{{ r.title }}</span> <span>{{ r.rating }}</span></li>
{% endfor %}</ul>
<h4>Texts; best and worst differ by {{ b.gap }}</h4>
<dl class="texts">
{% for t in b.texts %}<div><dt>{{ t.role }}{% if t.reward %}, reward {{ t.reward }}{% endif %}</dt>
<dd><blockquote>{{ t.text }}</blockquote></dd></div>
{% endfor %}</dl>
<div class="scroll" role="region" aria-label="A list of user {{ b.user }} before and after" tabindex="0">
<table>
<caption><span>{{ b.summary }} Liked items have a tick.</span></caption>
<thead><tr><th scope="col">place</th><th scope="col" class="word">before</th>
<th scope="col" class="word">after</th></tr>
</thead>
<tbody>
{% for p in b.places %}<tr><th scope="row">{{ loop.index }}</th>
<td class="word">{{ cell(p.before, p.before_liked) }}</td><td class="word">{{ cell(p.after, p.after_liked) }}</td></tr>
{% endfor %}</tbody>
</table>
</div>
</article>
{% endmacro %}
{% macro cell(title, liked) %}{% if liked %}<span class="liked">{{ title }}</span>{% else %}{{ title }}{% endif %}
{% endmacro %}
{% set draw = {"note": note, "heading": heading, "table": table, "beside": beside, "figures": figures,
               "person": person} %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self' file:">
<link rel="icon" href="data:,">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
<nav aria-label="Sections"><ul>
{% for s in sections %}<li><a href="#{{ s.slug }}">{{ s.title }}</a></li>
{% endfor %}</ul></nav>
</header>
<main>
{% for s in sections %}<section id="{{ s.slug }}" aria-labelledby="{{ s.slug }}-heading">
<h2 id="{{ s.slug }}-heading">{{ s.title }}</h2>
{% for b in s.blocks %}{{ draw[b.template](b) }}{% endfor %}</section>
{% endfor %}</main>
{% if footer %}<footer>{{ footer }}</footer>{% endif %}

</body>
</html>
"""


def render(title: str, sections: Sequence[Section], footer: str = "") -> str:
    """The whole page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE).render(title=title, style=Markup(STYLE), sections=sections, footer=footer)
    return page.lstrip()
