/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that are more than one value for one field.
 */
#include "options_i.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void drop_lowers(struct options *o)
{
	for (size_t i = 0; i < o->n_lower; i++)
		free(o->lower[i]);
	o->n_lower = 0;
}

/* Takes path, on failure too. */
static int push_lower(struct optparse *p, const char *name, char *path)
{
	struct options *o = p->o;

	if (*path == '\0') {
		free(path);
		return options_fail(p->ret_error, -EINVAL,
				    "option '%s': an empty path ('::' for "
				    "data-only layers is not supported)",
				    name);
	}
	if (o->n_lower == OPTIONS_MAX_LOWER) {
		free(path);
		return options_fail(p->ret_error, -EINVAL,
				    "option '%s': more than %d lower layers",
				    name, OPTIONS_MAX_LOWER);
	}
	if (o->lower == NULL) {
		o->lower = calloc(OPTIONS_MAX_LOWER, sizeof(*o->lower));
		if (o->lower == NULL) {
			free(path);
			return options_no_memory(p);
		}
	}
	o->lower[o->n_lower++] = path;
	return 0;
}

int options_set_lower(struct optparse *p, const struct options_entry *e,
		      const char *val)
{
	char *path;
	int r;

	drop_lowers(p->o);
	while ((r = optsplit_lower(&val, &path)) > 0) {
		r = push_lower(p, e->name, path);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return options_no_memory(p);
	return 0;
}

int options_add_lower(struct optparse *p, const struct options_entry *e,
		      const char *val)
{
	char *path = strdup(val);

	if (path == NULL)
		return options_no_memory(p);
	return push_lower(p, e->name, path);
}

static bool overlaps(uint32_t a, uint32_t a_len, uint32_t b, uint32_t b_len)
{
	return a < (uint64_t)b + b_len && b < (uint64_t)a + a_len;
}

static int push_range(struct optparse *p, const char *name,
		      struct options_idmap *map, struct options_id_range new)
{
	struct options_id_range *more;

	if (new.len == 0 || (uint64_t) new.host + new.len > UINT32_MAX ||
	    (uint64_t) new.view + new.len > UINT32_MAX)
		return options_fail(p->ret_error, -EINVAL,
				    "option '%s': the range %" PRIu32
				    ":%" PRIu32 ":%" PRIu32
				    " is empty or leaves the 32-bit ids",
				    name, new.host, new.view, new.len);
	for (size_t i = 0; i < map->n; i++) {
		const struct options_id_range *r = &map->range[i];

		if (overlaps(r->host, r->len, new.host, new.len) ||
		    overlaps(r->view, r->len, new.view, new.len))
			return options_fail(
				p->ret_error, -EINVAL,
				"option '%s': the range %" PRIu32 ":%" PRIu32
				":%" PRIu32 " overlaps another",
				name, new.host, new.view, new.len);
	}
	if (map->n == OPTIONS_MAX_RANGES)
		return options_fail(p->ret_error, -EINVAL,
				    "option '%s': more than %d ranges", name,
				    OPTIONS_MAX_RANGES);
	more = reallocarray(map->range, map->n + 1, sizeof(*more));
	if (more == NULL)
		return options_no_memory(p);
	more[map->n++] = new;
	map->range = more;
	return 0;
}

int options_add_ranges(struct optparse *p, const char *name,
		       struct options_idmap *map, const char *val)
{
	/* podman puts a colon before the first number */
	const char *s = val + (*val == ':');

	for (;;) {
		uint32_t id[3];

		for (int i = 0; i < 3; i++) {
			size_t n = strcspn(s, ":");

			if (!options_read_u32(s, n, UINT32_MAX, &id[i]) ||
			    (i < 2 && s[n] != ':'))
				return options_fail(
					p->ret_error, -EINVAL,
					"option '%s': '%s' is not "
					"HOST:TO:LEN[:HOST:TO:LEN...]",
					name, val);
			s += n;
			if (i < 2)
				s++;
		}
		int r = push_range(p, name, map,
				   (struct options_id_range){
					   .host = id[0],
					   .view = id[1],
					   .len = id[2] });

		if (r < 0 || *s == '\0')
			return r;
		s++;
	}
}

int options_set_map(struct optparse *p, const struct options_entry *e,
		    const char *val)
{
	struct options_idmap *map = options_field(p, e);

	map->n = 0;
	p->map = map;
	return options_add_ranges(p, e->name, map, val);
}

int options_set_squash(struct optparse *p, const struct options_entry *e,
		       const char *val)
{
	uint32_t v;

	if (!options_read_u32(val, strlen(val), UINT32_MAX - 1, &v))
		return options_bad(p, e, val, "an id from 0 to 4294967294");
	*(uint32_t *)options_field(p, e) = v;
	if (e->off == offsetof(struct options, squash_uid))
		p->o->has_squash_uid = true;
	else
		p->o->has_squash_gid = true;
	return 0;
}

int options_set_threaded(struct optparse *p, const struct options_entry *e,
			 const char *val)
{
	bool on;

	if (!options_read_bool(val, &on))
		return options_bad(p, e, val, "0 or 1");
	p->single = !on;
	return 0;
}

int options_set_redirect(struct optparse *p, const struct options_entry *e,
			 const char *val)
{
	p->o->redirect_dir_given = true;
	return options_set_word(p, e, val);
}

int options_set_plugins(struct optparse *p, const struct options_entry *e,
			const char *val)
{
	(void)e;
	if (val == NULL || *val == '\0')
		return 0;
	return options_warn(p, "option 'plugins=%s' ignored: plyfs loads no "
			       "plugins, lowers like //NAME/DATA/PATH are "
			       "plain paths",
			    val);
}

/* Where it is ignored, let at least nobody else in. */
int options_set_allow_root(struct optparse *p, const struct options_entry *e,
			   const char *val)
{
	p->o->allow_other = OPTIONS_OFF;
	return options_refuse(p, e, val);
}

int options_set_uring(struct optparse *p, const struct options_entry *e,
		      const char *val)
{
	struct options_entry word = *e;

	word.kind = KIND_WORD;
	word.arg = "=auto|on|off";
	return options_set(p, &word, val != NULL ? val : "on");
}

int options_set_passthrough(struct optparse *p, const struct options_entry *e,
			    const char *val)
{
	static const char *const strict[] = { "off", "on", "strict", NULL };
	struct options_entry word = *e;

	word.kind = KIND_WORD;
	word.arg = "=0|1|strict";
	word.word = strict;
	if (val == NULL || (val[0] == '1' && val[1] == '\0'))
		val = "on";
	else if (val[0] == '0' && val[1] == '\0')
		val = "off";
	return options_set(p, &word, val);
}
