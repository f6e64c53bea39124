"""What the demo printed, as a picture for the README."""

from pathlib import Path

from rich.console import Console

_COLUMNS = 132
# Fonts of the reader's own: rich's default fetches one from the network.
_SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def save_picture(console: Console, path: Path) -> None:
    """Write everything the recording console has printed as an SVG."""
    console.soft_wrap = False
    console.width = _COLUMNS
    path.write_text(console.export_svg(title="./bakehouse demo", code_format=_SVG, unique_id="demo"))
