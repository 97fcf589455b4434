/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plyctl mount: an image becomes a directory. The layers' indexes are found or made, then
 * plyfs is run with them as lowers.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/cache.h"
#include "oci/storage_conf.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/preparing.h"

struct mount {
	struct cmd *c;
	struct image *img;
	char **paths;
	char *upper, *work; /* absolute, or NULL */
	bool made; /* upper and work are ours, and new */
	char **argv;
	unsigned n, room;
};

/* --- plyfs ------------------------------------------------------------------------ */

/* Beside ourselves, else what PATH has. */
static char *find_plyfs(void)
{
	char self[PATH_MAX], *slash, *path = NULL;
	ssize_t n = sys_readlinkat(AT_FDCWD, "/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = 0;
		slash = strrchr(self, '/');
		if (slash && asprintf(&path, "%.*s/plyfs", (int)(slash - self), self) < 0)
			path = NULL;
		if (path && access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return sys_strdup("plyfs");
}

/* Takes @s over. */
static int add_arg(struct mount *m, char *s)
{
	if (!s)
		return -ENOMEM;
	if (m->n + 2 > m->room) {
		unsigned room = m->room ? m->room * 2 : 64;
		char **p = sys_realloc(m->argv, room * sizeof(*p));

		if (!p) {
			free(s);
			return -ENOMEM;
		}
		m->argv = p;
		m->room = room;
	}
	m->argv[m->n++] = s;
	m->argv[m->n] = NULL;
	return 0;
}

/* "-o" and NAME=VALUE, with backslashes before what separates. */
static int add_option(struct mount *m, const char *name, const char *value)
{
	char *s = sys_malloc(strlen(name) + 2 * strlen(value) + 2), *p = s;
	int r = add_arg(m, sys_strdup("-o"));

	if (!s || r < 0) {
		free(s);
		return -ENOMEM;
	}
	memcpy(p, name, strlen(name));
	p += strlen(name);
	if (*value)
		*p++ = '=';
	for (; *value; value++) {
		if (strchr(",:\\", *value))
			*p++ = '\\';
		*p++ = *value;
	}
	*p = 0;
	return add_arg(m, s);
}

static int make_args(struct mount *m, const char *dir)
{
	const struct cmd *c = m->c;
	unsigned i, n = image_layers(m->img);
	const char *s;
	int r = add_arg(m, find_plyfs());

	if (r == 0 && cmd_option(c, "foreground"))
		r = add_arg(m, sys_strdup("-f"));
	for (i = 0; r == 0 && i < n; i++)
		r = add_option(m, "lowerdir+", m->paths[n - 1 - i]);
	if (r == 0 && m->upper) {
		r = add_option(m, "upperdir", m->upper);
		if (r == 0)
			r = add_option(m, "workdir", m->work);
	} else if (r == 0) {
		r = add_option(m, "ro", "");
	}
	if (r == 0)
		r = add_option(m, "fsname", image_ref(m->img));
	for (i = 0; r == 0 && (s = cmd_option_nth(c, "options", i)); i++) {
		r = add_arg(m, sys_strdup("-o"));
		if (r == 0)
			r = add_arg(m, sys_strdup(s));
	}
	/* "--" so that no name is taken for an option */
	if (r == 0)
		r = add_arg(m, sys_strdup("--"));
	return r == 0 ? add_arg(m, sys_strdup(dir)) : r;
}

/* Runs it; what it has to say it says on our stderr. The exit code. */
static int run_plyfs(struct mount *m)
{
	int status;
	pid_t pid;

	(void)fflush(NULL);
	if (cmd_option(m->c, "foreground")) {
		(void)execvp(m->argv[0], m->argv);
		return cmd_fail(-errno, NULL, m->argv[0]);
	}
	pid = fork();
	if (pid < 0)
		return cmd_fail(-errno, NULL, "fork");
	if (pid == 0) {
		(void)execvp(m->argv[0], m->argv);
		cmd_say("%s: %s", m->argv[0], strerror(errno));
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return cmd_fail(-errno, NULL, "waitpid");
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? CMD_OK : CMD_SYSTEM;
}

/* --- where changes go --------------------------------------------------------------- */

static int make_dir(const char *path, mode_t mode)
{
	int r = sys_mkdirat(AT_FDCWD, path, mode);

	return r == -EEXIST ? 0 : r;
}

/* $PLYFS_UPPERS, or beside the usual layer cache. */
static int uppers_dir(char **ret)
{
	const char *s = getenv("PLYFS_UPPERS"), *data = getenv("XDG_DATA_HOME");
	const char *home = getenv("HOME");
	char *p;
	int n, r = 0;

	if (s && *s)
		n = asprintf(ret, "%s", s);
	else if (storage_user() == 0)
		n = asprintf(ret, "/var/lib/plyfs/uppers");
	else if (data && *data == '/')
		n = asprintf(ret, "%s/plyfs/uppers", data);
	else
		n = asprintf(ret, "%s/.local/share/plyfs/uppers", home ? home : "");
	if (n < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	for (p = *ret + 1; r == 0 && (p = strchr(p, '/')); p++) {
		*p = 0;
		r = make_dir(*ret, 0755);
		*p = '/';
	}
	return r == 0 ? make_dir(*ret, 0700) : r;
}

/* The root of a new upper is as that of the image: the kernel's overlayfs does as much. */
static int make_private(struct mount *m)
{
	_cleanup_free_ char *base = NULL, *dir = NULL;
	int r = uppers_dir(&base);

	if (r == 0 && asprintf(&dir, "%s/XXXXXX", base) < 0) {
		dir = NULL;
		r = -ENOMEM;
	}
	if (r == 0 && !mkdtemp(dir))
		r = -errno;
	if (r == 0 &&
	    (asprintf(&m->upper, "%s/upper", dir) < 0 || asprintf(&m->work, "%s/work", dir) < 0))
		r = -ENOMEM;
	if (r == 0)
		r = sys_mkdirat(AT_FDCWD, m->upper, 0755);
	if (r == 0)
		r = sys_mkdirat(AT_FDCWD, m->work, 0700);
	m->made = r == 0;
	return r;
}

static int choose_upper(struct mount *m)
{
	const char *upper = cmd_option(m->c, "upper"), *work = cmd_option(m->c, "work");
	int r;

	if (!upper && work)
		return cmd_usage(m->c, "--work goes with --upper");
	if (upper && !work)
		return cmd_usage(m->c, "--upper needs --work: an empty directory on the same file "
				       "system");
	if (upper) {
		m->upper = realpath(upper, NULL);
		m->work = m->upper ? realpath(work, NULL) : NULL;
		if (!m->work)
			return cmd_fail(-errno, NULL, m->upper ? work : upper);
		return CMD_OK;
	}
	if (!cmd_option(m->c, "rw"))
		return CMD_OK;
	r = make_private(m);
	return r < 0 ? cmd_fail(r, NULL, "a place for changes") : CMD_OK;
}

/* A private upper that nobody has used. */
static void unmake(const struct mount *m)
{
	_cleanup_free_ char *inner = NULL, *dir = NULL;

	if (!m->made)
		return;
	dir = strndup(m->upper, strlen(m->upper) - strlen("/upper"));
	if (asprintf(&inner, "%s/work", m->work) < 0)
		inner = NULL;
	if (inner)
		(void)rmdir(inner);
	(void)rmdir(m->work);
	(void)rmdir(m->upper);
	if (dir)
		(void)rmdir(dir);
}

/* --- the command ------------------------------------------------------------------------ */

static int prepare(struct mount *m, const char *ref)
{
	const struct image_options o = { .platform = m->c->platform };
	struct layer_cache_options co;
	struct layer_cache *cache = NULL;
	char *err = NULL;
	int r = image_open(ref, &o, &m->img, &err);

	if (r == 0 && image_needs_userns(m->img) && geteuid() != 0) {
		cmd_say("%s: these files belong to your subordinate ids, and a mount can show them "
			"only inside of a user namespace; run: podman unshare, and mount there",
			ref);
		return CMD_SYSTEM;
	}
	if (r == 0 && !image_layers(m->img)) {
		cmd_say("%s: this image has no layers: there is nothing to mount", ref);
		return CMD_BAD;
	}
	if (r == 0)
		r = layer_cache_open(m->c->layers, &cache, &err);
	if (r == 0) {
		r = layer_cache_get_all(cache, m->img, preparing_options(&co), &m->paths, &err);
		preparing_end();
	}
	layer_cache_close(cache);
	return r < 0 ? cmd_fail(r, err, ref) : CMD_OK;
}

static void tell(const struct mount *m, const char *dir)
{
	if (m->c->json) {
		json_object(NULL);
		json_string("image", image_ref(m->img));
		json_string("mount", dir);
		json_uint("layers", image_layers(m->img));
		json_string("upper", m->upper);
		json_string("work", m->work);
		json_end();
	} else if (m->made) {
		(void)fputs("changes go to ", stdout);
		out_text(stdout, m->upper);
		(void)putchar('\n');
	}
}

static int run(struct cmd *c)
{
	struct mount m = { .c = c };
	_cleanup_free_ char *dir = realpath(c->argv[1], NULL);
	struct stat st;
	int code;

	if (!dir)
		return cmd_fail(-errno, NULL, c->argv[1]);
	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return cmd_fail(-ENOTDIR, NULL, c->argv[1]);
	code = prepare(&m, c->argv[0]);
	if (code == CMD_OK)
		code = choose_upper(&m);
	if (code == CMD_OK && make_args(&m, dir) < 0)
		code = cmd_fail(-ENOMEM, NULL, NULL);
	if (code == CMD_OK) {
		if (cmd_option(c, "foreground"))
			tell(&m, dir);
		code = run_plyfs(&m);
		if (code == CMD_OK)
			tell(&m, dir);
	}
	if (code != CMD_OK)
		unmake(&m);
	if (m.paths)
		layer_cache_paths_free(m.paths, image_layers(m.img));
	image_close(m.img);
	free(m.upper);
	free(m.work);
	while (m.n)
		free(m.argv[--m.n]);
	free(m.argv);
	return code;
}

static const struct cmd_option options[] = {
	{ 'w', "rw", NULL, "writable; changes go to a new directory, which is told" },
	{ 'u', "upper", "DIR", "writable; changes go to this directory" },
	{ 0, "work", "DIR", "with --upper: an empty directory on the same file system" },
	{ 'o', "options", "OPTIONS", "options of plyfs(1), separated by commas" },
	{ 'f', "foreground", NULL, "do not return until it is unmounted" },
	{ 0 },
};

const struct command cmd_mount = {
	.name = "mount",
	.args = "IMAGE DIR",
	.summary = "Mount an image on a directory",
	.help = "Nothing is unpacked: layers are read where they lie, by an index that is made\n"
		"the first time and kept in the layer cache. Read-only unless --rw or --upper is\n"
		"given. As root the mount is for all users, else for you alone.",
	.options = options,
	.min = 2,
	.max = 2,
	.flags = CMD_IMAGE,
	.run = run,
};
