/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -lxxhash */
/*
 * A tree served from memory, by the transport of plyfs and as plyfs would: the
 * least that a daemon can cost in the benchmark's cold rows. What plyfs takes
 * longer is its own; what this takes longer than kernel overlayfs is FUSE.
 *
 *	memfs LIST MOUNTPOINT [uring]
 *
 * LIST is what bench/micro/mktree.c writes: type (F, D, L), size and path of
 * each entry, directories before what is in them. Files hold zeros.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fs/fuse/daemon.h"
#include "fs/fuse/fuse_ll.h"
#include "fs/fuse/session.h"
#include "fs/fuse/stats.h"
#include "fs/fuse/transport.h"
#include "lib/log.h"

struct entry {
	char *name;
	size_t size, parent; /* parent: index; inode numbers are indexes + 1 */
	size_t first, next; /* child and sibling, 0: none; the root is nobody's child */
	size_t chain; /* of the hash table */
	mode_t mode;
};

static struct entry *entries;
static size_t count, *table, mask = (1 << 20) - 1;

static size_t *bucket(size_t parent, const char *name, size_t len)
{
	return &table[XXH3_64bits_withSeed(name, len, parent) & mask];
}

static size_t find(size_t parent, const char *name, size_t len)
{
	size_t i = *bucket(parent, name, len);

	while (i && (entries[i].parent != parent || strncmp(entries[i].name, name, len) ||
		     entries[i].name[len]))
		i = entries[i].chain;
	return i;
}

static size_t add(size_t parent, const char *name, mode_t mode, size_t size)
{
	struct entry *e = realloc(entries, (count + 1) * sizeof(*e));
	size_t *b = bucket(parent, name, strlen(name));

	if (!e)
		exit(1);
	entries = e;
	e += count;
	*e = (struct entry){
		.name = strdup(name),
		.size = size,
		.parent = parent,
		.mode = mode,
		.chain = *b,
	};
	if (!e->name)
		exit(1);
	if (count) {
		*b = count;
		e->next = entries[parent].first;
		entries[parent].first = count;
	}
	return count++;
}

static void read_list(const char *path)
{
	char line[4352], name[4097], type;
	FILE *f = fopen(path, "re");
	size_t size;

	table = calloc(mask + 1, sizeof(*table));
	if (!f || !table) {
		perror(path);
		exit(1);
	}
	(void)add(0, "", S_IFDIR | 0755, 0);
	while (fgets(line, sizeof(line), f)) {
		size_t dir = 0;
		char *p, *e;

		if (sscanf(line, "%c %zu %4096[^\n]", &type, &size, name) != 3)
			exit(1);
		for (p = name; (e = strchr(p, '/')); p = e + 1) {
			dir = find(dir, p, (size_t)(e - p));
			if (!dir)
				exit(1);
		}
		(void)add(dir, p,
			  type == 'D' ? S_IFDIR | 0755 :
			  type == 'L' ? S_IFLNK | 0777 :
					S_IFREG | 0644,
			  size);
	}
	(void)fclose(f);
}

static void fill_attr(size_t i, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = i + 1;
	st->st_nlink = 1;
	st->st_mode = entries[i].mode;
	st->st_size = (off_t)entries[i].size;
	st->st_blksize = 4096;
}

static void fill_entry(size_t i, struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = i ? i + 1 : 0; /* none: a name that may be remembered as missing */
	e->entry_timeout = e->attr_timeout = 1e9;
	if (i)
		fill_attr(i, &e->attr);
}

static void memfs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e;

	fill_entry(find(parent - 1, name, strlen(name)), &e);
	(void)fuse_reply_entry(req, &e);
}

static void memfs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	fill_attr(ino - 1, &st);
	(void)fuse_reply_attr(req, &st, 1e9);
}

/* The cookie of an entry is its index; of the last of a directory, so that nothing follows it. */
static void memfs_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			      struct fuse_file_info *fi)
{
	char *buf = transport_reply_buf(size);
	size_t i = off ? entries[off].next : entries[ino - 1].first, len = 0;

	(void)fi;
	for (; buf && i; i = entries[i].next) {
		struct fuse_entry_param e;
		size_t need;

		fill_entry(i, &e);
		need = fuse_add_direntry_plus(req, buf + len, size - len, entries[i].name, &e,
					      (off_t)i);
		if (need > size - len)
			break;
		len += need;
	}
	if (buf)
		(void)fuse_reply_buf(req, buf, len);
	else
		(void)fuse_reply_err(req, ENOMEM);
}

static void memfs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	size_t all = entries[ino - 1].size, at = (size_t)off < all ? (size_t)off : all;
	char *buf;

	(void)fi;
	if (size > all - at)
		size = all - at;
	buf = transport_reply_buf(size ? size : 1);
	if (!buf) {
		(void)fuse_reply_err(req, ENOMEM);
		return;
	}
	memset(buf, 0, size);
	(void)fuse_reply_buf(req, buf, size);
}

static void memfs_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[4096];
	size_t n =
		entries[ino - 1].size < sizeof(target) ? entries[ino - 1].size : sizeof(target) - 1;

	memset(target, 'x', n);
	target[n] = 0;
	(void)fuse_reply_readlink(req, target);
}

static void no_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	(void)fuse_reply_err(req, ENOSYS);
}

static void memfs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	(void)ino;
	(void)n;
	fuse_reply_none(req);
}

static void memfs_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *f)
{
	(void)n;
	(void)f;
	fuse_reply_none(req);
}

static void memfs_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	(void)fuse_unset_feature_flag(conn, FUSE_CAP_ATOMIC_O_TRUNC);
	(void)fuse_unset_feature_flag(conn, FUSE_CAP_READDIRPLUS_AUTO);
	(void)fuse_unset_feature_flag(conn, FUSE_CAP_AUTO_INVAL_DATA);
	(void)fuse_set_feature_flag(conn, FUSE_CAP_EXPLICIT_INVAL_DATA);
	(void)fuse_set_feature_flag(conn, FUSE_CAP_PARALLEL_DIROPS);
	(void)fuse_set_feature_flag(conn, FUSE_CAP_CACHE_SYMLINKS);
	conn->no_interrupt = 1;
}

static const struct fuse_lowlevel_ops ops = {
	.init = memfs_init,
	.lookup = memfs_lookup,
	.forget = memfs_forget,
	.forget_multi = memfs_forget_multi,
	.getattr = memfs_getattr,
	.readdirplus = memfs_readdirplus,
	.readlink = memfs_readlink,
	.open = no_open,
	.flush = no_open,
	.opendir = no_open,
	.read = memfs_read,
};

static int ready(void *arg)
{
	(void)arg;
	return daemon_ready();
}

int main(int argc, char *argv[])
{
	struct session_config cfg = { .log = log_line, .uring = SESSION_URING_OFF };
	struct session *s = NULL;
	int r;

	if (argc < 3)
		return 2;
	read_list(argv[1]);
	cfg.mountpoint = argv[2];
	cfg.mount_options = "default_permissions,allow_other,fsname=memfs,subtype=plyfs";
	if (argc > 3)
		cfg.uring = SESSION_URING_ON;
	log_init("memfs", LOG_INFO);
	if (daemon_begin(-1))
		return 1;
	session_block_signals();
	r = stats_open(NULL, &cfg.stats);
	if (r == 0)
		r = session_new(&cfg, &ops, NULL, &s);
	if (r == 0)
		r = session_mount(s);
	if (r == 0)
		r = session_run(s, ready, NULL);
	if (r < 0)
		log_err("%s", strerror(-r));
	session_free(s);
	stats_close(cfg.stats);
	return r < 0;
}
