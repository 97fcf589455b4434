# SPDX-License-Identifier: Apache-2.0
"""Workloads: what bench/workloads/*.sh say about themselves."""

import glob
import os
import shutil


class Row:
    """One line of the report.

    unit: "us/THING" (time per operation), "ms" (time), or the unit of a value
    that is no time.  target: (default mode, over io_uring), numbers or None;
    a ratio to kernel overlayfs for "us/" rows, else in the row's unit.
    """

    def __init__(self, workload, name, unit, target, title):
        self.workload = workload
        self.name = name
        self.unit = unit
        self.title = title
        self.ratio = unit.startswith("us/")
        self.is_time = self.ratio or unit == "ms"
        parts = [None if t == "-" else float(t.removeprefix("<="))
                 for t in target.split("|")]
        self.target = (parts[0], parts[-1])


class Workload:
    """One file: header lines "# KEY: VALUE" or "# KEY", then the script."""

    def __init__(self, path):
        self.path = path
        self.name = os.path.basename(path)[:-len(".sh")]
        self.tree = None
        self.rows = []
        self.needs = []
        self.rounds = None      # at most so many
        self.settle = False     # sync the backing filesystem before it
        self.mounts = False     # the script itself mounts: that is measured
        with open(path, encoding="utf-8") as f:
            for line in f:
                if not line.startswith("#"):
                    break
                self._header(line[1:].strip())
        if not self.tree or not self.rows:
            raise ValueError(f"{path}: no tree or no row")

    def _header(self, line):
        key, _, value = line.partition(": ")
        if key == "row":
            name, unit, target, title = value.split(None, 3)
            self.rows.append(Row(self, name, unit, target, title))
        elif key == "tree":
            self.tree = value
        elif key == "needs":
            self.needs = value.split()
        elif key == "rounds":
            self.rounds = int(value)
        elif line in ("settle", "mounts"):
            setattr(self, line, True)

    def missing(self):
        """Programs that it needs and that are not installed."""
        return [p for p in self.needs if not shutil.which(p)]


ORDER = ("walk read open pair missing roundtrip names lower bigread bigwrite "
         "copyup untar git python mount1 mount50 mount500 idle memory").split()


def load_all(directory):
    """All workloads: in the order of the report, unknown ones last."""
    found = [Workload(p) for p in glob.glob(directory + "/*.sh")]
    return sorted(found, key=lambda w: (ORDER.index(w.name) if w.name in ORDER
                                        else len(ORDER), w.name))
