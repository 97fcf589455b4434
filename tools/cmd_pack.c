/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl pack: a layer's tarball becomes an index and a blob that can be mounted. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/layer/pack.h"
#include "lib/cleanup.h"
#include "oci/digest.h"
#include "tools/out.h"
#include "tools/plyctl.h"
#include "tools/progress.h"

static const struct cmd_option options[] = {
	{ 'l', "level", "N", "of zstd, -7 to 19" },
	{ 0, "frame", "SIZE", "bytes that are compressed together, 4K to 16M" },
	{ 't', "threads", "N", "that compress; as many as there are processors" },
	{ 0, "repack", NULL, "pack an uncompressed tar too, instead of using it as it is" },
	{ 0, "digest", "SHA256", "what the tarball's digest must be" },
	{ 0, "diff-id", "SHA256", "what the digest of the tar in it must be" },
	{ 0, "no-sync", NULL, "do not wait until the blob is on the disk" },
	{ 'q', "quiet", NULL, "show no progress" },
	{ 0, NULL, NULL, NULL },
};

static int on_progress(void *arg, const struct pack_progress *g)
{
	progress_update(arg, g->in, g->files);
	return interrupted() ? -EINTR : 0;
}

static int read_options(struct cmd *c, struct pack_options *o, uint8_t digests[2][32])
{
	static const char *const names[] = { "digest", "diff-id" };
	const char *s = cmd_option(c, "level");
	uint64_t n;
	char *end;
	long level;

	if (s) {
		errno = 0;
		level = strtol(s, &end, 10);
		if (errno || *end || end == s || level < -7 || level > 19 || !level)
			return cmd_usage(c, "--level=%s is not a level of -7 to 19", s);
		o->level = (int)level;
	}
	s = cmd_option(c, "frame");
	if (s && (cmd_parse_size(s, &n) < 0 || n < 4096 || n > 16 << 20))
		return cmd_usage(c, "--frame=%s is not a size of 4K to 16M", s);
	o->frame = s ? (uint32_t)n : 0;
	s = cmd_option(c, "threads");
	if (s && (cmd_parse_number(s, 256, &n) < 0 || !n))
		return cmd_usage(c, "--threads=%s is not a number of 1 to 256", s);
	o->threads = s ? (unsigned)n : 0;
	for (int i = 0; i < 2; i++) {
		s = cmd_option(c, names[i]);
		if (!s)
			continue;
		if (digest_parse(s, digests[i]) < 0)
			return cmd_usage(c, "--%s=%s is no SHA-256 digest", names[i], s);
		*(i ? &o->diff_id : &o->layer) = digests[i];
	}
	o->repack = cmd_option(c, "repack") != NULL;
	o->no_sync = cmd_option(c, "no-sync") != NULL;
	return CMD_OK;
}

/* Opens the directory of @path: its descriptor or -errno; the rest of the path in *ret_name. */
static int open_parent(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int fd;

	if (!dir)
		return -ENOMEM;
	*ret_name = slash ? slash + 1 : path;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void report(const struct index_info *i, const char *path)
{
	char blob[INDEX_BLOB_NAME_SIZE], a[OUT_SIZE], b[OUT_SIZE], c[OUT_SIZE];

	index_blob_name(i->blob, blob);
	out_text(stdout, path);
	(void)printf(": %u inodes, %s in files, index %s, ", i->inodes, out_size(i->content, a),
		     out_size(i->file_size, b));
	if (i->kind == INDEX_TAR)
		(void)printf("over the tar itself\n");
	else
		(void)printf("blob %s in %s\n", out_size(i->blob_size, c), blob);
}

static void report_json(const struct index_info *i, const char *path)
{
	json_object(NULL);
	json_string("index", path);
	json_string("kind", index_kind_name(i->kind));
	json_digest("layer", i->layer);
	json_digest("diff_id", i->diff_id);
	json_digest("blob", i->blob);
	json_uint("blob_size", i->blob_size);
	json_uint("index_size", i->file_size);
	json_uint("inodes", i->inodes);
	json_uint("entries", i->dirents);
	json_uint("chunks", i->chunks);
	json_uint("frames", i->frames);
	json_uint("content", i->content);
	json_end();
}

/* The blob of a tar that is used as it is: a reference beside the index. */
static int refer(int dirfd, const struct index_info *info, const char *tarball)
{
	_cleanup_free_ char *full = realpath(tarball, NULL);

	return full ? source_write_ref(dirfd, info->blob, full, 0, info->blob_size) : -errno;
}

static int run(struct cmd *c)
{
	const char *in = c->argv[0], *out = c->argv[1], *name;
	_cleanup_fd_ int fd = -1, dirfd = -1;
	struct pack_options o = { .progress = on_progress };
	struct index_info info;
	uint8_t digests[2][32];
	struct progress bar;
	struct source s;
	struct stat st;
	char *err = NULL;
	int r = read_options(c, &o, digests);

	if (r != CMD_OK)
		return r;
	fd = open(in, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return cmd_fail(-errno, NULL, in);
	if (!S_ISREG(st.st_mode))
		return cmd_fail(-EINVAL, strdup("it is no regular file"), in);
	dirfd = open_parent(out, &name);
	if (dirfd < 0)
		return cmd_fail(dirfd, NULL, out);
	if (!*name)
		return cmd_usage(c, "'%s' is the name of a directory, not of an index", out);
	s = (struct source){ .fd = fd, .size = (uint64_t)st.st_size, .name = in };
	interrupt_catch();
	progress_begin(&bar, "pack", s.size, cmd_option(c, "quiet") != NULL);
	o.arg = &bar;
	r = pack_layer(&s, dirfd, name, &o, &info, &err);
	progress_end(&bar);
	if (r == 0 && info.kind == INDEX_TAR)
		r = refer(dirfd, &info, in);
	if (r < 0)
		return cmd_fail(r, err, in);
	(c->json ? report_json : report)(&info, out);
	return CMD_OK;
}

const struct command cmd_pack = {
	.name = "pack",
	.args = "TARBALL INDEX",
	.summary = "make a layer's tarball mountable",
	.help = "Makes the file INDEX, and beside it the layer's content, in frames that can be\n"
		"read one by one, as sha256-HEX. An uncompressed tar stays what it is: the index\n"
		"refers to it. INDEX then is an IMAGE, and a lowerdir of plyfs.\n"
		"Mounting an image does this by itself; pack is for layers without one.",
	.options = options,
	.min = 2,
	.max = 2,
	.run = run,
};
