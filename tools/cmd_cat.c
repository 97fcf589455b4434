/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl cat: the content of files in an image, as it is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/walk.h"

#define BUFFER (3 << 16) /* a multiple of three, for base 64 */

/* All of @f to stdout, or as the open base 64 value. */
static int copy(struct view *v, const struct view_file *f, bool json, char *buf)
{
	uint64_t off = 0;

	while (off < f->st.stx_size) {
		ssize_t n = view_read(v, f, buf, BUFFER, (off_t)off);

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		if (json)
			json_base64_add(buf, (size_t)n);
		else if (fwrite(buf, 1, (size_t)n, stdout) != (size_t)n)
			return -EPIPE;
		off += (uint64_t)n;
	}
	return 0;
}

static int cat(struct cmd *c, struct view *v, const char *arg, char *buf)
{
	_cleanup_free_ char *path = walk_path(arg);
	struct view_file f;
	int r = path ? view_lookup(v, path, true, &f) : -ENOMEM;

	if (r < 0)
		return cmd_fail(r, NULL, arg);
	if (!S_ISREG(f.st.stx_mode)) {
		cmd_say("%s: this is no regular file, but of type %s", arg,
			out_type(f.st.stx_mode));
		view_put(v, &f);
		return CMD_BAD;
	}
	if (c->json) {
		entry_json(v, path, &f, true);
		json_base64_begin("content_base64");
	}
	r = copy(v, &f, c->json, buf);
	if (c->json) {
		json_base64_end();
		json_end();
	}
	view_put(v, &f);
	/* said by main(), if it is anything to be said */
	return r == -EPIPE ? CMD_OK : r < 0 ? cmd_fail(r, NULL, arg) :
					      CMD_OK;
}

static int run(struct cmd *c)
{
	_cleanup_free_ char *buf = sys_malloc(BUFFER);
	struct view *v;
	int code, i;

	if (!buf)
		return cmd_fail(-ENOMEM, NULL, NULL);
	code = view_open(c, c->argv[0], NULL, &v, NULL);
	if (code != CMD_OK)
		return code;
	if (c->json) {
		json_object(NULL);
		json_string("image", c->argv[0]);
		json_array("entries");
	}
	for (i = 1; i < c->argc; i++) {
		int r = cat(c, v, c->argv[i], buf);

		if (r > code)
			code = r;
	}
	if (c->json) {
		json_end();
		json_end();
	}
	view_close(v);
	return code;
}

const struct command cmd_cat = {
	.name = "cat",
	.args = "IMAGE PATH...",
	.summary = "Print files of an image",
	.help = "Bytes are printed as they are, also to a terminal. Symlinks are followed inside\n"
		"of the image.",
	.min = 2,
	.max = -1,
	.flags = CMD_IMAGE,
	.run = run,
};
