"""One HTML page of a run: blocks of content made from metrics and tables, drawn as tables and static SVG."""
