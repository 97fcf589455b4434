# SPDX-License-Identifier: Apache-2.0
"""The lower layers of the workloads, each made once per run."""

import os
import subprocess


class Tree:
    """A stack of lower layers.

    layers: directories, top first.  list: the file that says what their union
    shows (see micro/mktree.c), or None.  root: where everything of it lies.
    """

    def __init__(self, root, layers, list_path=None):
        self.root = root
        self.layers = layers
        self.list = list_path


class Forest:
    """Makes trees below a directory when they are first asked for."""

    def __init__(self, root, bin_dir, scale):
        self.root = root
        self.mktree = os.path.join(bin_dir, "mktree")
        self.scale = scale
        self.made = {}

    def get(self, spec):
        if spec not in self.made:
            name, *args = spec.split()
            root = os.path.join(self.root, spec.replace(" ", "-"))
            os.mkdir(root)
            self.made[spec] = getattr(self, "_" + name)(root, *args)
        return self.made[spec]

    def _count(self, count, least=1):
        return str(max(least, int(count * self.scale)))

    def _run(self, *argv, **kwargs):
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, **kwargs)

    def _image(self, root, files=10000, layers=5):
        layers_dir, list_path = root + "/layers", root + "/list"
        self._run(self.mktree, "image", layers_dir, self._count(files, 600),
                  str(layers), list_path)
        return Tree(root, [f"{layers_dir}/{i}" for i in reversed(range(layers))],
                    list_path)

    def _big(self, root):
        os.mkdir(root + "/lower")
        self._run(self.mktree, "big", root + "/lower/big",
                  str(int(self._count(256)) << 20))
        return Tree(root, [root + "/lower"])

    def _source(self, root):
        """One layer with a git repository, and a tar file of its work tree."""
        tree = self._image(root, 4000, 1)
        work = tree.layers[0]
        self._run("tar", "-cf", root + "/source.tar", "-C", work,
                  *sorted(os.listdir(work)))
        env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null",
                   GIT_CONFIG_SYSTEM="/dev/null")
        identity = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
        # The index holds inode numbers and ctimes, which the union may show
        # otherwise: compare sizes and mtimes only, as a checkout that was
        # copied into an image would have it.
        for args in (("init", "-q"), ("config", "core.checkStat", "minimal"),
                     ("config", "gc.auto", "0"), ("add", "."),
                     (*identity, "commit", "-q", "-m", "tree"),
                     ("repack", "-q", "-a", "-d"), ("status",)):
            self._run("git", *args, cwd=work, env=env,
                      stdout=subprocess.DEVNULL)
        return tree

    def _python(self, root):
        """The standard library of the system's Python, as PYTHONHOME."""
        stdlib = subprocess.check_output(
            ["/usr/bin/python3", "-I", "-c",
             "import sysconfig; print(sysconfig.get_paths()['stdlib'])"],
            text=True).strip()
        lib = root + "/lower/lib"
        os.makedirs(lib)
        self._run("cp", "-a", stdlib, lib)
        return Tree(root, [root + "/lower"])

    def _lowers(self, root, count):
        self._run(self.mktree, "lowers", root + "/l", count)
        # Relative names: 500 absolute ones would not fit into the page that
        # mount(2) takes. Whoever mounts does so from tree.root + "/l".
        return Tree(root, [str(i) for i in reversed(range(int(count)))])

    def _many(self, root):
        self._run(self.mktree, "flat", root + "/lower", self._count(1000000),
                  "1000", root + "/list")
        return Tree(root, [root + "/lower"], root + "/list")
