/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A union on layers that a test makes from a few words, and names instead of
 * node ids. Layers are the directories up, l1 and l2 (l1 above l2) of a scratch
 * directory; make() fills them. Every node that is looked up here is forgotten
 * by fx_close(), which then expects that the union remembers none.
 */
#ifndef PLYFS_TESTS_UNION_H
#define PLYFS_TESTS_UNION_H

#include "unit.h"

#include <errno.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "fs/union/union.h"
#include "lib/cleanup.h"

#define MAX_HELD 4096

struct fixture {
	char base[200];
	int dir; /* of base */
	const char *lowers[2]; /* names there: "l1", "l2", or indexes made of them */
	struct union_config cfg;
	struct union_fs *u;
	uint64_t held[MAX_HELD];
	unsigned nheld;
};

static const struct union_cred nobody_special = { .umask = 022 };

/*
 * Makes the file that @spec tells of: "d PATH", "f PATH TEXT", "s PATH TARGET",
 * "w PATH" (a whiteout), "h PATH EXISTING" (a hard link), "x PATH ATTR VALUE".
 */
static inline void make_one(int dir, const char *spec)
{
	char path[300] = "", rest[300] = "", value[300] = "", full[64 + 300];
	char kind = spec[0];

	assert_true(sscanf(spec + 1, " %299s %299s %299[^\n]", path, rest, value) >= 1);
	(void)snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", dir, path);
	switch (kind) {
	case 'd':
		assert_int_equal(mkdirat(dir, path, 0755), 0);
		break;
	case 'f':
		unit_write(dir, path, rest);
		break;
	case 's':
		assert_int_equal(symlinkat(rest, dir, path), 0);
		break;
	case 'w':
		assert_int_equal(mknodat(dir, path, S_IFCHR, 0), 0);
		break;
	case 'h':
		assert_int_equal(linkat(dir, rest, dir, path, 0), 0);
		break;
	case 'x':
		assert_int_equal(lsetxattr(full, rest, value, strlen(value), 0), 0);
		break;
	default:
		fail_msg("no such kind of file: %s", spec);
	}
}

/* Makes what the words after @layer ("l1", "up", ...) tell of, up to a NULL. */
__attribute__((sentinel)) static inline void make(struct fixture *f, const char *layer, ...)
{
	_cleanup_fd_ int dir = openat(f->dir, layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *spec;
	va_list ap;

	assert_true(dir >= 0);
	va_start(ap, layer);
	while ((spec = va_arg(ap, const char *)))
		make_one(dir, spec);
	va_end(ap);
}

/* Opens the union of the layers as they are now. */
static inline int fx_try_open(struct fixture *f)
{
	char paths[4][256];
	const char *const names[4] = { f->lowers[0], f->lowers[1], "up", "work" };
	const char *const lower[2] = { paths[0], paths[1] };
	_cleanup_free_ char *err = NULL;
	unsigned i;

	for (i = 0; i < 4; i++)
		(void)snprintf(paths[i], sizeof(paths[i]), "%s/%s", f->base, names[i]);
	f->cfg.lower = lower;
	f->cfg.nlower = 2;
	f->cfg.upper = paths[2];
	f->cfg.work = paths[3];
	return union_open(&f->cfg, &f->u, &err);
}

static inline void fx_open(struct fixture *f)
{
	assert_int_equal(fx_try_open(f), 0);
}

static inline void fx_forget(struct fixture *f)
{
	while (f->nheld)
		union_forget(f->u, f->held[--f->nheld], 1);
}

static inline void fx_close(struct fixture *f)
{
	struct union_counts c;

	fx_forget(f);
	union_counts(f->u, &c);
	assert_in_range(c.nodes, 0, 1); /* the root may count or not */
	union_close(f->u);
	f->u = NULL;
}

/* As after an unmount and a mount. */
static inline void fx_reopen(struct fixture *f)
{
	fx_close(f);
	fx_open(f);
}

/* Empty layers, and a configuration like that of a mount by root. */
static inline void fx_init(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->dir = unit_dir(f->base, sizeof(f->base));
	f->lowers[0] = "l1";
	f->lowers[1] = "l2";
	assert_int_equal(mkdirat(f->dir, "l1", 0755), 0);
	assert_int_equal(mkdirat(f->dir, "l2", 0755), 0);
	assert_int_equal(mkdirat(f->dir, "up", 0755), 0);
	assert_int_equal(mkdirat(f->dir, "work", 0755), 0);
	f->cfg = (struct union_config){
		.redirect = true,
		.redirect_follow = true,
		.index = true,
		.sync = false,
		.acl = true,
		.fd_budget = 64,
	};
}

static inline void fx_done(struct fixture *f)
{
	fx_close(f);
	assert_int_equal(close(f->dir), 0);
}

static inline uint64_t hold(struct fixture *f, const struct union_entry *e)
{
	assert_true(f->nheld < MAX_HELD);
	if (e->nodeid)
		f->held[f->nheld++] = e->nodeid;
	return e->nodeid;
}

/* Looks @path up; 0, with what it is in @ret, or the error (-ENOENT too). */
static inline int look(struct fixture *f, const char *path, struct union_entry *ret)
{
	char copy[4096], *save = NULL, *part;
	int err;

	memset(ret, 0, sizeof(*ret));
	ret->nodeid = UNION_ROOT;
	if (!*path)
		return union_getattr(f->u, UNION_ROOT, &ret->st);
	assert_in_range(snprintf(copy, sizeof(copy), "%s", path), 0, sizeof(copy) - 1);
	for (part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		err = union_lookup(f->u, ret->nodeid, part, ret);
		if (err < 0)
			return err;
		if (!hold(f, ret))
			return -ENOENT;
	}
	return 0;
}

/* The node of @path, which must exist. */
static inline uint64_t node(struct fixture *f, const char *path)
{
	struct union_entry e;

	assert_int_equal(look(f, path, &e), 0);
	return e.nodeid;
}

/* How looking @path up ends: 0 or an error. */
static inline int found(struct fixture *f, const char *path)
{
	struct union_entry e;

	return look(f, path, &e);
}

static inline struct statx attrs(struct fixture *f, const char *path)
{
	struct union_entry e;

	assert_int_equal(look(f, path, &e), 0);
	return e.st;
}

static inline void expect_node_text(struct fixture *f, uint64_t id, const char *text)
{
	char buf[4096];
	ssize_t n = union_read(f->u, id, buf, sizeof(buf) - 1, 0);

	assert_true(n >= 0);
	buf[n] = '\0';
	assert_string_equal(buf, text);
}

/* The file at @path of the union holds @text. */
static inline void expect_text(struct fixture *f, const char *path, const char *text)
{
	expect_node_text(f, node(f, path), text);
}

static inline void write_node(struct fixture *f, uint64_t id, const char *text, off_t off)
{
	assert_int_equal(union_write(f->u, id, text, strlen(text), off), strlen(text));
}

/* Makes the regular file @name in @parent with @text; its node. */
static inline uint64_t create(struct fixture *f, const char *parent, const char *name,
			      const char *text)
{
	struct union_entry e;

	assert_int_equal(union_mknod(f->u, &nobody_special, node(f, parent), name,
				     S_IFREG | 0644, 0, &e),
			 0);
	write_node(f, hold(f, &e), text, 0);
	return e.nodeid;
}

struct listing {
	char names[4096]; /* sorted as they came: "a b c " */
	uint64_t cookie; /* of the last one */
	unsigned room; /* that many, then no more */
};

static inline int list_entry(void *arg, const char *name, uint64_t cookie,
			     const struct union_entry *e)
{
	struct listing *l = arg;
	size_t n = strlen(l->names);

	(void)e;
	if (!l->room)
		return 1;
	l->room--;
	l->cookie = cookie;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	assert_in_range(snprintf(l->names + n, sizeof(l->names) - n, "%s ", name), 1,
			sizeof(l->names) - n - 1);
	return 0;
}

/* Whether @name is in the listing exactly once (1), never (0) or more often. */
static inline unsigned times_listed(const struct listing *l, const char *name)
{
	const char *p = l->names;
	size_t len = strlen(name);
	unsigned n = 0;

	for (; *p; p = strchr(p, ' ') + 1)
		n += !strncmp(p, name, len) && p[len] == ' ';
	return n;
}

/* How many names there are. */
static inline unsigned names_listed(const struct listing *l)
{
	const char *p = l->names;
	unsigned n = 0;

	for (; *p; p = strchr(p, ' ') + 1)
		n++;
	return n;
}

/* Lists @path, @room entries at a time. */
static inline void list(struct fixture *f, const char *path, unsigned room, struct listing *ret)
{
	uint64_t id = node(f, path), before;

	memset(ret, 0, sizeof(*ret));
	do {
		before = ret->cookie;
		ret->room = room;
		assert_true(union_readdir(f->u, id, ret->cookie, false, list_entry, ret) >= 0);
	} while (ret->cookie != before);
}

/* Whether @path below the scratch directory is a whiteout. */
static inline int is_whiteout(const struct fixture *f, const char *path)
{
	struct stat st;

	return fstatat(f->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
	       st.st_rdev == makedev(0, 0);
}

static inline int is_there(const struct fixture *f, const char *path)
{
	return faccessat(f->dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

#endif
