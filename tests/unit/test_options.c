/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: who says what, in which order, and what nonsense gets.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include <cmocka.h>

#include "options.h"
#include "options_i.h"

#define MAX_ARGS 16
#define LOWER "-o", "lowerdir=/l", "/m"

static struct options opts;
static char *error;

/* argv up to a NULL; copied, since main() has no constant strings either. */
static int parse(const char *const argv[])
{
	char *copy[MAX_ARGS + 1] = { NULL };
	int n = 0, r;

	for (; argv[n] != NULL; n++) {
		assert_true(n < MAX_ARGS);
		assert_non_null(copy[n] = strdup(argv[n]));
	}
	free(error);
	error = NULL;
	options_free(&opts);
	r = options_parse(n, copy, &opts, &error);
	for (int i = 0; i < n; i++)
		free(copy[i]);
	return r;
}

static void parse_good(const char *const argv[])
{
	int r = parse(argv);

	if (r != 0)
		fail_msg("%d: %s", r, error);
	assert_null(error);
}

static void parse_bad(const char *want, const char *const argv[])
{
	int r = parse(argv);

	assert_int_equal(r, -EINVAL);
	assert_non_null(error);
	if (strcmp(error, want) != 0)
		fail_msg("error is \"%s\", not \"%s\"", error, want);
}

/* Arguments that must be right, or wrong with just this error. */
#define good(...) parse_good((const char *const[]){ __VA_ARGS__, NULL })
#define bad(want, ...) parse_bad(want, (const char *const[]){ __VA_ARGS__, NULL })

/* One option, with the least of a command line around it. */
static void opt(const char *text)
{
	good("plyfs", LOWER, "-o", text);
}

static void opt_rw(const char *text)
{
	good("plyfs", "/m", "-o", "lowerdir=/l,upperdir=/u,workdir=/w", "-o", text);
}

static void opt_bad(const char *text, const char *want)
{
	bad(want, "plyfs", LOWER, "-o", text);
}

static int teardown(void **state)
{
	(void)state;
	options_free(&opts);
	free(error);
	error = NULL;
	return 0;
}

static void test_defaults(void **state)
{
	(void)state;
	opt_rw("");
	assert_string_equal(opts.name, "plyfs");
	assert_false(opts.compat_name || opts.help || opts.version || opts.foreground ||
		     opts.debug || opts.ro || opts.ro_option);
	assert_int_equal(opts.n_lower, 1);
	assert_string_equal(opts.lower[0], "/l");
	assert_string_equal(opts.upper, "/u");
	assert_string_equal(opts.work, "/w");
	assert_string_equal(opts.mountpoint, "/m");
	assert_int_equal(opts.mount_fd, -1);
	assert_null(opts.source);
	assert_string_equal(opts.fsname, "plyfs");
	assert_string_equal(opts.subtype, "plyfs");
	assert_int_equal(opts.uidmap.n + opts.gidmap.n, 0);
	assert_false(opts.squash_to_root || opts.has_squash_uid || opts.has_squash_gid);
	assert_int_equal(opts.xattr_permissions, 0);
	assert_false(opts.noxattr || opts.static_nlink || opts.ino32 || opts.fast_ino);
	assert_int_equal(opts.acl, OPTIONS_UNSET);
	assert_int_equal(opts.userxattr, OPTIONS_UNSET);
	assert_int_equal(opts.allow_other, OPTIONS_UNSET);
	assert_int_equal(opts.xino, OPTIONS_XINO_AUTO);
	assert_int_equal(opts.redirect_dir, OPTIONS_REDIRECT_ON);
	assert_false(opts.redirect_dir_given);
	assert_true(opts.index && opts.fsync && opts.prefetch);
	assert_false(opts.metacopy || opts.is_volatile || opts.writeback || opts.wh_files);
	assert_false(opts.sync || opts.dirsync || opts.has_timeout || opts.auto_unmount);
	assert_true(opts.timeout == OPTIONS_FOREVER && opts.entry_timeout == OPTIONS_FOREVER &&
		    opts.attr_timeout == OPTIONS_FOREVER &&
		    opts.negative_timeout == OPTIONS_FOREVER);
	assert_int_equal(opts.io_uring, OPTIONS_URING_AUTO);
	assert_int_equal(opts.passthrough, OPTIONS_PASSTHROUGH_OFF);
	assert_int_equal(opts.threads + opts.fd_budget + opts.io_uring_q_depth, 0);
	assert_int_equal(opts.max_read + opts.max_write + opts.max_background, 0);
	assert_false(opts.has_max_readahead || opts.has_spin_us);
	assert_int_equal(opts.max_readahead + opts.spin_us, 0);
	assert_null(opts.stats);
	assert_null(opts.context);
	assert_int_equal(opts.n_warning, 0);
}

static void test_any_order(void **state)
{
	(void)state;
	good("plyfs", "/m", "-o", "lowerdir=/l");
	assert_string_equal(opts.mountpoint, "/m");
	good("plyfs", "-o", "lowerdir=/l", "/m");
	assert_string_equal(opts.mountpoint, "/m");
	good("plyfs", "-olowerdir=/l", "/m", "-f");
	assert_true(opts.foreground);
	good("plyfs", "src", "-o", "lowerdir=/l", "-d", "/m");
	assert_string_equal(opts.source, "src");
	assert_string_equal(opts.mountpoint, "/m");
	assert_string_equal(opts.fsname, "src");
	assert_true(opts.debug && opts.foreground);
	good("plyfs", "src", "/m", "-o", "lowerdir=/l", "-o", "ro", "-o", "fsname=x");
	assert_string_equal(opts.fsname, "x");
	assert_true(opts.ro_option);
	good("plyfs", "", "-o", "lowerdir=/l", "/m");
	assert_string_equal(opts.fsname, "plyfs");
	/* mount(8) to a helper. */
	good("/sbin/mount.plyfs", "src", "/m", "-n", "-v", "-o", "rw,lowerdir=/l", "-t",
	     "fuse.plyfs");
	assert_string_equal(opts.name, "mount.plyfs");
	good("plyfs", "-fdo", "lowerdir=/l", "/m");
	assert_true(opts.debug && opts.foreground);
	good("plyfs", "-fdolowerdir=/l", "/m");
	assert_true(opts.debug);
	good("plyfs", "-rs", LOWER);
	assert_true(opts.ro_option);
	assert_int_equal(opts.threads, 1);
	good("plyfs", "-r", "-w", LOWER);
	assert_false(opts.ro_option);
	good("plyfs", "--foreground", LOWER);
	assert_true(opts.foreground && !opts.debug);
	good("plyfs", "--debug", LOWER);
	assert_true(opts.foreground && opts.debug);
	good("plyfs", "-o", "lowerdir=/l", "--", "-x", "--y");
	assert_string_equal(opts.source, "-x");
	assert_string_equal(opts.mountpoint, "--y");
	good("plyfs", "-o", "lowerdir=/l", "-", "/m");
	assert_string_equal(opts.source, "-");
	good("plyfs", "-o", "lowerdir=/l", "/dev/fd/17");
	assert_int_equal(opts.mount_fd, 17);
	good("plyfs", "-o", "lowerdir=/l", "/dev/fd/17x");
	assert_int_equal(opts.mount_fd, -1);
}

static void test_broken_lines(void **state)
{
	(void)state;
	bad("no mount point given", "plyfs");
	bad("no mount point given", "plyfs", "", "-o", "lowerdir=/l");
	bad("no lower layer given: option 'lowerdir' is missing", "plyfs", "/m");
	bad("too many arguments: 'c'", "plyfs", "a", "b", "c");
	bad("option '-o' needs a value", "plyfs", "/m", "-o");
	bad("option '-t' needs a value", "plyfs", "/m", "-ft");
	bad("unknown option '-x'", "plyfs", LOWER, "-x");
	bad("unknown option '--exec'", "plyfs", LOWER, "--exec");
	bad("option 'upperdir' needs 'workdir' (or 'ro')", "plyfs", LOWER, "-o", "upperdir=/u");
	free(error);
	assert_int_equal(options_parse(0, NULL, &opts, &error), -EINVAL);
}

static void test_help_and_version(void **state)
{
	(void)state;
	good("plyfs", "--help");
	assert_true(opts.help);
	good("plyfs", "-h");
	assert_true(opts.help);
	good("plyfs", "-V");
	assert_true(opts.version);
	good("plyfs", "--version");
	assert_true(opts.version && !opts.help);
	good("fuse-overlayfs", "--version");
	assert_true(opts.version && opts.compat_name);
}

static void test_layers(void **state)
{
	(void)state;
	good("plyfs", "/m", "-o", "lowerdir=/a:/b\\:c:/d\\\\:e:/f\\,g");
	assert_int_equal(opts.n_lower, 4);
	assert_string_equal(opts.lower[0], "/a");
	assert_string_equal(opts.lower[1], "/b:c");
	assert_string_equal(opts.lower[2], "/d:e");
	assert_string_equal(opts.lower[3], "/f,g");
	assert_true(opts.ro && !opts.ro_option);
	/* The last list wins, single ones are added. */
	good("plyfs", "/m", "-o", "lowerdir=/a:/b,lowerdir=/c");
	assert_int_equal(opts.n_lower, 1);
	good("plyfs", "/m", "-o", "lowerdir+=/a:b,lowerdir+=/c", "-o", "lowerdir+=/d");
	assert_int_equal(opts.n_lower, 3);
	assert_string_equal(opts.lower[0], "/a:b");
	assert_string_equal(opts.lower[2], "/d");
	good("plyfs", "/m", "-o", "lowerdir+=/a,lowerdir=/b,lowerdir+=/c");
	assert_int_equal(opts.n_lower, 2);
	assert_string_equal(opts.lower[0], "/b");
	opt("upperdir=/u\\:x\\,y,workdir=/w\\\\z");
	assert_string_equal(opts.upper, "/u:x,y");
	assert_string_equal(opts.work, "/w\\z");
	assert_false(opts.ro);
	opt_rw("ro");
	assert_true(opts.ro && opts.ro_option);
	opt("upperdir=/u,ro");
	assert_null(opts.work);
	assert_true(opts.ro);
	opt("workdir=/w");
	assert_null(opts.work);
	assert_int_equal(opts.n_warning, 1);
	assert_string_equal(opts.warning[0], "option 'workdir' ignored: there is no 'upperdir'");
	opt_bad("lowerdir=", "option 'lowerdir' needs a value: lowerdir=DIR[:DIR...]");
	opt_bad("lowerdir", "option 'lowerdir' needs a value: lowerdir=DIR[:DIR...]");
	opt_bad("lowerdir=/a::/b", "option 'lowerdir': an empty path ('::' for data-only layers "
				   "is not supported)");
	opt_bad("upperdir=", "option 'upperdir' needs a value: upperdir=DIR");
	opt_bad("datadir+=/d", "option 'datadir+=/d' is not supported: data-only layers can't be "
			       "used (by fuse-overlayfs neither)");
}

static void test_500_lowers(void **state)
{
	char text[8192] = "lowerdir=/0";

	(void)state;
	for (int i = 1; i < OPTIONS_MAX_LOWER; i++)
		snprintf(text + strlen(text), 16, ":/%d", i);
	good("plyfs", "/m", "-o", text);
	assert_int_equal(opts.n_lower, OPTIONS_MAX_LOWER);
	assert_string_equal(opts.lower[499], "/499");
	bad("option 'lowerdir+': more than 500 lower layers", "plyfs", "/m", "-o", text, "-o",
	    "lowerdir+=/x");
	snprintf(text + strlen(text), 16, ":/%d", 500);
	bad("option 'lowerdir': more than 500 lower layers", "plyfs", "/m", "-o", text);
}

static void test_maps(void **state)
{
	(void)state;
	opt("uidmapping=0:100000:65536:65536:5:1,gidmapping=7:8:9");
	assert_int_equal(opts.uidmap.n, 2);
	assert_int_equal(opts.uidmap.range[0].host, 0);
	assert_int_equal(opts.uidmap.range[0].view, 100000);
	assert_int_equal(opts.uidmap.range[0].len, 65536);
	assert_int_equal(opts.uidmap.range[1].host, 65536);
	assert_int_equal(opts.gidmap.n, 1);
	assert_int_equal(opts.gidmap.range[0].view, 8);
	/* As the man page of fuse-overlayfs writes it. */
	opt("uidmapping=0:10:100,100:10000:2000,300000:7:1,gidmapping=0:1:1,5:6:7,ro");
	assert_int_equal(opts.uidmap.n, 3);
	assert_int_equal(opts.uidmap.range[2].host, 300000);
	assert_int_equal(opts.gidmap.n, 2);
	assert_int_equal(opts.gidmap.range[1].len, 7);
	/* The last one wins. */
	opt("uidmapping=0:1:1,uidmapping=2:3:4");
	assert_int_equal(opts.uidmap.n, 1);
	assert_int_equal(opts.uidmap.range[0].host, 2);
	opt("uidmapping=0:0:4294967295");
	assert_int_equal(opts.uidmap.range[0].len, 4294967295U);

	opt_bad("1:2:3", "unknown option '1:2:3'");
	opt_bad("uidmapping=0:1:1,ro,2:3:4", "unknown option '2:3:4'");
	bad("unknown option '2:3:4'", "plyfs", LOWER, "-o", "uidmapping=0:1:1", "-o", "2:3:4");
	opt_bad("uidmapping=", "option 'uidmapping' needs a value: uidmapping=HOST:TO:LEN[:...]");
	static const char *const malformed[] = { "0", "0:1", "0:1:2:3", "0:1:x", "0:1:2:",
						 "-1:0:1", "0:1: 2", ":::", "0::1",
						 "0:1:4294967296", "+0:1:1", "0x1:1:1" };
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		char text[64], want[128];

		snprintf(text, sizeof(text), "gidmapping=%s", malformed[i]);
		snprintf(want, sizeof(want),
			 "option 'gidmapping': '%s' is not HOST:TO:LEN[:HOST:TO:LEN...]",
			 malformed[i]);
		opt_bad(text, want);
	}
	opt_bad("uidmapping=0:1:0",
		"option 'uidmapping': the range 0:1:0 is empty or leaves the 32-bit ids");
	opt_bad("uidmapping=1:0:4294967295", "option 'uidmapping': the range 1:0:4294967295 is "
					     "empty or leaves the 32-bit ids");
	opt_bad("uidmapping=0:4294967295:1", "option 'uidmapping': the range 0:4294967295:1 is "
					     "empty or leaves the 32-bit ids");
	opt_bad("uidmapping=0:100:10:9:200:1",
		"option 'uidmapping': the range 9:200:1 overlaps another");
	opt_bad("uidmapping=0:100:10,20:109:1",
		"option 'uidmapping': the range 20:109:1 overlaps another");
}

static void test_too_many_ranges(void **state)
{
	char text[16384] = "uidmapping=0:0:1";

	(void)state;
	for (int i = 1; i < OPTIONS_MAX_RANGES; i++)
		snprintf(text + strlen(text), 32, ":%d:%d:1", i, i);
	opt(text);
	assert_int_equal(opts.uidmap.n, OPTIONS_MAX_RANGES);
	snprintf(text + strlen(text), 32, ",%d:%d:1", OPTIONS_MAX_RANGES, OPTIONS_MAX_RANGES);
	opt_bad(text, "option 'uidmapping': more than 340 ranges");
}

static void test_owners(void **state)
{
	(void)state;
	opt("squash_to_root,squash_to_uid=1000,squash_to_gid=4294967294,xattr_permissions=2");
	assert_true(opts.squash_to_root && opts.has_squash_uid && opts.has_squash_gid);
	assert_int_equal(opts.squash_uid, 1000);
	assert_int_equal(opts.squash_gid, 4294967294U);
	assert_int_equal(opts.xattr_permissions, 2);
	opt("squash_to_gid=0");
	assert_true(opts.has_squash_gid && !opts.has_squash_uid && !opts.squash_to_root);
	opt_bad("squash_to_uid=-1", "option 'squash_to_uid': '-1' is not an id from 0 to "
				    "4294967294");
	opt_bad("squash_to_gid=4294967295", "option 'squash_to_gid': '4294967295' is not an id "
					    "from 0 to 4294967294");
	opt_bad("squash_to_uid=root", "option 'squash_to_uid': 'root' is not an id from 0 to "
				      "4294967294");
	opt_bad("xattr_permissions=3", "option 'xattr_permissions': '3' is not a number from 0 "
				       "to 2");
	opt_bad("xattr_permissions", "option 'xattr_permissions' needs a value: "
				     "xattr_permissions=0|1|2");
}

/* Every on/off option with the field it should set. */
static void test_switches(void **state)
{
	static const struct {
		const char *name;
		size_t off;
	} sw[] = {
		{ "squash_to_root", offsetof(struct options, squash_to_root) },
		{ "noxattrs", offsetof(struct options, noxattr) },
		{ "noxattr", offsetof(struct options, noxattr) },
		{ "static_nlink", offsetof(struct options, static_nlink) },
		{ "ino32_t", offsetof(struct options, ino32) },
		{ "fast_ino", offsetof(struct options, fast_ino) },
		{ "index", offsetof(struct options, index) },
		{ "metacopy", offsetof(struct options, metacopy) },
		{ "fsync", offsetof(struct options, fsync) },
		{ "volatile", offsetof(struct options, is_volatile) },
		{ "writeback", offsetof(struct options, writeback) },
		{ "prefetch", offsetof(struct options, prefetch) },
		{ "auto_unmount", offsetof(struct options, auto_unmount) },
		{ "sync", offsetof(struct options, sync) },
		{ "dirsync", offsetof(struct options, dirsync) },
	};
	static const char *const form[] = { "=0", "=off", "=1", "=on", "" };

	(void)state;
	for (size_t i = 0; i < sizeof(sw) / sizeof(sw[0]); i++) {
		char text[64], want[128];

		for (size_t k = 0; k < sizeof(form) / sizeof(form[0]); k++) {
			const char *field = (const char *)&opts + sw[i].off;

			snprintf(text, sizeof(text), "%s%s", sw[i].name, form[k]);
			opt(text);
			if (*(const bool *)field != (k >= 2))
				fail_msg("%s has no effect", text);
		}
		snprintf(text, sizeof(text), "%s=2", sw[i].name);
		snprintf(want, sizeof(want), "option '%s': '2' is not 0 or 1", sw[i].name);
		opt_bad(text, want);
		snprintf(text, sizeof(text), "%s=", sw[i].name);
		snprintf(want, sizeof(want), "option '%s': '' is not 0 or 1", sw[i].name);
		opt_bad(text, want);
	}
}

static void test_tri(void **state)
{
	(void)state;
	opt("acl");
	assert_int_equal(opts.acl, OPTIONS_ON);
	opt("noacl");
	assert_int_equal(opts.acl, OPTIONS_OFF);
	opt("noacl=0");
	assert_int_equal(opts.acl, OPTIONS_ON);
	opt("acl=0");
	assert_int_equal(opts.acl, OPTIONS_OFF);
	opt("noacl,acl");
	assert_int_equal(opts.acl, OPTIONS_ON);
	opt("userxattr");
	assert_int_equal(opts.userxattr, OPTIONS_ON);
	opt("userxattr=0");
	assert_int_equal(opts.userxattr, OPTIONS_OFF);
	opt("allow_other");
	assert_int_equal(opts.allow_other, OPTIONS_ON);
	opt("allow_other=0");
	assert_int_equal(opts.allow_other, OPTIONS_OFF);
	opt_bad("acl=x", "option 'acl': 'x' is not 0 or 1");
}

static void test_words(void **state)
{
	(void)state;
	opt("xino=on,redirect_dir=off");
	assert_int_equal(opts.xino, OPTIONS_XINO_ON);
	assert_int_equal(opts.redirect_dir, OPTIONS_REDIRECT_OFF);
	assert_true(opts.redirect_dir_given);
	opt("xino=off,redirect_dir=follow");
	assert_int_equal(opts.xino, OPTIONS_XINO_OFF);
	assert_int_equal(opts.redirect_dir, OPTIONS_REDIRECT_FOLLOW);
	opt("xino=on,xino=auto,redirect_dir=nofollow");
	assert_int_equal(opts.xino, OPTIONS_XINO_AUTO);
	assert_int_equal(opts.redirect_dir, OPTIONS_REDIRECT_NOFOLLOW);
	opt("redirect_dir=nofollow,redirect_dir=on");
	assert_int_equal(opts.redirect_dir, OPTIONS_REDIRECT_ON);
	opt("io_uring");
	assert_int_equal(opts.io_uring, OPTIONS_URING_ON);
	opt("io_uring=off,io_uring_q_depth=4");
	assert_int_equal(opts.io_uring, OPTIONS_URING_OFF);
	assert_int_equal(opts.io_uring_q_depth, 4);
	opt("io_uring=off,io_uring=auto");
	assert_int_equal(opts.io_uring, OPTIONS_URING_AUTO);
	static const char *const pass[] = { "passthrough", "passthrough=1",
					    "passthrough=on", "passthrough=0",
					    "passthrough=off", "passthrough=strict" };
	for (size_t i = 0; i < 6; i++) {
		opt(pass[i]);
		assert_int_equal(opts.passthrough, i < 3  ? OPTIONS_PASSTHROUGH_ON :
						   i == 5 ? OPTIONS_PASSTHROUGH_STRICT :
							    OPTIONS_PASSTHROUGH_OFF);
	}
	opt_bad("xino=maybe", "option 'xino': 'maybe' is not one of off, auto, on");
	opt_bad("xino", "option 'xino' needs a value: xino=off|auto|on");
	opt_bad("redirect_dir=", "option 'redirect_dir' needs a value: "
				 "redirect_dir=on|off|follow|nofollow");
	opt_bad("redirect_dir=yes", "option 'redirect_dir': 'yes' is not one of on, off, follow, "
				    "nofollow");
	opt_bad("io_uring=1", "option 'io_uring': '1' is not one of auto, on, off");
	opt_bad("passthrough=2", "option 'passthrough': '2' is not one of off, on, strict");
}

static void test_numbers(void **state)
{
	(void)state;
	opt("threads=3,fd_budget=8,packed_cache=64,max_read=0,max_write=1048576,max_readahead=0,"
	    "max_background=64,congestion_threshold=48,spin_us=0,stats=s\\,1");
	assert_int_equal(opts.threads, 3);
	assert_int_equal(opts.fd_budget, 8);
	assert_int_equal(opts.packed_cache, 64);
	assert_int_equal(opts.max_write, 1048576);
	assert_true(opts.has_max_readahead && opts.has_spin_us);
	assert_int_equal(opts.max_readahead + opts.spin_us + opts.max_read, 0);
	assert_int_equal(opts.max_background, 64);
	assert_int_equal(opts.congestion_threshold, 48);
	assert_string_equal(opts.stats, "s,1");
	opt("threaded=0");
	assert_int_equal(opts.threads, 1);
	opt("threaded=0,threaded=1");
	assert_int_equal(opts.threads, 0);
	opt("max_threads=5,threaded=0");
	assert_int_equal(opts.threads, 5);
	opt_bad("fd_budget=7", "option 'fd_budget': '7' is not a number from 8 to 16777216");
	opt_bad("threads=0", "option 'threads': '0' is not a number from 1 to 1024");
	opt_bad("threads=1x", "option 'threads': '1x' is not a number from 1 to 1024");
	opt_bad("threads= 1", "option 'threads': ' 1' is not a number from 1 to 1024");
	opt_bad("threads", "option 'threads' needs a value: threads=N");
	opt_bad("threaded=2", "option 'threaded': '2' is not 0 or 1");
	opt_bad("max_read=99999999999999999999",
		"option 'max_read': '99999999999999999999' is not a number from 0 to 1073741824");
	opt_bad("max_write=1k",
		"option 'max_write': '1k' is not a number from 4096 to 1073741824");
	opt_bad("stats=", "option 'stats' needs a value: stats=FILE");
}

static void test_timeouts(void **state)
{
	(void)state;
	opt("timeout=2.5");
	assert_true(opts.has_timeout && opts.timeout == 2.5 && opts.entry_timeout == 2.5 &&
		    opts.attr_timeout == 2.5 && opts.negative_timeout == 2.5);
	opt("attr_timeout=1,timeout=0");
	assert_true(opts.timeout == 0 && opts.attr_timeout == 1 && opts.entry_timeout == 0);
	opt("negative_timeout=.5");
	assert_true(opts.has_timeout && opts.negative_timeout == .5 &&
		    opts.timeout == OPTIONS_FOREVER);
	opt("timeout=1e300");
	assert_true(opts.has_timeout && opts.timeout == OPTIONS_FOREVER);
	static const char *const nonsense[] = { "-1", "x", "1s", "inf", "nan", "0x10", "1e999",
						"+1", ".", "e", "1 " };
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		char text[64], want[128];

		snprintf(text, sizeof(text), "timeout=%s", nonsense[i]);
		snprintf(want, sizeof(want), "option 'timeout': '%s' is not a number of seconds",
			 nonsense[i]);
		opt_bad(text, want);
	}
	opt_bad("timeout", "option 'timeout' needs a value: timeout=SECONDS");
}

static void test_together(void **state)
{
	(void)state;
	opt("volatile,fsync=1");
	assert_false(opts.fsync);
	opt("debug");
	assert_true(opts.debug && opts.foreground);
	opt_bad("passthrough,writeback",
		"options 'passthrough' and 'writeback' exclude each other");
	opt_bad("metacopy=on,redirect_dir=off",
		"option 'metacopy' needs 'redirect_dir=on' or 'follow'");
	opt("metacopy=on,redirect_dir=follow");
	assert_true(opts.metacopy);
	opt_bad("debug=1", "option 'debug' takes no value, but has '1'");
	opt_bad("ro=1", "option 'ro' takes no value, but has '1'");
	opt_bad("ro ", "unknown option 'ro '");
	opt_bad("RO", "unknown option 'RO'");
	opt_bad("foo=a\\,b", "unknown option 'foo=a\\,b'");
	opt_bad("=x", "unknown option '=x'");
}

static void test_refused(void **state)
{
	(void)state;
	opt("nfs_export=off,verity=off,uuid=null");
	assert_int_equal(opts.n_warning, 0);
	opt_bad("nfs_export=on", "option 'nfs_export=on' is not supported: handles don't outlive "
				 "a mount");
	opt_bad("nfs_export", "option 'nfs_export' is not supported: handles don't outlive a "
			      "mount");
	opt_bad("uid=0", "option 'uid=0' is not supported: use squash_to_uid or uidmapping");
	opt_bad("allow_root", "option 'allow_root' is not supported: cached files would be open "
			      "to all; use allow_other");
	opt("plugins=");
	assert_int_equal(opts.n_warning, 0);
	opt("plugins=/a.so");
	assert_int_equal(opts.n_warning, 1);
}

static void test_compat_name(void **state)
{
	(void)state;
	good("/usr/bin/fuse-overlayfs", LOWER, "-o", "fast_ino_check=1,max_foo,bar=1,sync=0",
	     "--baz", "-x");
	assert_true(opts.compat_name);
	assert_string_equal(opts.name, "fuse-overlayfs");
	assert_string_equal(opts.fsname, "fuse-overlayfs");
	assert_string_equal(opts.subtype, "fuse-overlayfs");
	assert_int_equal(opts.n_warning, 4);
	assert_string_equal(opts.warning[0], "unknown argument ignored: max_foo");
	assert_string_equal(opts.warning[1], "unknown argument ignored: bar=1");
	assert_string_equal(opts.warning[2], "unknown argument ignored: --baz");
	assert_string_equal(opts.warning[3], "unknown argument ignored: -x");
	assert_false(opts.sync);

	good("mount.fuse-overlayfs", LOWER, "-o", "allow_root,direct_io");
	assert_true(opts.compat_name);
	assert_int_equal(opts.n_warning, 2);
	assert_int_equal(opts.allow_other, OPTIONS_OFF);
	good("fuse-overlayfs", LOWER, "-o", "nfs_export=on,metacopy=on,redirect_dir=off");
	assert_int_equal(opts.n_warning, 2);
	assert_false(opts.metacopy);
	good("fuse-overlayfs2", "-V");
	assert_false(opts.compat_name);

	/* Nonsense and missing data stay errors. */
	bad("option 'threaded': 'x' is not 0 or 1", "fuse-overlayfs", LOWER, "-o", "threaded=x");
	bad("option 'datadir+=/d' is not supported: data-only layers can't be used (by "
	    "fuse-overlayfs neither)",
	    "fuse-overlayfs", LOWER, "-o", "datadir+=/d");
}

/* What clients send, word for word in shape. */
static void test_clients(void **state)
{
	(void)state;
	/* podman */
	good("/usr/bin/plyfs", "-o",
	     "lowerdir=/s/l/AAA:/s/l/BBB,upperdir=/s/1/diff,workdir=/s/1/work,,volatile,"
	     "context=\"system_u:object_r:container_file_t:s0:c1,c2\"",
	     "/s/1/merged");
	assert_int_equal(opts.n_lower, 2);
	assert_true(opts.is_volatile && !opts.ro);
	assert_string_equal(opts.context, "system_u:object_r:container_file_t:s0:c1,c2");
	good("plyfs", "-o",
	     "lowerdir=/a,upperdir=/u,workdir=/w,uidmapping=0:1000:1:1:100000:65536,"
	     "gidmapping=0:1000:1:1:100000:65536,xattr_permissions=2",
	     "/m");
	assert_int_equal(opts.uidmap.n, 2);
	/* buildah */
	good("plyfs", "-o", "lowerdir=/a\\:b,upperdir=/u\\:x,workdir=/w,private", "/m");
	assert_string_equal(opts.lower[0], "/a:b");
	assert_string_equal(opts.upper, "/u:x");
	/* containerd's fuse-overlayfs snapshotter by mount.fuse3 */
	good("fuse-overlayfs", "overlay", "/m", "-o",
	     "rw,workdir=/w,upperdir=/u,lowerdir=/a:/b,dev,suid");
	assert_string_equal(opts.source, "overlay");
	assert_int_equal(opts.n_warning, 0);
	/* fstab through mount(8) */
	good("plyfs", "none", "/m", "-o",
	     "rw,noexec,nosuid,nodev,user,_netdev,nofail,x-systemd.automount,X-foo=a,"
	     "lowerdir=/a,defaults,comment=x,allow_other,default_permissions,metacopy=on,"
	     "index=off,user=me");
	assert_int_equal(opts.n_warning, 0);
}

static void test_labels(void **state)
{
	(void)state;
	opt("context=a:b:c,fscontext=\"x,y\",defcontext=\"p\",rootcontext=u\\,v");
	assert_string_equal(opts.context, "a:b:c");
	assert_string_equal(opts.fscontext, "x,y");
	assert_string_equal(opts.defcontext, "p");
	assert_string_equal(opts.rootcontext, "u,v");
	opt_bad("ro,context=\"a,b", "option 'context=\"a,b': the quotes do not match");
	opt_bad("context=\"\"", "option 'context' needs a value: context=LABEL");
	opt_bad("context=", "option 'context' needs a value: context=LABEL");
}

static void check_mount(unsigned int flags, const char *want)
{
	char *got = NULL;

	assert_int_equal(options_mount_string(&opts, flags, &got), 0);
	assert_string_equal(got, want);
	free(got);
}

static void test_mount_string(void **state)
{
	(void)state;
	opt_rw("");
	check_mount(OPTIONS_MNT_ROOT, "default_permissions,allow_other,suid,nodev,noatime,"
				      "fsname=plyfs,subtype=plyfs");
	check_mount(0, "default_permissions,nosuid,nodev,noatime,fsname=plyfs,subtype=plyfs");
	assert_int_equal(options_mount_flags(&opts, true), MS_NODEV | MS_NOATIME);
	assert_int_equal(options_mount_flags(&opts, false), MS_NODEV | MS_NOSUID | MS_NOATIME);
	opt("dev,nosuid,relatime,noexec,sync,dirsync,nodiratime,lazytime,allow_other=0,"
	    "max_read=4096,auto_unmount,fsname=a\\,b\\\\,context=\"x,y\"");
	check_mount(OPTIONS_MNT_ROOT,
		    "default_permissions,ro,nosuid,dev,noexec,sync,dirsync,nodiratime,relatime,"
		    "lazytime,fsname=a\\,b\\\\,subtype=plyfs,max_read=4096,auto_unmount");
	check_mount(OPTIONS_MNT_SELINUX,
		    "default_permissions,ro,nosuid,dev,noexec,sync,dirsync,nodiratime,relatime,"
		    "lazytime,fsname=a\\,b\\\\,subtype=plyfs,max_read=4096,auto_unmount,"
		    "context=\"x\\,y\"");
	opt_rw("ro,rw,noatime,strictatime,nosuid,suid,exec,async");
	assert_int_equal(options_mount_flags(&opts, false), MS_NODEV | MS_STRICTATIME);
	opt_rw("strictatime,noatime,atime,sync=0");
	assert_int_equal(options_mount_flags(&opts, true), MS_NODEV);
	opt_rw("ro");
	assert_int_equal(options_mount_flags(&opts, true), MS_NODEV | MS_NOATIME | MS_RDONLY);
}

static void test_wh_files(void **state)
{
	static const char env[] = "FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT";

	(void)state;
	setenv(env, "1", 1);
	opt("");
	assert_true(opts.wh_files);
	setenv(env, "0", 1);
	opt("");
	assert_false(opts.wh_files);
	setenv(env, "", 1);
	opt("");
	assert_false(opts.wh_files);
	unsetenv(env);
}

/* Every entry is well-formed, unique, found by name, and printed by --help. */
static void test_table(void **state)
{
	char *buf = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&buf, &size);

	(void)state;
	good("plyfs", "--help");
	options_print_help(f, &opts);
	fclose(f);
	for (const struct options_entry *e = options_table; e->name; e++) {
		char line[256];

		snprintf(line, sizeof(line), "\n  %s%s ", e->name, e->arg);
		if (strstr(buf, line) == NULL)
			fail_msg("--help has no '%s'", line + 1);
		assert_ptr_equal(options_find(e->name), e);
		assert_true(e->help[0] != '\0' && strlen(e->help) < 80);
		assert_true(e->group < GROUP_COUNT);
		if (e->kind == KIND_CALL)
			assert_non_null(e->call);
		if (e->kind == KIND_WORD || e->kind == KIND_ONLY)
			assert_non_null(e->word);
	}
	free(buf);
}

static char *print_version(const char *name)
{
	char *buf = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&buf, &size);

	good(name, "--version");
	options_print_version(f, &opts, "3.18.3", 7, 45);
	fclose(f);
	return buf;
}

static void test_version_text(void **state)
{
	int major, minor;
	char *s = print_version("plyfs");

	(void)state;
	assert_string_equal(s, "plyfs: version " PLYFS_VERSION "\n"
			       "fuse-overlayfs: version " OPTIONS_COMPAT_VERSION
			       " (compatible)\n"
			       "FUSE library version 3.18.3\n"
			       "using FUSE kernel interface version 7.45\n");
	free(s);
	s = print_version("fuse-overlayfs");
	assert_int_equal(sscanf(s, "fuse-overlayfs: version %d.%d", &major, &minor), 2);
	assert_int_equal(major, 1);
	assert_true(minor >= 10);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_broken_lines),
		cmocka_unit_test(test_help_and_version),
		cmocka_unit_test(test_layers),
		cmocka_unit_test(test_500_lowers),
		cmocka_unit_test(test_maps),
		cmocka_unit_test(test_too_many_ranges),
		cmocka_unit_test(test_owners),
		cmocka_unit_test(test_switches),
		cmocka_unit_test(test_tri),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_together),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_compat_name),
		cmocka_unit_test(test_clients),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_mount_string),
		cmocka_unit_test(test_wh_files),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_version_text),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
