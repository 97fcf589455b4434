/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl unpack: the tree of an image, or of one layer, as files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/progress.h"
#include "tools/unpack.h"

static const struct cmd_option options[] = {
	{ 0, "layer", "N", "only the layer N of the image, from 1, the lowest" },
	{ 0, "no-owners", NULL, "leave out owners, attributes, devices, as for ordinary users" },
	{ 'q', "quiet", NULL, "show no progress" },
	{ 0, NULL, NULL, NULL },
};

/* Where the files go until all are there. */
struct target {
	int parent, fd; /* of the directory that DIR is in, and of the one being filled; owned */
	char *name; /* DIR's last part; owned */
	char tmp[64]; /* the name meanwhile; "": DIR itself, which existed */
};

static void target_release(struct target *t)
{
	sys_close(t->parent);
	sys_close(t->fd);
	free(t->name);
}

static int is_empty(int fd)
{
	char buf[4096];
	ssize_t n, left = 0;

	while ((n = sys_getdents(fd, buf, sizeof(buf))) > 0)
		left += n;
	/* "." and ".." are two entries of 24 bytes */
	return n < 0 ? (int)n : left <= 48;
}

/* DIR must be empty, or not be there: then it has another name until it is complete. */
static int target_begin(const char *dir, struct target *t)
{
	_cleanup_free_ char *path = sys_strdup(dir);
	size_t n = path ? strlen(path) : 0;
	unsigned x = 0;
	char *slash;
	int r;

	if (!path)
		return -ENOMEM;
	t->fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (t->fd >= 0) {
		r = is_empty(t->fd);
		return r < 0 ? r : r ? 0 :
				       -ENOTEMPTY;
	}
	if (t->fd != -ENOENT)
		return t->fd;
	while (n > 1 && path[n - 1] == '/')
		path[--n] = 0;
	slash = strrchr(path, '/');
	t->name = sys_strdup(slash ? slash + 1 : path);
	if (!t->name)
		return -ENOMEM;
	if (slash)
		slash[slash == path] = 0;
	t->parent = sys_openat(AT_FDCWD, slash ? path : ".", O_RDONLY | O_DIRECTORY, 0);
	if (t->parent < 0)
		return t->parent;
	do {
		if (getrandom(&x, sizeof(x), 0) != sizeof(x))
			return -EIO;
		(void)snprintf(t->tmp, sizeof(t->tmp), ".plyctl-unpack.%08x.part", x);
		r = sys_mkdirat(t->parent, t->tmp, 0700);
	} while (r == -EEXIST);
	if (r < 0) {
		t->tmp[0] = 0;
		return r;
	}
	t->fd = sys_openat(t->parent, t->tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	return t->fd < 0 ? t->fd : 0;
}

static int target_end(struct target *t)
{
	if (!t->tmp[0])
		return 0;
	return sys_renameat2(t->parent, t->tmp, t->parent, t->name, RENAME_NOREPLACE);
}

static void target_undo(struct target *t, const char *dir)
{
	int r = unpack_remove(t->fd);

	if (r == 0 && t->tmp[0])
		r = sys_unlinkat(t->parent, t->tmp, AT_REMOVEDIR);
	if (r < 0)
		cmd_say("%s: a part of it is left in %s: %s", dir, t->tmp[0] ? t->tmp : dir,
			strerror(-r));
}

static void on_progress(void *arg, uint64_t bytes, uint64_t files)
{
	progress_update(arg, bytes, files);
}

static void report(const struct cmd *c, const struct unpack_result *r)
{
	if (c->json) {
		json_object(NULL);
		json_string("image", c->argv[0]);
		json_string("directory", c->argv[1]);
		json_uint("files", r->files);
		json_uint("bytes", r->bytes);
		json_uint("left_out", r->left_out);
		json_uint("attributes_refused", r->attributes);
		json_uint("unreadable", r->unreadable);
		json_end();
	}
	if (r->left_out)
		cmd_say("%llu devices were left out, which only root can make",
			(unsigned long long)r->left_out);
	if (r->attributes)
		cmd_say("%llu attributes were left out, which the file system does not take",
			(unsigned long long)r->attributes);
}

static int unpack(struct cmd *c, struct view *v, struct target *t, struct unpack_result *res)
{
	struct progress bar;
	struct unpack_options o = { .owners = geteuid() == 0 && !cmd_option(c, "no-owners"),
				    .stop = interrupted,
				    .progress = on_progress,
				    .arg = &bar };
	char *err = NULL;
	int r;

	interrupt_catch();
	progress_begin(&bar, "unpack", 0, cmd_option(c, "quiet") != NULL);
	r = unpack_tree(v, t->fd, &o, res, &err);
	if (r == 0 && res->unreadable)
		r = -EIO;
	if (r == 0)
		r = target_end(t);
	progress_end(&bar);
	if (r == 0)
		return CMD_OK;
	target_undo(t, c->argv[1]);
	return cmd_fail(r, err, r == -EINTR || err ? NULL : c->argv[1]);
}

static int run(struct cmd *c)
{
	struct target t = { .parent = -1, .fd = -1 };
	struct view_range range = { 0 };
	const char *layer = cmd_option(c, "layer");
	struct unpack_result res;
	struct view *v;
	uint64_t n = 0;
	int code, r;

	if (layer && (cmd_parse_number(layer, 500, &n) < 0 || !n))
		return cmd_usage(c, "--layer=%s is no number of a layer", layer);
	range.first = layer ? (unsigned)n - 1 : 0;
	range.count = layer ? 1 : 0;
	code = view_open(c, c->argv[0], &range, &v, NULL);
	if (code != CMD_OK)
		return code;
	r = target_begin(c->argv[1], &t);
	code = r < 0 ? cmd_fail(r, NULL, c->argv[1]) : unpack(c, v, &t, &res);
	if (r < 0 && t.tmp[0])
		(void)sys_unlinkat(t.parent, t.tmp, AT_REMOVEDIR);
	target_release(&t);
	view_close(v);
	if (code == CMD_OK)
		report(c, &res);
	return code;
}

const struct command cmd_unpack = {
	.name = "unpack",
	.args = "IMAGE DIR",
	.summary = "make files of an image",
	.help = "DIR must be empty, or not exist. What whiteouts remove is not there. As root\n"
		"owners, attributes and devices are kept; else they are left out, and so are\n"
		"setuid and setgid. When it fails, or is interrupted, what was made is removed.",
	.options = options,
	.min = 2,
	.max = 2,
	.flags = CMD_IMAGE,
	.run = run,
};
