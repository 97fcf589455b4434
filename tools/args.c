/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines of plyctl: parsing by a command's table, help, complaints. */
#include "tools/plyctl.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sys.h"
#include "tools/out.h"

static const struct cmd_option common[] = {
	{ 0, "json", NULL, "print JSON" },
	{ 'h', "help", NULL, "print this and exit" },
	{ 0 },
};
static const struct cmd_option of_images[] = {
	{ 0, "platform", "OS/ARCH[/VARIANT]",
	  "of several platforms take this one, not this machine's" },
	{ 0 },
};
static const struct cmd_option of_cache[] = {
	{ 0, "layers", "DIR", "the layer cache, instead of $PLYFS_LAYERS or the usual one" },
	{ 0 },
};

/* The tables that a command has. */
static unsigned tables(const struct command *d, const struct cmd_option *ret[4])
{
	unsigned n = 0;

	if (d->options)
		ret[n++] = d->options;
	if (d->flags & CMD_IMAGE)
		ret[n++] = of_images;
	if (d->flags & (CMD_IMAGE | CMD_CACHE))
		ret[n++] = of_cache;
	ret[n++] = common;
	return n;
}

static const struct cmd_option *by_letter(const struct command *d, char letter)
{
	const struct cmd_option *t[4];
	unsigned n = tables(d, t), i;

	for (i = 0; i < n; i++)
		for (const struct cmd_option *o = t[i]; o->name; o++)
			if (o->letter == letter)
				return o;
	return NULL;
}

static const struct cmd_option *by_name(const struct command *d, const char *name, size_t len)
{
	const struct cmd_option *t[4];
	unsigned n = tables(d, t), i;

	for (i = 0; i < n; i++)
		for (const struct cmd_option *o = t[i]; o->name; o++)
			if (strlen(o->name) == len && !memcmp(o->name, name, len))
				return o;
	return NULL;
}

void cmd_say(const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	(void)fputs("plyctl: ", stderr);
	out_text(stderr, s ? s : "no memory");
	(void)fputc('\n', stderr);
	free(s);
}

int cmd_usage(const struct cmd *c, const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	cmd_say("%s", s ? s : "no memory");
	free(s);
	(void)fprintf(stderr, "usage: plyctl %s %s\nSee: plyctl help %s\n", c->def->name,
		      c->def->args, c->def->name);
	return CMD_USAGE;
}

int cmd_exit_code(int r)
{
	switch (-r) {
	case 0:
		return CMD_OK;
	case ENOENT:
	case ENOTDIR:
		return CMD_DIFFERENT;
	case EINVAL:
	case EBADMSG:
	case EIO:
	case ELOOP:
	case EPROTO:
	case EPROTONOSUPPORT:
	case ENODATA:
	case E2BIG:
	case EFBIG:
	case EEXIST:
	case EISDIR:
	case ENAMETOOLONG:
		return CMD_BAD;
	default:
		return CMD_SYSTEM;
	}
}

int cmd_fail(int r, char *err, const char *what)
{
	/* named once is enough */
	if (what && err && strstr(err, what))
		what = NULL;
	cmd_say("%s%s%s", what ? what : "", what ? ": " : "", err ? err : strerror(-r));
	free(err);
	return cmd_exit_code(r);
}

const char *cmd_option_nth(const struct cmd *c, const char *name, unsigned i)
{
	unsigned k;

	for (k = 0; k < c->ngiven; k++)
		if (!strcmp(c->given[k].option->name, name) && !i--)
			return c->given[k].value;
	return NULL;
}

const char *cmd_option(const struct cmd *c, const char *name)
{
	unsigned k;

	for (k = c->ngiven; k > 0; k--)
		if (!strcmp(c->given[k - 1].option->name, name))
			return c->given[k - 1].value;
	return NULL;
}

int cmd_parse_number(const char *s, uint64_t max, uint64_t *ret)
{
	char *end;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	errno = 0;
	*ret = strtoull(s, &end, 10);
	return errno || *end || *ret > max ? -EINVAL : 0;
}

int cmd_parse_size(const char *s, uint64_t *ret)
{
	static const char units[] = "KMGTP";
	const char *u;
	char *end;
	double v;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	v = strtod(s, &end);
	if (*end) {
		char c = *end >= 'a' && *end <= 'z' ? (char)(*end - 32) : *end;

		u = strchr(units, c);
		if (!u || strspn(s, "0123456789.") != (size_t)(end - s))
			return -EINVAL;
		v *= (double)(1ULL << (10 * (u - units + 1)));
		end++;
		if (*end == 'i')
			end++;
		if (*end == 'B')
			end++;
	}
	if (*end || v > 9e18)
		return -EINVAL;
	*ret = (uint64_t)v;
	return 0;
}

/* One option of the line; @value is what follows it, and *ret_used whether that was used. */
static int take(struct cmd *c, struct cmd_given *given, const struct cmd_option *o,
		const char *inl, const char *next, bool *ret_used)
{
	*ret_used = false;
	if (!o->arg && inl)
		return cmd_usage(c, "--%s takes no value", o->name);
	if (o->arg && !inl) {
		if (!next)
			return cmd_usage(c, "--%s needs a value: %s", o->name, o->arg);
		inl = next;
		*ret_used = true;
	}
	given[c->ngiven].option = o;
	given[c->ngiven++].value = inl ? inl : "";
	return CMD_OK;
}

static int take_letters(struct cmd *c, struct cmd_given *given, const char *s, const char *next,
			bool *ret_used)
{
	int r = CMD_OK;

	*ret_used = false;
	while (*s && r == CMD_OK) {
		const struct cmd_option *o = by_letter(c->def, *s);

		if (!o)
			return cmd_usage(c, "unknown option -%c", *s);
		s++;
		r = take(c, given, o, o->arg && *s ? s : NULL, next, ret_used);
		if (o->arg)
			break;
	}
	return r;
}

int cmd_parse(const struct command *def, int argc, char **argv, struct cmd *ret)
{
	struct cmd_given *given;
	size_t letters = 1;
	int i, r = CMD_OK;

	for (i = 0; i < argc; i++)
		letters += strlen(argv[i]) + 1;
	memset(ret, 0, sizeof(*ret));
	ret->def = def;
	ret->argv = sys_calloc((size_t)argc + 1, sizeof(char *));
	ret->given = given = sys_calloc(letters, sizeof(*given));
	if (!ret->argv || !given)
		return cmd_fail(-ENOMEM, NULL, NULL);
	for (i = 0; i < argc && r == CMD_OK; i++) {
		const char *a = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
		bool used = false;

		if (!strcmp(a, "--")) {
			while (++i < argc)
				ret->argv[ret->argc++] = argv[i];
		} else if (a[0] == '-' && a[1] == '-') {
			size_t len = strcspn(a + 2, "=");
			const struct cmd_option *o = by_name(def, a + 2, len);

			if (!o)
				return cmd_usage(ret, "unknown option %s", a);
			r = take(ret, given, o, a[2 + len] ? a + 3 + len : NULL, next, &used);
		} else if (a[0] == '-' && a[1]) {
			r = take_letters(ret, given, a + 1, next, &used);
		} else {
			ret->argv[ret->argc++] = argv[i];
		}
		i += used;
	}
	if (r != CMD_OK)
		return r;
	if (cmd_option(ret, "help"))
		return CMD_OK;
	ret->json = cmd_option(ret, "json") != NULL;
	ret->platform = cmd_option(ret, "platform");
	ret->layers = cmd_option(ret, "layers");
	if (ret->platform && !strchr(ret->platform, '/'))
		return cmd_usage(ret, "--platform %s: OS/ARCH or OS/ARCH/VARIANT, as linux/arm64",
				 ret->platform);
	if (ret->argc < def->min)
		return cmd_usage(ret, "something is missing");
	if (def->max >= 0 && ret->argc > def->max)
		return cmd_usage(ret, "too much: %s", ret->argv[def->max]);
	return CMD_OK;
}

static void print_option(const struct cmd_option *o)
{
	char left[80];
	int n = snprintf(left, sizeof(left), "  %c%c%s--%s%s%s", o->letter ? '-' : ' ',
			 o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
			 o->arg ? " " : "", o->arg ? o->arg : "");

	if (n >= 26)
		(void)printf("%s\n%26s%s\n", left, "", o->help);
	else
		(void)printf("%-26s%s\n", left, o->help);
}

void cmd_print_help(const struct command *def)
{
	const struct cmd_option *t[4];
	unsigned n = tables(def, t), i;

	(void)printf("usage: plyctl %s%s%s%s\n\n%c%s.\n", def->name,
		     def->options ? " [OPTION...]" : "", *def->args ? " " : "", def->args,
		     toupper(def->summary[0]), def->summary + 1);
	if (def->help)
		(void)printf("\n%s\n", def->help);
	(void)puts("\nOptions:");
	for (i = 0; i < n; i++)
		for (const struct cmd_option *o = t[i]; o->name; o++)
			print_option(o);
}
