/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files options*.c share, and the unit test looks at. Not for
 * others: they use options.h.
 */
#ifndef PLYFS_FS_OPTIONS_I_H
#define PLYFS_FS_OPTIONS_I_H

#include "options.h"

#define OPTIONS_COMPAT_NAME "fuse-overlayfs"
#define OPTIONS_MAX_RANGES 340 /* as many as the kernel's uid_map takes */
#define OPTIONS_UNSAID UINT32_MAX /* a number nobody gave, while parsing */

enum options_group {
	GROUP_LAYERS,
	GROUP_OWNERS,
	GROUP_FORMAT,
	GROUP_DURABLE,
	GROUP_CACHE,
	GROUP_TRANSPORT,
	GROUP_MOUNT,
	GROUP_NOOP,
	GROUP_REFUSED,
	GROUP_COUNT,
};

/* How a value is read and where it goes; val is what follows '='. */
enum options_kind {
	KIND_NOOP, /* any value or none, unread: the help says why */
	KIND_REFUSED, /* an error that says why (a warning in compat mode) */
	KIND_FATAL, /* the same, in compat mode too */
	KIND_ONLY, /* one of word[], to no effect; others: KIND_REFUSED */
	KIND_BOOL, /* bool; none, 1, on / 0, off */
	KIND_TRI, /* enum options_tri: num, or the other one for 0, off */
	KIND_MS, /* ms_set |= set, ms_clear |= clear; 0 swaps them */
	KIND_UINT, /* unsigned int from min to max */
	KIND_SECONDS, /* double, >= 0 */
	KIND_STRING, /* char *, unescaped, not empty */
	KIND_LABEL, /* the same, may be in double quotes */
	KIND_WORD, /* enum: index of the value in word[] */
	KIND_CALL, /* set() */
};

struct optparse;

struct options_entry {
	const char *name; /* "x-*" matches every name that starts so */
	const char *arg; /* how help shows the value, "" if none */
	const char *help; /* one line; for refused options the reason */
	enum options_group group;
	enum options_kind kind;
	size_t off; /* of the field in struct options */
	unsigned int num;
	unsigned int min, max;
	unsigned long set, clear;
	const char *const *word; /* ends with NULL */
	/* val: unescaped, or as typed if raw; NULL without '='. */
	int (*call)(struct optparse *p, const struct options_entry *e,
		    const char *val);
	bool raw;
};

/* Ends with an entry without a name. */
extern const struct options_entry options_table[];
extern const char *const options_group_title[GROUP_COUNT];

/* The state of one options_parse(). All borrowed. */
struct optparse {
	struct options *o;
	struct options_idmap *map; /* the option before was this map */
	bool single; /* threaded=0, -s */
	char **ret_error;
};

/* Set *ret_error to the sentence and return err (negative). */
int options_fail(char **ret_error, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for want of memory. */
int options_no_memory(struct optparse *p);

/* Append a warning. 0 or -ENOMEM (with *ret_error). */
int options_warn(struct optparse *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* options.c: the entry for a name, or NULL. */
const struct options_entry *options_find(const char *name);

/* options_settle.c: what follows from the options together; 0 or -errno. */
int options_settle(struct optparse *p);

/* options_value.c: apply entry e; raw is the value as typed or NULL. */
int options_set(struct optparse *p, const struct options_entry *e, const char *raw);

/* options_value.c, for the setters below. */

/* The field that e sets. */
void *options_field(struct optparse *p, const struct options_entry *e);
/* Whether s[0..len-1] is a decimal number up to max, which goes to *ret. */
bool options_read_u32(const char *s, size_t len, uint32_t max, uint32_t *ret);
/* Whether s is none (NULL), 1, on, 0 or off. */
bool options_read_bool(const char *s, bool *ret);
/* "option 'NAME': 'VAL' is not WANT": -EINVAL. */
int options_bad(struct optparse *p, const struct options_entry *e, const char *val,
		const char *want);
/* As KIND_WORD. */
int options_set_word(struct optparse *p, const struct options_entry *e, const char *val);
/* As KIND_REFUSED: an error, or 0 with a warning in compat mode. */
int options_refuse(struct optparse *p, const struct options_entry *e, const char *val);

/*
 * options_calls.c: "H:V:L[:H:V:L...]" appended to the map. name is for the
 * error.
 */
int options_add_ranges(struct optparse *p, const char *name, struct options_idmap *map,
		       const char *val);

/* options_calls.c: setters named by the table (KIND_CALL). */
#define OPTIONS_SETTER(name) \
	int name(struct optparse *p, const struct options_entry *e, const char *val)
OPTIONS_SETTER(options_set_lower);
OPTIONS_SETTER(options_add_lower);
OPTIONS_SETTER(options_set_map);
OPTIONS_SETTER(options_set_squash);
OPTIONS_SETTER(options_set_threaded);
OPTIONS_SETTER(options_set_redirect);
OPTIONS_SETTER(options_set_plugins);
OPTIONS_SETTER(options_set_allow_root);
OPTIONS_SETTER(options_set_uring);
OPTIONS_SETTER(options_set_passthrough);

/* options_split.c; each returns 0/1 or -ENOMEM, results owned by the caller */

/*
 * The next of the options in *s, which commas separate, as typed (escapes
 * and quotes still in it). A backslash hides the character after it; a label
 * (context= and the like) may be quoted, and must then be closed: else
 * -EINVAL. Moves *s. Returns 1, or 0 at the end. Empty options are skipped.
 */
int optsplit_next(const char **s, char **ret);

/*
 * One level of backslashes removed. Three octal digits from \000 to \377
 * are a byte, as for libfuse; \000 itself is left as it is.
 */
int optsplit_unescape(const char *s, size_t len, char **ret);

/*
 * The next path of a lowerdir= list, as typed in *s; the list ends where
 * *s is NULL. Paths are separated by colons; see options_split.c for what
 * backslashes before a colon mean. Returns 1, or 0 at the end.
 */
int optsplit_lower(const char **s, char **ret);

#endif
