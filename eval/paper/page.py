"""The report of a comparison: paper.json, the figure, and one page that needs nothing but itself."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from bert_jax.tasks import TASKS
from eval.paper.comparison import Comparison, Filled, Number, as_json
from eval.paper.plots import as_svg, draw_curves, draw_size_study, save_figure
from eval.report import format_score


def write_report(
    folder: Path, comparison: Comparison, results: Mapping[str, Any], audit: Mapping[str, Any], settings: Sequence[str]
) -> list[Path]:
    """Write paper.json, report.html, and figure-1.png and .svg if there is a figure; return what was written."""
    stored, page = folder / "paper.json", folder / "report.html"
    content = {**as_json(comparison), "settings": list(settings), "results": results}
    stored.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    parts, pictures = [table_section(filled) for filled in comparison.tables], []
    if comparison.figure:
        figure = draw_size_study(comparison.figure, comparison.figure_shortened)
        pictures = save_figure(figure, folder / "figure-1")
        parts.append(section("Figure 1. The size study", as_svg(figure)))
    multitask = {name: result for name, result in results.items() if not name.startswith("size-")}
    if multitask:
        parts.append(section("Learning curves", as_svg(draw_curves(multitask))))
        parts.append(section("F1 by class, dev", f1_table(multitask)))
        parts.append(section("Confusion, dev", "".join(matrices(n, r) for n, r in multitask.items())))
    parts += [audit_section(audit), section("How it was made", runs_table(results, settings))]
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    page.write_text(template.substitute(parts="\n".join(parts)), encoding="utf-8")
    return [stored, page, *pictures]


def section(title: str, content: str) -> str:
    """A heading and what stands below it."""
    return f"<h2>{html.escape(title)}</h2>\n{content}"


def table(headings: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "") -> str:
    """An HTML table; its cells are HTML already."""
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    opened = f"<div class='scroll'><table class='{kind}'>"
    return f"{opened}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def table_section(filled: Filled) -> str:
    """Write one of the paper's tables."""
    rows = [
        [html.escape(line.label) + ("*" if line.shortened else ""), *map(number_cell, line.numbers)]
        for line in filled.lines
    ]
    below = "".join(f"<p class='note'>{html.escape(note)}</p>" for note in filled.notes)
    return section(f"Table {filled.number}. {filled.title}", table(["", *filled.headings], rows) + below)


def number_cell(number: Number) -> str:
    """Our score, its interval and the paper's."""
    if number.ours is None:
        return "undefined"
    digits = 3 if number.ours < 10 else 1
    low, high = number.interval or (None, None)
    ours = f"{number.ours:.{digits}f}"
    if low is not None and high is not None:
        ours += f"<span class='interval'>{low:.{digits}f} to {high:.{digits}f}</span>"
    return ours + (f"<span class='paper'>{number.paper:.3f}</span>" if number.paper is not None else "")


def f1_table(results: Mapping[str, Any]) -> str:
    """Write F1 of each class of each task with classes, after the last stage."""
    rows = [
        [html.escape(name), task, *map(format_score, [scores["macro_f1"], *scores["f1"]])]
        for name, result in results.items()
        for task, scores in last_stage(result)["dev"]["scores"].items()
        if "f1" in scores
    ]
    most = max(map(len, rows), default=3) - 3
    return table(["run", "task", "macro", *(f"class {label}" for label in range(most))], rows)


def matrices(name: str, result: Mapping[str, Any]) -> str:
    """Write the confusion matrices of a run, a row of cells a true label, shaded by share."""
    tables = []
    for task, counts in last_stage(result)["dev"]["confusion"].items():
        head = "".join(f"<th>{label}</th>" for label in range(len(counts)))
        rounded = ", rounded" if TASKS[task].is_graded else ""
        caption = f"<h3>{task}{rounded}</h3><table class='matrix'><thead><tr><th></th>{head}</tr></thead>"
        cells = ["".join(shade(count, count / max(1, sum(row))) for count in row) for row in counts]
        rows = "".join(f"<tr><td>{label}</td>{row}</tr>" for label, row in enumerate(cells))
        tables.append(f"<div>{caption}<tbody>{rows}</tbody></table></div>")
    title = f"<summary>{html.escape(name)}</summary><p class='note'>rows: the label; columns: predicted</p>"
    return f"<details>{title}<div class='matrices'>{''.join(tables)}</div></details>"


def shade(count: int, share: float) -> str:
    """A cell of a confusion matrix."""
    ink = "#fff" if share > 0.55 else "#222"
    return f"<td style='background: rgba(11, 110, 153, {share:.3f}); color: {ink}'>{count}</td>"


def last_stage(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is known of a run's last stage."""
    return list(result["stages"].values())[-1]


def audit_section(audit: Mapping[str, Any]) -> str:
    """Write rows and labels of each table, and rows that stand in another one too, as `eval.overlaps` counts them."""
    tables, shared = [], []
    for name, task in audit["tasks"].items():
        for split, found in task["splits"].items():
            labels = ", ".join(f"{label}: {count:,}" for label, count in found["labels"].items())
            tables.append([f"{name} {split}", f"{found['rows']:,}", str(found["without_label"]), labels])
        for each in task["shared"]:
            if each["rows"]:
                shared.append([f"{name} {each['rows_of']}", each["in"], f"{each['rows']:,}", f"{each['of']:,}"])
        conflicts = task.get("conflicts", {"distinct": 0, "rows": 0})
        if conflicts["distinct"]:
            shared.append([f"{name} train", "itself, with another label", f"{conflicts['rows']:,}", ""])
    counts = table(["table", "rows", "without a label", "labels"], tables, "runs")
    said = "<p>Rows whose text or pair stands elsewhere too, whatever its case, punctuation and order:</p>"
    return section("The data", counts + said + table(["rows of", "that stand in", "rows", "of"], shared, "runs"))


def runs_table(results: Mapping[str, Any], settings: Sequence[str]) -> str:
    """Write commands, machine and versions of all runs."""
    rows = []
    for name, result in results.items():
        stages = "; ".join(
            f"{mode}: {stage['epochs']} epochs, lr {stage['lr']:g}, batch {stage['batch_size']}"
            for mode, stage in result["stages"].items()
        )
        versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
        made = html.escape(f"{result['machine']}; {versions}")
        rows.append([html.escape(name), f"<code>{html.escape(result['command'])}</code><br>{stages}<br>{made}"])
    said = f"<p>This page: <code>python -m eval.paper {html.escape(' '.join(settings))}</code></p>"
    return said + table(["run", "command, stages, machine and versions"], rows, kind="runs")
