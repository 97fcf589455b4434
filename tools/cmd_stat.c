/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl stat: all that an image says of a file. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "oci/digest.h"
#include "tools/walk.h"

/* Names of attributes, each terminated, and the whole length; 0 and NULL for none. */
static ssize_t list_xattrs(struct view *v, const struct view_file *f, char **ret)
{
	ssize_t n = view_listxattr(v, f, NULL, 0);

	*ret = NULL;
	if (n <= 0)
		return n == -EOPNOTSUPP ? 0 : n;
	*ret = sys_malloc((size_t)n + 1);
	if (!*ret)
		return -ENOMEM;
	n = view_listxattr(v, f, *ret, (size_t)n);
	if (n > 0)
		(*ret)[n] = 0;
	return n;
}

static ssize_t get_xattr(struct view *v, const struct view_file *f, const char *name, char **ret)
{
	ssize_t n = view_getxattr(v, f, name, NULL, 0);

	*ret = NULL;
	if (n < 0)
		return n;
	*ret = sys_malloc((size_t)n + 1);
	if (!*ret)
		return -ENOMEM;
	n = n ? view_getxattr(v, f, name, *ret, (size_t)n) : 0;
	if (n >= 0)
		(*ret)[n] = 0;
	return n;
}

static bool printable(const char *s, ssize_t n)
{
	ssize_t i;

	for (i = 0; i < n; i++)
		if (s[i] < 0x20 || s[i] > 0x7e)
			return false;
	return true;
}

static void print_xattr(const char *name, const char *value, ssize_t n)
{
	ssize_t i;

	(void)fputs("   xattr: ", stdout);
	out_text(stdout, name);
	(void)putchar('=');
	if (printable(value, n)) {
		out_text(stdout, value);
	} else {
		(void)fputs("0x", stdout);
		for (i = 0; i < n && i < 256; i++)
			(void)printf("%02x", (unsigned char)value[i]);
		if (i < n)
			(void)fputs("...", stdout);
	}
	(void)putchar('\n');
}

static void xattrs(struct view *v, const struct view_file *f, bool json)
{
	_cleanup_free_ char *names = NULL;
	ssize_t n = list_xattrs(v, f, &names), i;

	if (json)
		json_array("xattrs");
	for (i = 0; i < n; i += (ssize_t)strlen(names + i) + 1) {
		_cleanup_free_ char *value = NULL;
		ssize_t len = get_xattr(v, f, names + i, &value);

		if (len < 0)
			continue;
		if (json) {
			json_object(NULL);
			json_string("name", names + i);
			json_base64("value_base64", value, (size_t)len);
			json_end();
		} else {
			print_xattr(names + i, value, len);
		}
	}
	if (json)
		json_end();
}

static void print_layer(struct view *v, const struct image *img, const struct view_file *f)
{
	int layer = view_layer(v, f);
	char digest[32 + 64];

	if (layer < 0 || (unsigned)layer >= image_layers(img))
		return;
	(void)printf("   layer: %d of 0 to %u", layer, image_layers(img) - 1);
	if (digest_known(image_layer(img, (unsigned)layer)->digest)) {
		digest_string(image_layer(img, (unsigned)layer)->digest, digest);
		(void)printf(", %s", digest);
	}
	(void)putchar('\n');
}

static void print_text(struct view *v, const struct image *img, const char *path,
		       const struct view_file *f)
{
	const struct statx *st = &f->st;
	char mode[OUT_MODE], when[OUT_TIME];

	(void)fputs("    path: ", stdout);
	out_text(stdout, path);
	if (S_ISLNK(st->stx_mode)) {
		_cleanup_free_ char *target = NULL;

		if (view_readlink(v, f, &target) == 0) {
			(void)fputs(" -> ", stdout);
			out_text(stdout, target);
		}
	}
	(void)printf("\n    type: %s\n    mode: %04o (%s)\n   owner: %u:%u\n",
		     out_type(st->stx_mode), st->stx_mode & 07777U, out_mode(st->stx_mode, mode),
		     st->stx_uid, st->stx_gid);
	if (S_ISREG(st->stx_mode))
		(void)printf("    size: %" PRIu64 "\n", (uint64_t)st->stx_size);
	if (S_ISCHR(st->stx_mode) || S_ISBLK(st->stx_mode))
		(void)printf("  device: %u, %u\n", st->stx_rdev_major, st->stx_rdev_minor);
	(void)printf("   links: %u\nmodified: %s\n", st->stx_nlink,
		     out_rfc3339(st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec, when));
	print_layer(v, img, f);
	xattrs(v, f, false);
}

static int show(struct cmd *c, struct view *v, const struct image *img, const char *arg, bool more)
{
	_cleanup_free_ char *path = walk_path(arg);
	struct view_file f;
	int r = path ? view_lookup(v, path, cmd_option(c, "dereference") != NULL, &f) : -ENOMEM;

	if (r < 0)
		return cmd_fail(r, NULL, arg);
	if (c->json) {
		entry_json(v, path, &f, true);
		xattrs(v, &f, true);
		json_end();
	} else {
		if (more)
			(void)putchar('\n');
		print_text(v, img, path, &f);
	}
	view_put(v, &f);
	return CMD_OK;
}

static int run(struct cmd *c)
{
	struct image *img;
	struct view *v;
	int code = view_open(c, c->argv[0], NULL, &v, &img), i;

	if (code != CMD_OK)
		return code;
	if (c->json) {
		json_object(NULL);
		json_string("image", c->argv[0]);
		json_array("entries");
	}
	for (i = 1; i < c->argc; i++) {
		int r = show(c, v, img, c->argv[i], i > 1);

		if (r > code)
			code = r;
	}
	if (c->json) {
		json_end();
		json_end();
	}
	view_close(v);
	image_close(img);
	return code;
}

static const struct cmd_option options[] = {
	{ 'L', "dereference", NULL, "of what a symlink leads to" },
	{ 0 },
};

const struct command cmd_stat = {
	.name = "stat",
	.args = "IMAGE PATH...",
	.summary = "Show all that an image says of a file",
	.help = "Type, mode, owner, size, links, time, extended attributes, and the layer that it\n"
		"is from, counted from the lowest, which is 0.",
	.options = options,
	.min = 2,
	.max = -1,
	.flags = CMD_IMAGE,
	.run = run,
};
