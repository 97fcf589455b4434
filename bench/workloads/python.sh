#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Start Python on a standard library in a lower layer, import many modules.
# tree: python
# needs: /usr/bin/python3
# row: import_cold us/module - python3 -c 'import ...', cold
# row: import_warm us/module - python3 -c 'import ...', warm
set -e
# shellcheck source=bench/lib/workload.sh disable=SC2153
. "$BENCH_LIB/workload.sh"
export PYTHONHOME="$MNT" PYTHONDONTWRITEBYTECODE=1
code='import importlib, sys
for name in """
argparse ast asyncio base64 bisect bz2 calendar cmd code codecs collections
concurrent.futures configparser contextlib csv ctypes curses dataclasses
datetime decimal difflib dis doctest email.mime.text enum filecmp fileinput
fnmatch fractions ftplib functools getpass gettext glob graphlib gzip hashlib
heapq hmac html.parser http.client http.server imaplib inspect ipaddress json
logging.config logging.handlers lzma mailbox mimetypes multiprocessing netrc
numbers optparse pathlib pdb pickle pickletools pkgutil platform plistlib
poplib pprint profile queue random runpy sched secrets selectors shelve shlex
shutil smtplib socketserver sqlite3 ssl statistics string subprocess symtable
tarfile tempfile textwrap timeit tokenize tomllib trace tracemalloc typing
unittest.mock urllib.request urllib.robotparser uuid wave weakref webbrowser
wsgiref.simple_server xml.dom.minidom xml.etree.ElementTree xml.sax
xmlrpc.client xmlrpc.server zipapp zipfile zoneinfo
""".split():
    try:
        importlib.import_module(name)
    except ImportError:
        pass  # not in every version of Python
assert sys.modules["json"].__file__.startswith(sys.argv[1])
print(len(sys.modules))'
"$BENCH_BIN/timed" import_cold 1 /usr/bin/python3 -s -S -c "$code" "$MNT" >"$OUT/cold"
modules=$(/usr/bin/python3 -s -S -c "$code" "$MNT")
"$BENCH_BIN/timed" import_warm 1 /usr/bin/python3 -s -S -c "$code" "$MNT" >"$OUT/warm"
[ "$modules" -gt 200 ] ||
	die "python: only $modules modules"
# The number of modules is known only now: it is the number of operations.
sed "s/^\(result	[a-z_]*	\)1	/\1$modules	/" "$OUT/cold" "$OUT/warm"
