# SPDX-License-Identifier: Apache-2.0
"""Peers (kinds of union filesystems) and single mounts of them."""

import os
import signal
import subprocess
import time


class BenchError(Exception):
    """A sample or a set-up failed; the text says how."""


class Peer:
    """One bench/peers/NAME.sh; README.md describes what it must answer."""

    def __init__(self, script, env):
        self.name = os.path.basename(script)[:-len(".sh")]
        self.script = script
        self.env = env
        self.fstype = self._ask("fstype").strip()
        self.has_daemon = self.fstype.startswith("fuse")

    def _ask(self, *args):
        r = subprocess.run([self.script, *args], env=self.env, text=True,
                           stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        if r.returncode:
            raise BenchError(f"{self.name}: {r.stdout.strip()}")
        return r.stdout

    def check(self):
        """Raises BenchError with the reason when it cannot be used here."""
        self._ask("check")

    def version(self):
        return " ".join(self._ask("version").split())

    def before(self):
        self._ask("before")

    def after(self):
        self._ask("after")

    def argv(self, lowers, upper, work, mnt):
        return self._ask("argv", ":".join(lowers), upper, work,
                         mnt).splitlines()


def fstype_of(mnt):
    """Type of what is mounted on mnt, or None."""
    found = None
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        for line in f:
            fields = line.split()
            if fields[4] == mnt:
                found = fields[fields.index("-") + 1]
    return found


def daemons_of(mnt):
    """Processes one of whose arguments is mnt: the name is ours alone."""
    pids = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                if mnt.encode() in f.read().split(b"\0"):
                    pids.append(int(entry))
        except OSError:
            pass
    return pids


def mounts_below(directory):
    """Mountpoints below directory, innermost first."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        found = [line.split()[4] for line in f]
    return sorted((m for m in found if m.startswith(directory + "/")),
                  reverse=True)


def kill_daemons(mnt):
    """Waits up to 5 s for the daemons of mnt to end, then kills them."""
    for _ in range(100):
        pids = daemons_of(mnt)
        if not pids:
            return
        time.sleep(0.05)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def sweep(root):
    """The end of a run: whatever is still mounted below root, and root."""
    for mnt in mounts_below(root):
        subprocess.run(["umount", "-l", mnt], check=False)
        kill_daemons(mnt)
    if not mounts_below(root):
        subprocess.run(["rm", "-rf", root], check=False)


class Union:
    """A fresh union of a tree's layers with an upper of its own."""

    def __init__(self, peer, tree, scratch):
        self.peer = peer
        self.dir = scratch
        self.mnt = scratch + "/mnt"
        self.pid = None
        for name in ("upper", "work", "mnt", "out"):
            os.makedirs(f"{scratch}/{name}")
        self.argv = peer.argv(tree.layers, scratch + "/upper",
                              scratch + "/work", self.mnt)
        self.cwd = tree.root + ("/l" if tree.list is None and
                                os.path.isdir(tree.root + "/l") else "")

    def mount(self):
        # Files, not pipes: a daemon may keep them open.
        with open(self.dir + "/mount.log", "w+", encoding="utf-8",
                  errors="replace") as log:
            r = subprocess.run(self.argv, cwd=self.cwd, env=self.peer.env,
                               stdin=subprocess.DEVNULL, stdout=log,
                               stderr=log, timeout=60)
            log.seek(0)
            text = log.read().strip()
        if r.returncode:
            raise BenchError(f"mount failed ({r.returncode}): {text}")
        self.adopt()

    def adopt(self):
        """Checks that the right thing is mounted and finds its daemon."""
        fstype = fstype_of(self.mnt)
        if fstype != self.peer.fstype:
            raise BenchError(f"{fstype} is mounted, not {self.peer.fstype}")
        if not self.peer.has_daemon:
            return
        for _ in range(50):
            pids = daemons_of(self.mnt)
            if len(pids) == 1:
                self.pid = pids[0]
                return
            time.sleep(0.02)
        raise BenchError(f"{len(pids)} daemons instead of one")

    def _alive(self):
        return self.pid in daemons_of(self.mnt)

    def unmount(self):
        """Unmounts and waits for the daemon; both must go cleanly."""
        if self.pid and not self._alive():
            subprocess.run(["umount", "-l", self.mnt], check=False)
            raise BenchError("the daemon has died")
        for _ in range(50):
            r = subprocess.run(["umount", self.mnt], text=True, check=False,
                               stderr=subprocess.PIPE)
            if r.returncode == 0:
                break
            time.sleep(0.1)
        else:
            raise BenchError(f"umount failed: {r.stderr.strip()}")
        deadline = time.monotonic() + 60
        while self.pid and self._alive():
            if time.monotonic() > deadline:
                raise BenchError("the daemon does not end after the unmount")
            time.sleep(0.01)
        self.pid = None

    def destroy(self):
        """Removes every trace, whatever state the union is in."""
        while fstype_of(self.mnt):
            subprocess.run(["umount", "-l", self.mnt], check=True)
        kill_daemons(self.mnt)
        subprocess.run(["rm", "-rf", self.dir], check=True)
