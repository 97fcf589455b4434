# SPDX-License-Identifier: Apache-2.0
"""Samples to tables, raw files and plots."""

import json
import os
import statistics
import subprocess
import textwrap

BASELINE = "overlayfs"


def value_of(sample, row):
    """The sample in the row's unit."""
    if "value" in sample:
        return sample["value"]
    if row.unit == "ms":
        return sample["ns"] / 1e6
    return sample["ns"] / 1e3 / sample["ops"]


def number(x):
    if x is None:
        return "-"
    if x == 0:
        return "0"
    if x >= 1000:
        return f"{x:.0f}"
    return f"{x:.3g}"


class Table:
    """Medians of all rows and peers, from the list of samples."""

    def __init__(self, rows, peers, samples, messages=None):
        self.peers = peers
        self.messages = messages or {}
        self.rows = [r for r in rows
                     if any(s["row"] == r.name for s in samples)]
        self.by = {}
        for s in samples:
            self.by.setdefault((s["row"], s["peer"]), []).append(s)

    def values(self, row, peer):
        return [value_of(s, row) for s in self.by.get((row.name, peer), [])
                if "error" not in s]

    def median(self, row, peer):
        values = self.values(row, peer)
        return statistics.median(values) if values else None

    def ratio(self, row, peer, base=BASELINE):
        mine, other = self.median(row, peer), self.median(row, base)
        return mine / other if mine is not None and other else None

    def ratio_range(self, row, peer):
        """Least and greatest ratio within one round: how much it scatters."""
        base = {s["round"]: value_of(s, row)
                for s in self.by.get((row.name, BASELINE), [])
                if "error" not in s}
        ratios = [value_of(s, row) / base[s["round"]]
                  for s in self.by.get((row.name, peer), [])
                  if "error" not in s and base.get(s["round"])]
        return (min(ratios), max(ratios)) if ratios else None

    def cpu(self, row, peer):
        """Daemon CPU, us per operation."""
        values = [s["cpu_ns"] / 1e3 / s["ops"]
                  for s in self.by.get((row.name, peer), [])
                  if s.get("cpu_ns", -1) >= 0]
        return statistics.median(values) if values else None

    def failed(self, row, peer):
        return any("error" in s for s in self.by.get((row.name, peer), []))

    def verdict(self, row, peer):
        """"ok", "MISS" or "" for a peer that the row's target is about."""
        if peer not in ("plyfs", "plyfs-uring"):
            return ""
        target = row.target[peer == "plyfs-uring"]
        have = self.ratio(row, peer) if row.ratio else self.median(row, peer)
        if target is None or have is None:
            return ""
        return "ok" if have <= target else "MISS"


def main_table(table):
    lines = [["row", "unit"] + table.peers]
    for row in table.rows:
        lines.append([row.name, row.unit] +
                     [("FAILED" if table.failed(row, p) else
                       number(table.median(row, p))) for p in table.peers])
    return lines


def ratio_table(table):
    """Ratios to the baseline with their range, between others, targets."""
    others = [p for p in table.peers if p != BASELINE]
    ours = [p for p in others if p.startswith("plyfs")]
    head = ["row"] + others
    pairs = [(p, "fuse-overlayfs") for p in ours[:2]
             if "fuse-overlayfs" in others]
    pairs += [("plyfs", p) for p in ours if "@" in p and "plyfs" in ours]
    head += [f"{a} : {b}" for a, b in pairs]
    lines = [head + ["target", "met"]]
    for row in table.rows:
        if not row.ratio and row.unit != "ms":
            continue
        line = [row.name]
        for p in others:
            ratio, span = table.ratio(row, p), table.ratio_range(row, p)
            line.append(f"{ratio:.2f} [{span[0]:.2f}..{span[1]:.2f}]"
                        if ratio and span else "-")
        for a, b in pairs:
            ratio = table.ratio(row, a, b)
            line.append(f"{ratio:.2f}" if ratio else "-")
        lines.append(line + target_cells(table, row))
    return lines


def target_cells(table, row):
    numbers = [t for t in dict.fromkeys(row.target) if t is not None]
    unit = "" if row.ratio else " " + row.unit
    text = " / ".join(f"<= {t:g}{unit}" for t in numbers) or "-"
    met = [v for v in (table.verdict(row, p) for p in
                       ("plyfs", "plyfs-uring")) if v]
    return [text, " / ".join(met) or "-"]


def absolute_table(table):
    rows = [r for r in table.rows if not r.ratio]
    return [["row", "unit"] + table.peers + ["target", "met"]] + [
        [r.name, r.unit] + [number(table.median(r, p)) for p in table.peers] +
        target_cells(table, r) for r in rows]


def cpu_table(table):
    peers = [p for p in table.peers if p != BASELINE]
    lines = [["row", "unit"] + peers]
    for row in table.rows:
        cells = [table.cpu(row, p) for p in peers]
        if row.ratio and any(c is not None for c in cells):
            lines.append([row.name, row.unit] + [number(c) for c in cells])
    return lines


def floor_table(table):
    """What the messages alone cost: their number times a round trip."""
    peers = [p for p in ("plyfs", "plyfs-uring") if p in table.peers]
    trip = {p: [value_of(s, r) for r in table.rows if r.name == "roundtrip"
                for s in table.by.get((r.name, p), []) if "error" not in s]
            for p in peers}
    peers = [p for p in peers if trip[p]]
    head = ["row", "messages/op"]
    for p in peers:
        head += [f"{p} floor, us", "measured, us", "floor ratio"]
    lines = [head]
    for row in table.rows:
        if row.name not in table.messages:
            continue
        line = [row.name, f"{table.messages[row.name]:.3g}"]
        for p in peers:
            floor = table.messages[row.name] * statistics.median(trip[p])
            base = table.median(row, BASELINE)
            line += [number(floor), number(table.median(row, p)),
                     f"{floor / base:.2f}" if base else "-"]
        lines.append(line)
    return lines


def as_text(lines):
    widths = [max(len(c) for c in col) for col in zip(*lines)]
    return "\n".join("  ".join(c.ljust(w) if i == 0 else c.rjust(w)
                               for i, (c, w) in enumerate(zip(line, widths)))
                     for line in lines)


def as_markdown(lines):
    out = ["| " + " | ".join(line) + " |" for line in lines]
    out.insert(1, "|---|" + "---:|" * (len(lines[0]) - 1))
    return "\n".join(out)


COLD = ("""Cold: the union is freshly mounted, so that none of its own dentries,
attributes, listings or pages are cached; the backing filesystem's caches are
warm. Warm: the third pass and later ones. Every sample has a fresh union with
an upper of its own on the same backing filesystem.""")

SECTIONS = (
    ("Medians", "Time per operation (or the value itself); lower is better.",
     main_table),
    ("Ratios to kernel overlayfs",
     "Ratio of the medians; in brackets the least and the greatest ratio "
     "within one round. Then plyfs against fuse-overlayfs. Targets are those "
     "of the default mode: over /dev/fuse / over io_uring.", ratio_table),
    ("Messages and floors",
     "Messages per operation of plyfs (bench/messages), and the floor they "
     "set: messages x the median of roundtrip in this run; its ratio to "
     "kernel overlayfs. A write is split, and reads run ahead, so that floors "
     "of big files may lie above what is measured.", floor_table),
    ("Memory and mount time", "Absolute values and their targets.",
     absolute_table),
    ("CPU time of the daemon", "Microseconds of the row's unit.", cpu_table),
)


def render(table, header, errors, markdown):
    out = ["# plyfs benchmark" if markdown else "plyfs benchmark", ""]
    for key, value in header:
        out.append(f"- {key}: {value}" if markdown else f"{key + ':':12} {value}")
    out += ["", COLD]
    for title, note, make in SECTIONS:
        lines = make(table)
        if len(lines) < 2:
            continue
        out += ["", f"## {title}" if markdown else title.upper(), "",
                note if markdown else textwrap.fill(note, 90), "",
                as_markdown(lines) if markdown else as_text(lines)]
    out += ["", "## Rows" if markdown else "ROWS", ""]
    out += [f"- `{r.name}`: {r.title}" if markdown else
            f"{r.name:15} {r.title}" for r in table.rows]
    if errors:
        out += ["", "## Failures" if markdown else "FAILURES", ""]
        out += ["- " + e for e in errors]
    return "\n".join(out) + "\n"


FIELDS = ("row", "peer", "round", "ops", "ns", "cpu_ns", "value", "loadavg",
          "time", "error")


def write_raw(out_dir, header, samples):
    with open(out_dir + "/samples.tsv", "w", encoding="utf-8") as f:
        print(*FIELDS, sep="\t", file=f)
        for s in samples:
            print(*(str(s.get(k, "")).replace("\n", " ") for k in FIELDS),
                  sep="\t", file=f)
    with open(out_dir + "/samples.json", "w", encoding="utf-8") as f:
        json.dump({"header": dict(header), "samples": samples}, f, indent=1)


def plot_ratios(table, out_dir, caption):
    """ratios.svg: a line per row, a point per peer, whiskers: the range."""
    peers = [p for p in table.peers if p != BASELINE]
    rows = [r for r in table.rows if any(table.ratio(r, p) for p in peers)]
    if not rows:
        return None
    path = out_dir + "/ratios.svg"
    script = [
        "set terminal svg size 900,%d dynamic font 'sans,12' "
        "background 'white'" % (140 + 26 * len(rows)),
        f"set output '{path}'", "set logscale x", "set grid x lc '#cccccc'",
        f"set title {quoted(caption)} font ',10' noenhanced",
        "set xlabel 'time relative to kernel overlayfs (less is better)'",
        "set xtics (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)",
        f"set yrange [{len(rows) - 0.5}:-0.5]", "set key outside top center "
        "horizontal noenhanced",
        "set ytics noenhanced (%s)" % ", ".join(
            f"{quoted(r.name)} {i}" for i, r in enumerate(rows)),
        "set arrow from 1, graph 0 to 1, graph 1 nohead lc 'black' lw 1.5",
    ]
    plots = []
    for n, peer in enumerate(peers):
        script.append(f"$data{n} << EOD")
        for i, row in enumerate(rows):
            ratio, span = table.ratio(row, peer), table.ratio_range(row, peer)
            if ratio and span:
                y = i + (n - (len(peers) - 1) / 2) * 0.14
                script.append(f"{ratio} {y} {span[0]} {span[1]}")
        script.append("EOD")
        plots.append(f"$data{n} using 1:2:3:4 with xerrorbars pt 7 ps 0.6 "
                     f"lw 1.2 title {quoted(peer)}")
    script.append("set style data points")
    script.append("plot " + ", ".join(plots))
    return gnuplot(script, path)


def plot_samples(table, out_dir, caption):
    """samples.svg: every sample of every row, relative to the row's median
    on the baseline (or of the first peer that has one)."""
    path = out_dir + "/samples.svg"
    columns = 4
    lines = (len(table.rows) + columns - 1) // columns
    script = [
        "set terminal svg size 1100,%d dynamic font 'sans,10' "
        "background 'white'" % (70 + 200 * lines),
        f"set output '{path}'",
        f"set multiplot layout {lines},{columns} title {quoted(caption)} "
        "noenhanced",
        "unset key", "set yrange [0:*]", "set ytics font ',8'",
        "set grid y lc '#cccccc'",
        f"set xrange [-0.5:{len(table.peers) - 0.5}]",
        "set xtics rotate by 30 right noenhanced font ',8' (%s)" % ", ".join(
            f"{quoted(p)} {i}" for i, p in enumerate(table.peers)),
    ]
    for n, row in enumerate(table.rows):
        script.append(f"set title {quoted(row.name + ', ' + row.unit)} "
                      "noenhanced")
        script.append(f"$data{n} << EOD")
        seen = False
        for i, peer in enumerate(table.peers):
            for value in table.values(row, peer):
                script.append(f"{i} {value} {i + 1}")
                seen = True
        script.append("EOD")
        script.append(f"plot $data{n} using 1:2:3 with points pt 7 ps 0.4 "
                      "lc variable" if seen else "set multiplot next")
    script.append("unset multiplot")
    return gnuplot(script, path)


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def gnuplot(script, path):
    try:
        r = subprocess.run(["gnuplot"], input="\n".join(script) + "\n",
                           text=True, stderr=subprocess.PIPE, check=False)
    except FileNotFoundError:
        return "gnuplot is not installed: no plots (apt-get install gnuplot-nox)"
    if r.returncode or not os.path.getsize(path):
        return f"gnuplot failed: {r.stderr.strip()}"
    return None


def write(rows, peers, samples, header, errors, out_dir, messages):
    """Everything into out_dir; returns the text report. messages: {row: per
    operation}, may be empty."""
    table = Table(rows, peers, samples, messages)
    caption = "; ".join(v for k, v in header if k in ("commit", "kernel",
                                                      "backing", "date"))
    write_raw(out_dir, header, samples)
    for plot in (plot_ratios, plot_samples):
        problem = plot(table, out_dir, caption)
        if problem:
            errors.append(problem)
            break
    for name, markdown in (("report.txt", False), ("report.md", True)):
        with open(f"{out_dir}/{name}", "w", encoding="utf-8") as f:
            f.write(render(table, header, errors, markdown))
    return render(table, header, errors, False)
