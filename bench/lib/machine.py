# SPDX-License-Identifier: Apache-2.0
"""What a reader must know about where the numbers come from."""

import glob
import os
import platform
import subprocess
import time


def _first(path, key=None):
    try:
        with open(path, encoding="utf-8") as f:
            for line in f:
                if key is None:
                    return line.strip()
                if line.startswith(key):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "?"


def _output(*argv, cwd=None):
    try:
        return subprocess.run(argv, cwd=cwd, text=True, check=False,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout.strip()
    except FileNotFoundError:
        return ""


def _libfuse(source):
    """The one that plyfs is built with: make deps' own before the system's."""
    private = glob.glob(source + "/../.deps/lib/*/pkgconfig")
    return _output("env", "PKG_CONFIG_PATH=" + ":".join(private), "pkg-config",
                   "--modversion", "fuse3") or "?"


def header(source, backing, peers, settings):
    """List of (key, value). peers: {name: version}."""
    mem = int(_first("/proc/meminfo", "MemTotal").split()[0]) // (1 << 20)
    virt = _output("systemd-detect-virt") or "virtualisation unknown"
    fs = " ".join(_output("findmnt", "-n", "--first-only", "-o",
                          "FSTYPE,SOURCE,OPTIONS", "-T", backing).split())
    return [
        ("date", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())),
        ("machine", f"{_first('/proc/cpuinfo', 'model name')}, "
                    f"{os.cpu_count()} CPUs, {mem} GiB, {virt}"),
        ("kernel", f"{platform.release()}, fuse enable_uring="
                   f"{_first('/sys/module/fuse/parameters/enable_uring')}"),
        ("commit", _output("git", "describe", "--always", "--dirty", "--tags",
                           cwd=source) or "?"),
        ("backing", f"{fs} ({backing})"),
        ("user", "root" if not os.environ.get("BENCH_USERNS") else
                 "root of a user namespace without privileges on the host"),
        *((name, version) for name, version in peers.items()),
        ("libfuse", _libfuse(source)),
        ("settings", settings),
        ("load", "%.2f %.2f %.2f at the start" % os.getloadavg()),
    ]
