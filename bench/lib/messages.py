# SPDX-License-Identifier: Apache-2.0
"""Messages per operation, counted by the daemon (-o stats=FILE)."""

import json
import os
import subprocess
import tempfile

from trees import Forest
from union import BenchError, Peer, Union, sweep
from workload import load_all

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MICRO = ("walk", "read", "open", "pair", "missing", "roundtrip", "names", "lower",
         "bigread", "bigwrite", "copyup")


def hook(when, row):
    """Appends the counters of now to the record of the run."""
    text = subprocess.check_output(
        [os.environ["PLYFS"], "--stats", os.environ["BENCH_STATS"]], text=True)
    with open(os.environ["BENCH_COUNTS"], "a", encoding="utf-8") as f:
        print(json.dumps([when, row, counters(text)]), file=f)


def counters(text):
    """{opcode: messages} of the lines "NAME COUNT ..." up to TOTAL."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if fields and fields[0] == "TOTAL":
            return found
        if len(fields) > 1 and not line.startswith("#"):
            found[fields[0]] = int(fields[1])
    raise BenchError(f"not what plyfs --stats prints: {text}")


def round_trips(counts):
    """Messages that somebody waits for: all but those without a reply."""
    return sum(n for op, n in counts.items()
               if op not in ("FORGET", "BATCH_FORGET", "INTERRUPT"))


def read_counts(path):
    """{row: {opcode: messages}}, from the begin and end records."""
    begin, rows = {}, {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            when, row, now = json.loads(line)
            if when == "begin":
                begin = now
            else:
                rows[row] = {op: n - begin.get(op, 0) for op, n in now.items()
                             if n > begin.get(op, 0)}
    return rows


def measure(names, peer_name, scale):
    """[(row, operations, {opcode: messages})] of the named rows, and what
    failed."""
    build = os.path.abspath(os.environ.get("BUILD", HERE + "/../build"))
    subprocess.run(["make", "-s", "-C", HERE, "BUILD=" + build], check=True)
    known = {w.name: w for w in load_all(HERE + "/workloads")}
    chosen = [known[m] for m in MICRO if not names or m in names or
              any(r.name in names for r in known[m].rows)]
    if not chosen:
        raise BenchError("nothing to measure: " + " ".join(MICRO))
    root = tempfile.mkdtemp(prefix="plyfs-messages.", dir="/var/tmp")
    plyfs = os.path.abspath(os.environ.get("PLYFS", build + "/plyfs"))
    env = dict(os.environ, LC_ALL="C", BENCH_BIN=build + "/bench", PLYFS=plyfs,
               BENCH_LIB=HERE + "/lib", BENCH_STATE=root, SCALE=str(scale),
               BENCH_STATS=root + "/stats", BENCH_HOOK=HERE + "/messages",
               PLYFS_EXTRA="stats=" + root + "/stats")
    results, failures = [], []
    try:
        peer = Peer(f"{HERE}/peers/{peer_name}.sh", env)
        peer.check()
        os.mkdir(root + "/trees")
        forest = Forest(root + "/trees", env["BENCH_BIN"], scale)
        for w in chosen:
            try:
                results += run_one(w, peer, forest.get(w.tree), root, env)
            except BenchError as e:
                failures.append(str(e))
    finally:
        sweep(root)
    wanted = {row.name for w in chosen for row in w.rows
              if not names or w.name in names or row.name in names}
    return [r for r in results if r[0] in wanted], failures


def run_one(workload, peer, tree, root, env):
    counts = f"{root}/counts-{workload.name}"
    union = Union(peer, tree, f"{root}/{workload.name}")
    try:
        peer.before()
        union.mount()
        r = subprocess.run(
            [workload.path], cwd=union.cwd, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            env=dict(env, MNT=union.mnt, TREE=tree.root, LIST=tree.list or "",
                     OUT=union.dir + "/out", BENCH_PID=str(union.pid),
                     BENCH_COUNTS=counts))
        if r.returncode:
            raise BenchError(f"{workload.name} failed")
        union.unmount()
    finally:
        union.destroy()
        peer.after()
    ops = {f[1]: int(f[2]) for f in (line.split("\t") for line in
                                     r.stdout.splitlines())}
    return [(row, ops[row], c) for row, c in read_counts(counts).items()]
