/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation of the differential test: what it is, and how it is written to
 * and read from a replay file. An operation is self-contained (literal paths,
 * slot numbers, numbers), so any subset of a sequence is a sequence again:
 * the shrinker rests on that.
 */
#ifndef TESTS_DIFF_OP_H
#define TESTS_DIFF_OP_H

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_LEN 2048
#define N_SLOTS 24
#define N_MAPS 8
#define N_ARGS 6

/* name, what the numbers mean (slot, d1 and d2 have their own fields) */
#define OP_KINDS(X)                                \
	X(check, "")                               \
	X(remount, "")                             \
	X(drop_caches, "")                         \
	X(open, "flags mode umask")                \
	X(close, "")                               \
	X(pread, "off len")                        \
	X(pwrite, "off len seed")                  \
	X(read, "len")                             \
	X(write, "len seed")                       \
	X(lseek, "off whence")                     \
	X(dread, "off len")                        \
	X(dwrite, "off len seed")                  \
	X(mmap, "map len prot flags")              \
	X(map_read, "map off len")                 \
	X(map_write, "map off len seed sync")      \
	X(munmap, "map")                           \
	X(truncate, "len")                         \
	X(ftruncate, "len")                        \
	X(fallocate, "mode off len")               \
	X(copy_range, "from off_in off_out len")   \
	X(link, "flags")                           \
	X(link_fd, "")                             \
	X(symlink, "")                             \
	X(readlink, "")                            \
	X(mkdir, "mode umask")                     \
	X(rmdir, "")                               \
	X(unlink, "")                              \
	X(rename, "flags")                         \
	X(mknod, "mode major minor umask")         \
	X(chmod, "mode")                           \
	X(fchmod, "mode")                          \
	X(chown, "uid gid follow")                 \
	X(fchown, "uid gid")                       \
	X(utimens, "follow asec ansec msec mnsec") \
	X(futimens, "asec ansec msec mnsec")       \
	X(setxattr, "size flags seed follow")      \
	X(getxattr, "size follow")                 \
	X(listxattr, "follow")                     \
	X(removexattr, "follow")                   \
	X(fsetxattr, "size flags seed")            \
	X(fgetxattr, "size")                       \
	X(flistxattr, "")                          \
	X(fremovexattr, "")                        \
	X(stat, "follow")                          \
	X(fstat, "")                               \
	X(access, "mode")                          \
	X(readdir, "bufsize")                      \
	X(freaddir, "bufsize")                     \
	X(readdir_mut, "seed no_dirs")             \
	X(cwd, "seed")                             \
	X(flock, "how")                            \
	X(fcntl_lock, "type off len ofd")          \
	X(getflags, "")                            \
	X(setflags, "flags")                       \
	X(fsync, "how")                            \
	X(suid_write, "mode how off")

enum op_kind {
#define X(n, a) OP_##n,
	OP_KINDS(X)
#undef X
		OP_KIND_COUNT
};

static const char *const op_names[] = {
#define X(n, a) #n,
	OP_KINDS(X)
#undef X
};

static const char *const op_args[] = {
#define X(n, a) a,
	OP_KINDS(X)
#undef X
};

struct op {
	int kind;
	int uid; /* who does it: effective uid and gid */
	int slot; /* descriptor it works on, -1 none */
	int d1, d2; /* descriptors p1, p2 are relative to; -1 root */
	int post; /* compare a stat of p1 (or slot) afterwards */
	long long a[N_ARGS];
	char p1[PATH_LEN];
	char p2[PATH_LEN]; /* second path, link target or xattr name */
};

static inline void op_put_str(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c <= ' ' || c >= 0x7f || c == '"' || c == '%')
			fprintf(f, "%%%02x", c);
		else
			fputc(c, f);
	}
	fputc('"', f);
}

/* Reads a quoted string at *p into out; 0 or -1. */
static inline int op_get_str(char **p, char *out, size_t size)
{
	char *s = strchr(*p, '"');
	size_t n = 0;

	if (!s)
		return -1;
	for (s++; *s && *s != '"' && n + 1 < size; s++) {
		if (*s == '%' && s[1] && s[2]) {
			char hex[3] = { s[1], s[2], 0 };

			out[n++] = (char)strtol(hex, NULL, 16);
			s += 2;
		} else {
			out[n++] = *s;
		}
	}
	out[n] = 0;
	if (*s != '"')
		return -1;
	*p = s + 1;
	return 0;
}

static inline void op_print_flags(FILE *f, long long fl)
{
	static const struct {
		long long bit;
		const char *name;
	} names[] = {
		{ O_CREAT, "CREAT" },
		{ O_EXCL, "EXCL" },
		{ O_TRUNC, "TRUNC" },
		{ O_APPEND, "APPEND" },
		{ O_NOFOLLOW, "NOFOLLOW" },
		{ O_DIRECT, "DIRECT" },
		{ O_PATH, "PATH" },
		{ __O_TMPFILE, "TMPFILE" },
		{ O_DIRECTORY, "DIRECTORY" },
	};
	static const char *const acc[] = { "RDONLY", "WRONLY", "RDWR", "3" };
	size_t i;

	fprintf(f, "  # %s", acc[fl & O_ACCMODE]);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (fl & names[i].bit)
			fprintf(f, "|%s", names[i].name);
}

static inline void op_print(FILE *f, const struct op *o)
{
	const char *a = op_args[o->kind];
	int i = 0;

	fprintf(f, "%s uid=%d slot=%d d1=%d d2=%d post=%d", op_names[o->kind],
		o->uid, o->slot, o->d1, o->d2, o->post);
	while (*a) {
		int n = (int)strcspn(a, " ");
		int oct = !strncmp(a, "mode", 4) || !strncmp(a, "umask", 5) ||
			  !strncmp(a, "flags", 5);

		fprintf(f, oct && o->a[i] >= 0 ? " %.*s=0%llo" : " %.*s=%lld",
			n, a, o->a[i]);
		i++;
		a += n;
		a += *a == ' ';
	}
	fputc(' ', f);
	op_put_str(f, o->p1);
	fputc(' ', f);
	op_put_str(f, o->p2);
	if (o->kind == OP_open)
		op_print_flags(f, o->a[0]);
	fputc('\n', f);
}

/* Reads what op_print wrote; 0 or -1. */
static inline int op_parse(char *line, struct op *o)
{
	char *p = line;
	size_t n = strcspn(p, " ");
	long long *field[] = { &o->a[0], &o->a[1], &o->a[2],
			       &o->a[3], &o->a[4], &o->a[5] };
	int *head[] = { &o->uid, &o->slot, &o->d1, &o->d2, &o->post };
	int i, k;

	memset(o, 0, sizeof(*o));
	for (o->kind = 0; o->kind < OP_KIND_COUNT; o->kind++)
		if (strlen(op_names[o->kind]) == n &&
		    !strncmp(op_names[o->kind], p, n))
			break;
	if (o->kind == OP_KIND_COUNT)
		return -1;
	p += n;
	for (i = 0, k = 0; *p;) {
		char *q;

		while (*p == ' ')
			p++;
		if (*p == '"')
			break;
		q = strchr(p, '=');
		if (!q)
			return -1;
		if (k < 5)
			*head[k++] = (int)strtol(q + 1, &p, 0);
		else if (i < N_ARGS)
			*field[i++] = strtoll(q + 1, &p, 0);
		else
			return -1;
	}
	if (op_get_str(&p, o->p1, sizeof(o->p1)))
		return -1;
	return op_get_str(&p, o->p2, sizeof(o->p2));
}

#endif
