/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage.conf is TOML; of that a few keys are read, each on a line of its own as
 * everyone writes them:
 *
 *	[storage]          driver, graphroot, rootless_storage_path = "..."
 *	[storage.options]  additionalimagestores = ["...", ...], also over several lines
 */
#include "oci/storage_conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/oci_i.h"

#define MAX_CONF (1U << 20)
#define MAX_STORES 32

struct conf {
	char *driver, *graphroot, *rootless_path;
	char *more[MAX_STORES];
	unsigned nmore;
};

unsigned storage_user(void)
{
	const char *s = getenv("_CONTAINERS_ROOTLESS_UID");

	/* "podman unshare" says who we are outside of its namespace */
	if (s && *s >= '1' && *s <= '9' && geteuid() == 0)
		return (unsigned)strtoul(s, NULL, 10);
	return geteuid();
}

static void conf_free(struct conf *c)
{
	free(c->driver);
	free(c->graphroot);
	free(c->rootless_path);
	while (c->nmore)
		free(c->more[--c->nmore]);
	memset(c, 0, sizeof(*c));
}

/* "$HOME/x" and "$UID", as containers/storage expands them. */
static char *expand(const char *s)
{
	char *ret = NULL;
	size_t size;
	FILE *f = open_memstream(&ret, &size);

	if (!f)
		return NULL;
	while (*s) {
		size_t n = *s == '$' ? 1 + strspn(s + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") : 0;

		if (n == 4 && !memcmp(s, "$UID", 4)) {
			(void)fprintf(f, "%u", storage_user());
		} else if (n > 1) {
			_cleanup_free_ char *name = strndup(s + 1, n - 1);
			const char *v = name ? getenv(name) : NULL;

			(void)fputs(v ? v : "", f);
		} else {
			(void)fputc(*s, f);
			n = 1;
		}
		s += n;
	}
	if (fclose(f)) {
		free(ret);
		return NULL;
	}
	return ret;
}

/* The next string in quotes of @s; *ret_end: what follows. NULL: none on this line. */
static char *quoted(const char *s, const char **ret_end)
{
	size_t n = strcspn(s, "\"'#\n");
	const char *end;

	if (s[n] != '"' && s[n] != '\'')
		return NULL;
	end = strchr(s + n + 1, s[n]);
	if (!end)
		return NULL;
	*ret_end = end + 1;
	return strndup(s + n + 1, (size_t)(end - s - n - 1));
}

static void set(char **to, const char *value)
{
	const char *end;
	_cleanup_free_ char *s = quoted(value, &end);

	if (s && *s) {
		free(*to);
		*to = expand(s);
	}
}

static void parse_line(struct conf *c, const char *line, char section[64], bool *in_list)
{
	const char *p = line + strspn(line, " \t"), *value, *end;
	size_t n;

	if (*p == '[' && !*in_list) {
		n = strcspn(p + 1, "]\n");
		(void)snprintf(section, 64, "%.*s", n < 60 ? (int)n : 60, p + 1);
		return;
	}
	if (!*in_list) {
		n = strcspn(p, "= \t#\n");
		value = strchr(p, '=');
		if (!n || !value)
			return;
		value++;
		if (!strcmp(section, "storage")) {
			if (n == 6 && !memcmp(p, "driver", n))
				set(&c->driver, value);
			else if (n == 9 && !memcmp(p, "graphroot", n))
				set(&c->graphroot, value);
			else if (n == 21 && !memcmp(p, "rootless_storage_path", n))
				set(&c->rootless_path, value);
		}
		if (strcmp(section, "storage.options") != 0 || n != 21 ||
		    memcmp(p, "additionalimagestores", n) != 0)
			return;
		*in_list = true;
		p = value;
	}
	for (;;) {
		char *s = quoted(p, &end);

		if (!s)
			break;
		if (*s == '/' && c->nmore < MAX_STORES)
			c->more[c->nmore++] = steal_ptr(&s);
		free(s);
		p = end;
	}
	if (strchr(p, ']'))
		*in_list = false;
}

/* What cannot be read says nothing. */
static void read_conf(struct conf *c, const char *path)
{
	char section[64] = "", *line = NULL;
	bool in_list = false;
	size_t size = 0, total = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		return;
	while (getline(&line, &size, f) > 0 && (total += strlen(line)) < MAX_CONF)
		parse_line(c, line, section, &in_list);
	free(line);
	(void)fclose(f);
}

static void read_confs(struct conf *c, bool root)
{
	const char *s = getenv("CONTAINERS_STORAGE_CONF"), *home = getenv("HOME");
	const char *config = getenv("XDG_CONFIG_HOME");
	_cleanup_free_ char *path = NULL;

	if (s && *s) {
		read_conf(c, s);
		return;
	}
	if (root) {
		read_conf(c, "/usr/share/containers/storage.conf");
		read_conf(c, "/etc/containers/storage.conf");
		return;
	}
	read_conf(c, "/etc/containers/storage.conf");
	/* the system's places are root's */
	free(c->graphroot);
	c->graphroot = NULL;
	if (config && *config ? asprintf(&path, "%s/containers/storage.conf", config) < 0 :
				asprintf(&path, "%s/.config/containers/storage.conf",
					 home ? home : "") < 0)
		path = NULL;
	if (path)
		read_conf(c, path);
}

static int default_root(char **ret)
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	int n;

	if (storage_user() == 0)
		n = asprintf(ret, "/var/lib/containers/storage");
	else if (data && *data == '/')
		n = asprintf(ret, "%s/containers/storage", data);
	else
		n = asprintf(ret, "%s/.local/share/containers/storage", home ? home : "");
	if (n < 0)
		*ret = NULL;
	return n < 0 ? -ENOMEM : 0;
}

static bool has_driver(const char *root, const char *driver)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/%s-images", root, driver) < 0) {
		path = NULL;
		return false;
	}
	return access(path, F_OK) == 0;
}

/* Takes @path over. */
static int add(struct storage_root *roots, unsigned *n, char *path, const char *driver)
{
	struct storage_root *r = &roots[*n];
	struct stat st;

	if (!path)
		return -ENOMEM;
	if (!driver || !*driver || !has_driver(path, driver))
		driver = has_driver(path, "overlay") ? "overlay" :
			 has_driver(path, "vfs")     ? "vfs" :
			 driver && *driver           ? driver :
						       "overlay";
	r->path = path;
	r->driver = sys_strdup(driver);
	r->rootless = stat(path, &st) == 0 && (st.st_uid != 0 || storage_user() != 0);
	(*n)++;
	return r->driver ? 0 : -ENOMEM;
}

int storage_roots(const char *spec, struct storage_root **ret, unsigned *ret_n, char **ret_err)
{
	struct storage_root *roots = sys_calloc(MAX_STORES + 1, sizeof(*roots));
	const char *env = getenv("STORAGE_DRIVER"), *at;
	_cleanup_free_ char *driver = NULL;
	struct conf c = { 0 };
	char *path = NULL;
	unsigned n = 0, i;
	int r = 0;

	if (!roots)
		return -ENOMEM;
	if (*spec) {
		at = strchr(spec, '@');
		if (at)
			driver = strndup(spec, (size_t)(at - spec));
		r = add(roots, &n, sys_strdup(at ? at + 1 : spec), driver);
	} else {
		read_confs(&c, storage_user() == 0);
		if (storage_user() != 0 && c.rootless_path && !c.graphroot)
			path = steal_ptr(&c.rootless_path);
		else if (c.graphroot)
			path = steal_ptr(&c.graphroot);
		else
			r = default_root(&path);
		if (r == 0)
			r = add(roots, &n, path, env && *env ? env : c.driver);
		for (i = 0; r == 0 && i < c.nmore; i++)
			r = add(roots, &n, steal_ptr(&c.more[i]), NULL);
		conf_free(&c);
	}
	for (i = 0; r == 0 && i < n; i++)
		if (strcmp(roots[i].driver, "overlay") != 0 && strcmp(roots[i].driver, "vfs") != 0)
			r = oci_fail(ret_err, -EPROTONOSUPPORT,
				     "%s: storage of driver %s is not read, only overlay and vfs",
				     roots[i].path, roots[i].driver);
	if (r < 0) {
		storage_roots_free(roots, n);
		return r;
	}
	*ret = roots;
	*ret_n = n;
	return 0;
}

void storage_roots_free(struct storage_root *roots, unsigned n)
{
	while (n--) {
		free(roots[n].path);
		free(roots[n].driver);
	}
	free(roots);
}
