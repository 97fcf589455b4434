/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One option with its value: read by its kind, put into its field.
 */
#include "options_i.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void *options_field(struct optparse *p, const struct options_entry *e)
{
	return (char *)p->o + e->off;
}

/* Digits only, up to max. True if s is such a number. */
bool options_read_u32(const char *s, size_t len, uint32_t max, uint32_t *ret)
{
	uint64_t v = 0;

	if (len == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s[i] - '0');
		if (v > max)
			return false;
	}
	*ret = (uint32_t)v;
	return true;
}

bool options_read_bool(const char *s, bool *ret)
{
	if (s == NULL || strcmp(s, "1") == 0 || strcmp(s, "on") == 0)
		*ret = true;
	else if (strcmp(s, "0") == 0 || strcmp(s, "off") == 0)
		*ret = false;
	else
		return false;
	return true;
}

/* Seconds as people write them: no sign, no hex, no "inf". */
static bool read_seconds(const char *s, double *ret)
{
	char *end;
	double v;

	if (*s == '\0' || s[strspn(s, "0123456789.eE+-")] != '\0' ||
	    *s == '-' || *s == '+')
		return false;
	v = strtod(s, &end);
	if (*end != '\0' || end == s || !isfinite(v) || v < 0)
		return false;
	*ret = v < OPTIONS_FOREVER ? v : OPTIONS_FOREVER;
	return true;
}

int options_bad(struct optparse *p, const struct options_entry *e,
		const char *val, const char *want)
{
	return options_fail(p->ret_error, -EINVAL,
			    "option '%s': '%s' is not %s", e->name, val, want);
}

static int need_value(struct optparse *p, const struct options_entry *e)
{
	return options_fail(p->ret_error, -EINVAL,
			    "option '%s' needs a value: %s%s", e->name, e->name,
			    e->arg);
}

static int set_string(struct optparse *p, const struct options_entry *e,
		      const char *val)
{
	char **f = options_field(p, e);
	char *copy = strdup(val);

	if (copy == NULL)
		return options_no_memory(p);
	free(*f);
	*f = copy;
	return 0;
}

/* The quotes were checked when the options were split. */
static int set_label(struct optparse *p, const struct options_entry *e,
		     const char *val)
{
	char **f;
	size_t n;
	int r;

	if (*val != '"') {
		char *plain;

		r = optsplit_unescape(val, strlen(val), &plain);
		if (r < 0)
			return options_no_memory(p);
		r = *plain == '\0' ? need_value(p, e) : set_string(p, e, plain);
		free(plain);
		return r;
	}

	n = strlen(val) - 2;
	if (n == 0)
		return need_value(p, e);
	r = set_string(p, e, val + 1);
	if (r < 0)
		return r;
	f = options_field(p, e);
	(*f)[n] = '\0';
	return 0;
}

int options_set_word(struct optparse *p, const struct options_entry *e,
		     const char *val)
{
	char list[128] = "";
	size_t used = 0;

	for (unsigned int i = 0; e->word[i] != NULL; i++) {
		if (strcmp(val, e->word[i]) == 0) {
			*(unsigned int *)options_field(p, e) = i;
			return 0;
		}
		if (used < sizeof(list)) {
			int n = snprintf(list + used, sizeof(list) - used,
					 "%s%s", i > 0 ? ", " : "one of ",
					 e->word[i]);

			used += n > 0 ? (size_t)n : 0;
		}
	}
	return options_bad(p, e, val, list);
}

/* An option that plyfs can't do. fuse-overlayfs would have ignored it. */
int options_refuse(struct optparse *p, const struct options_entry *e,
		   const char *val)
{
	const char *eq = val != NULL ? "=" : "";

	if (val == NULL)
		val = "";
	if (p->o->compat_name && e->kind != KIND_FATAL)
		return options_warn(p, "option '%s%s%s' ignored: %s", e->name,
				    eq, val, e->help);
	return options_fail(p->ret_error, -EINVAL,
			    "option '%s%s%s' is not supported: %s", e->name, eq,
			    val, e->help);
}

static int set_only(struct optparse *p, const struct options_entry *e,
		    const char *val)
{
	for (size_t i = 0; val != NULL && e->word[i] != NULL; i++)
		if (strcmp(val, e->word[i]) == 0)
			return 0;
	return options_refuse(p, e, val);
}

static int set_ms(struct optparse *p, const struct options_entry *e,
		  const char *val)
{
	struct options *o = p->o;
	unsigned long set = e->set, clear = e->clear;
	bool on;

	if (!options_read_bool(val, &on))
		return options_bad(p, e, val, "0 or 1");
	if (!on) {
		set = e->clear;
		clear = e->set;
	}
	o->ms_set = (o->ms_set & ~clear) | set;
	o->ms_clear = (o->ms_clear & ~set) | clear;
	return 0;
}

static int set_uint(struct optparse *p, const struct options_entry *e,
		    const char *val)
{
	char want[64];
	uint32_t v;

	if (options_read_u32(val, strlen(val), e->max, &v) && v >= e->min) {
		*(unsigned int *)options_field(p, e) = v;
		return 0;
	}
	snprintf(want, sizeof(want), "a number from %u to %u", e->min, e->max);
	return options_bad(p, e, val, want);
}

/* By kind, with the value unescaped. */
static int set_plain(struct optparse *p, const struct options_entry *e,
		     const char *val)
{
	bool on;

	switch (e->kind) {
	case KIND_NOOP:
		return 0;
	case KIND_REFUSED:
	case KIND_FATAL:
		return options_refuse(p, e, val);
	case KIND_ONLY:
		return set_only(p, e, val);
	case KIND_BOOL:
		if (!options_read_bool(val, &on))
			return options_bad(p, e, val, "0 or 1");
		*(bool *)options_field(p, e) = on;
		return 0;
	case KIND_TRI:
		if (!options_read_bool(val, &on))
			return options_bad(p, e, val, "0 or 1");
		*(enum options_tri *)options_field(p, e) =
			on == (e->num == OPTIONS_ON) ? OPTIONS_ON : OPTIONS_OFF;
		return 0;
	case KIND_MS:
		return set_ms(p, e, val);
	case KIND_UINT:
		return set_uint(p, e, val);
	case KIND_SECONDS:
		if (!read_seconds(val, (double *)options_field(p, e)))
			return options_bad(p, e, val, "a number of seconds");
		return 0;
	case KIND_STRING:
		return set_string(p, e, val);
	case KIND_WORD:
		return options_set_word(p, e, val);
	case KIND_LABEL:
		return set_label(p, e, val);
	case KIND_CALL:
		return e->call(p, e, val);
	}
	return 0;
}

/* Whether the arg of the table says that a value must, or must not be. */
static bool value_needed(const struct options_entry *e)
{
	return e->arg[0] == '=' &&
	       (e->kind >= KIND_UINT || e->kind == KIND_BOOL ||
		e->kind == KIND_TRI || e->kind == KIND_MS);
}

static bool value_refused(const struct options_entry *e)
{
	return e->arg[0] == '\0' && e->kind > KIND_FATAL;
}

int options_set(struct optparse *p, const struct options_entry *e,
		const char *raw)
{
	char *val;
	int r;

	if (raw != NULL && value_refused(e))
		return options_fail(p->ret_error, -EINVAL,
				    "option '%s' takes no value, but has '%s'",
				    e->name, raw);
	if ((raw == NULL || *raw == '\0') && value_needed(e))
		return need_value(p, e);
	if (raw == NULL || e->raw)
		return set_plain(p, e, raw);

	r = optsplit_unescape(raw, strlen(raw), &val);
	if (r < 0)
		return options_no_memory(p);
	r = set_plain(p, e, val);
	free(val);
	return r;
}
