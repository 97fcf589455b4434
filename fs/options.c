/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line from argv to struct options: arguments, and the
 * options of each -o by the table.
 */
#include "options.h"

#include "options_i.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#define COMPAT_ENV "FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT"

int options_fail(char **ret_error, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ret_error, fmt, ap) < 0)
		*ret_error = NULL;
	va_end(ap);
	return err;
}

int options_no_memory(struct optparse *p)
{
	return options_fail(p->ret_error, -ENOMEM, "out of memory");
}

int options_warn(struct optparse *p, const char *fmt, ...)
{
	struct options *o = p->o;
	char **more;
	va_list ap;
	char *text;
	int r;

	more = reallocarray(o->warning, o->n_warning + 1, sizeof(*more));
	if (more == NULL)
		return options_no_memory(p);
	o->warning = more;
	va_start(ap, fmt);
	r = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (r < 0)
		return options_no_memory(p);
	o->warning[o->n_warning++] = text;
	return 0;
}

const struct options_entry *options_find(const char *name)
{
	for (const struct options_entry *e = options_table; e->name; e++) {
		size_t n = strlen(e->name);

		if (e->name[n - 1] == '*' ? strncmp(name, e->name, n - 1) == 0 :
					    strcmp(name, e->name) == 0)
			return e;
	}
	return NULL;
}

/* What fuse-overlayfs does with an argument that it does not know. */
static int unknown(struct optparse *p, const char *text)
{
	if (p->o->compat_name)
		return options_warn(p, "unknown argument ignored: %s", text);
	return options_fail(p->ret_error, -EINVAL, "unknown option '%s'",
			    text);
}

/*
 * "uidmapping=0:1:2,3:4:5": the man page of fuse-overlayfs separates
 * ranges by commas. No option's name is a number, so this can't mean
 * anything else.
 */
static bool continues_map(const struct optparse *p, const char *text)
{
	return p->map != NULL && strchr(text, ':') != NULL &&
	       text[strspn(text, "0123456789:")] == '\0';
}

/* One option, as typed. Changes text. */
static int parse_option(struct optparse *p, char *text)
{
	const struct options_entry *e;
	char *eq;

	if (continues_map(p, text))
		return options_add_ranges(p,
					  p->map == &p->o->uidmap ?
						  "uidmapping" :
						  "gidmapping",
					  p->map, text);
	p->map = NULL;

	eq = strchr(text, '=');
	if (eq != NULL)
		*eq = '\0';
	e = options_find(text);
	if (e != NULL)
		return options_set(p, e, eq != NULL ? eq + 1 : NULL);
	if (eq != NULL)
		*eq = '=';
	return unknown(p, text);
}

/* The value of one -o. */
static int parse_options(struct optparse *p, const char *s)
{
	char *text;
	int r;

	while ((r = optsplit_next(&s, &text)) > 0) {
		r = parse_option(p, text);
		free(text);
		if (r < 0)
			return r;
	}
	if (r == -EINVAL)
		return options_fail(p->ret_error, r,
				    "option '%s': the quotes do not match",
				    s + strspn(s, ","));
	return r < 0 ? options_no_memory(p) : 0;
}

static int parse_long(struct optparse *p, const char *arg)
{
	struct options *o = p->o;

	if (strcmp(arg, "--help") == 0)
		o->help = true;
	else if (strcmp(arg, "--version") == 0)
		o->version = true;
	else if (strcmp(arg, "--debug") == 0)
		o->debug = true;
	else if (strcmp(arg, "--foreground") == 0)
		o->foreground = true;
	else
		return unknown(p, arg);
	return 0;
}

/*
 * Single letters, several of which may stand together: "-fd". The last may
 * take a value, from this argument or the next (at argv[*i + 1]).
 */
static int parse_letters(struct optparse *p, int argc, char *const argv[],
			 int *i)
{
	struct options *o = p->o;

	for (const char *s = argv[*i] + 1; *s != '\0'; s++) {
		const char *val = s + 1;
		char name[3] = { '-', *s, '\0' };

		switch (*s) {
		case 'h':
			o->help = true;
			continue;
		case 'V':
			o->version = true;
			continue;
		case 'f':
			o->foreground = true;
			continue;
		case 'd':
			o->debug = true;
			continue;
		case 's':
			p->single = true;
			continue;
		case 'r':
			o->ms_set |= MS_RDONLY;
			o->ms_clear &= ~(unsigned long)MS_RDONLY;
			continue;
		case 'w':
			o->ms_clear |= MS_RDONLY;
			o->ms_set &= ~(unsigned long)MS_RDONLY;
			continue;
		case 'n': /* of mount(8): no mtab, be verbose */
		case 'v':
			continue;
		case 'o':
		case 't':
			break;
		default:
			return unknown(p, name);
		}

		if (*val == '\0') {
			if (*i + 1 >= argc || argv[*i + 1] == NULL)
				return options_fail(p->ret_error, -EINVAL,
						    "option '%s' needs a value",
						    name);
			val = argv[++*i];
		}
		p->map = NULL;
		return *s == 'o' ? parse_options(p, val) : 0;
	}
	return 0;
}

/* Everything but what follows from it; the operands to operand[0..1]. */
static int parse_args(struct optparse *p, int argc, char *const argv[],
		      const char *operand[2], int *n_operand)
{
	bool only_operands = false;

	for (int i = 1; i < argc && argv[i] != NULL; i++) {
		const char *arg = argv[i];
		int r = 0;

		if (!only_operands && strcmp(arg, "--") == 0) {
			only_operands = true;
		} else if (!only_operands && strncmp(arg, "--", 2) == 0) {
			r = parse_long(p, arg);
		} else if (!only_operands && arg[0] == '-' && arg[1] != '\0') {
			r = parse_letters(p, argc, argv, &i);
		} else if (*n_operand == 2) {
			r = options_fail(p->ret_error, -EINVAL,
					 "too many arguments: '%s'", arg);
		} else {
			operand[(*n_operand)++] = arg;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_operands(struct optparse *p, const char *operand[2], int n)
{
	struct options *o = p->o;

	if (n == 2) {
		o->source = strdup(operand[0]);
		if (o->source == NULL)
			return options_no_memory(p);
	}
	if (n > 0) {
		o->mountpoint = strdup(operand[n - 1]);
		if (o->mountpoint == NULL)
			return options_no_memory(p);
	}
	return 0;
}

static bool is_empty(const char *s)
{
	return s == NULL || *s == '\0';
}

static int init(struct optparse *p, const char *argv0)
{
	struct options *o = p->o;
	const char *env = getenv(COMPAT_ENV);
	const char *base = argv0 != NULL ? strrchr(argv0, '/') : NULL;
	size_t n, m = sizeof(OPTIONS_COMPAT_NAME) - 1;

	*o = (struct options){
		.mount_fd = -1,
		.xino = OPTIONS_XINO_AUTO,
		.redirect_dir = OPTIONS_REDIRECT_ON,
		.index = true,
		.fsync = true,
		.prefetch = true,
		.timeout = -1,
		.entry_timeout = -1,
		.attr_timeout = -1,
		.negative_timeout = -1,
		.max_readahead = OPTIONS_UNSAID,
		.spin_us = OPTIONS_UNSAID,
		.wh_files = !is_empty(env) && strcmp(env, "0") != 0,
	};
	base = base != NULL ? base + 1 : argv0;
	o->name = strdup(is_empty(base) ? "plyfs" : base);
	if (o->name == NULL)
		return options_no_memory(p);
	n = strlen(o->name);
	o->compat_name = n >= m && strcmp(o->name + n - m, OPTIONS_COMPAT_NAME) == 0;
	return 0;
}

int options_parse(int argc, char *const argv[], struct options *ret,
		  char **ret_error)
{
	const char *operand[2] = { NULL, NULL };
	struct optparse p = { .o = ret, .ret_error = ret_error };
	int n_operand = 0;
	int r;

	*ret_error = NULL;
	r = init(&p, argc > 0 ? argv[0] : NULL);
	if (r == 0)
		r = parse_args(&p, argc, argv, operand, &n_operand);
	if (r == 0)
		r = set_operands(&p, operand, n_operand);
	if (r == 0)
		r = options_settle(&p);
	if (r < 0)
		options_free(ret);
	return r;
}

static void free_list(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

void options_free(struct options *o)
{
	if (o == NULL)
		return;
	free_list(o->lower, o->n_lower);
	free_list(o->warning, o->n_warning);
	free(o->uidmap.range);
	free(o->gidmap.range);
	free(o->name);
	free(o->upper);
	free(o->work);
	free(o->mountpoint);
	free(o->source);
	free(o->fsname);
	free(o->subtype);
	free(o->stats);
	free(o->context);
	free(o->fscontext);
	free(o->defcontext);
	free(o->rootcontext);
	*o = (struct options){ .mount_fd = -1 };
}
