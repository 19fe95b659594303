"""The curves as a page that needs nothing but a browser: no script, no font, no address."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

_COLOURS: Final = ("#3366cc", "#dc3912", "#109618", "#990099", "#ff9900", "#0099c6", "#dd4477", "#66aa00")
_WIDTH, _HEIGHT, _LEFT, _BELOW = 560, 150, 52, 22

#: Figure of a curve -> its title.
PANELS: Final = {
    "oldest_s": "the oldest job has waited for, seconds",
    "waiting": "jobs that wait",
    "workers": "workers that claim jobs",
    "engines": "engine replicas that are ready",
}

_STYLE: Final = """
body { font: 14px/1.45 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #222 }
figure { display: inline-block; margin: 0 1em 1em 0 } figcaption { font-weight: 600 }
svg text { font-size: 11px; fill: #555 } .axis { stroke: #bbb } .curve { fill: none; stroke-width: 1.5 }
table { border-collapse: collapse; margin: 1em 0 } td:first-child, th:first-child { text-align: left }
td, th { padding: .2em .7em; text-align: right; border-top: 1px solid #ddd }
.key { display: inline-block; width: 1.6em; height: 3px; margin-right: .5em; vertical-align: middle }
"""


def page(result: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """HTML of a result of `benchmarks autoscale`.

    Args:
        columns: figure of a run -> its heading in the table.
    """
    parts = [_run(name, pattern, columns) for name, pattern in result["patterns"].items()]
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Autoscaling, replayed</title>"
        f"<style>{_STYLE}</style><h1>Autoscaling, replayed</h1>"
        f"<p>Seed {result['seed']}; replicas are taken to be like this: {_plant(result['plant'])}.</p>"
        f"{''.join(parts)}</html>\n"
    )


def said(figure: float | None) -> str:
    """A figure as people read it."""
    return "-" if figure is None else f"{figure:,}"


def _plant(plant: Mapping[str, float | None]) -> str:
    return html.escape(", ".join(f"{name} {value:g}" for name, value in plant.items() if value is not None))


def _run(name: str, pattern: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    runs = pattern["runs"]
    colours = {run["setting"]: _COLOURS[number % len(_COLOURS)] for number, run in enumerate(runs)}
    figures = "".join(
        f"<figure><figcaption>{title}</figcaption>"
        + chart([(colours[run["setting"]], run["curves"]["at_s"], run["curves"][panel]) for run in runs], title)
        + "</figure>"
        for panel, title in PANELS.items()
    )
    heads = "".join(f"<th>{html.escape(head)}</th>" for head in columns.values())
    rows = "".join(
        f"<tr><td><span class='key' style='background:{colours[run['setting']]}'></span>"
        + f"{html.escape(run['setting'])}</td>"
        + "".join(f"<td>{said(run['summary'][figure])}</td>" for figure in columns)
        + "</tr>"
        for run in runs
    )
    return (
        f"<h2>{html.escape(name)}: {html.escape(pattern['what'])}</h2><div>{figures}</div>"
        f"<table><tr><th></th>{heads}</tr>{rows}</table>"
    )


def chart(curves: Sequence[tuple[str, Sequence[float], Sequence[float]]], title: str) -> str:
    """SVG of steps: (colour, times in seconds, values) of each curve."""
    until_s = max((times[-1] for _, times, _ in curves if times), default=1.0) or 1.0
    most = max((max(values) for _, _, values in curves if values), default=1.0) or 1.0
    unit, per = ("h", 3600) if until_s > 3 * 3600 else ("min", 60)

    def x(at_s: float) -> float:
        return _LEFT + at_s / until_s * (_WIDTH - _LEFT - 8)

    def y(value: float) -> float:
        return 8 + (1 - value / most) * (_HEIGHT - _BELOW - 8)

    drawn = []
    for colour, times, values in curves:
        points = [f"M{x(times[0]):.1f} {y(values[0]):.1f}"] if times else []
        points += [f"H{x(at_s):.1f}V{y(value):.1f}" for at_s, value in zip(times[1:], values[1:], strict=True)]
        drawn.append(f"<path class='curve' stroke='{colour}' d='{''.join(points)}'/>")
    marks = [
        f"<text x='{_LEFT - 6}' y='{y(value) + 4:.0f}' text-anchor='end'>{value:,.4g}</text>"
        f"<path class='axis' d='M{_LEFT} {y(value):.1f}H{_WIDTH - 8}'/>"
        for value in (0, most)
    ]
    marks += [
        f"<text x='{x(share * until_s):.0f}' y='{_HEIGHT - 5}' text-anchor='{anchor}'>"
        f"{share * until_s / per:.0f} {unit}</text>"
        for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    ]
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' width='{_WIDTH}' height='{_HEIGHT}' role='img' "
        f"aria-label='{html.escape(title)}'>{''.join(marks)}{''.join(drawn)}</svg>"
    )
