/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows from the options together: defaults that depend on others,
 * what must be there, what excludes each other.
 */
#include "options_i.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

static bool is_empty(const char *s)
{
	return s == NULL || *s == '\0';
}

/* "/dev/fd/N", as mount.fuse3 -o drop_privileges says it, or -1. */
static int mountpoint_fd(const char *path)
{
	static const char prefix[] = "/dev/fd/";
	const char *s = path + sizeof(prefix) - 1;
	size_t n;

	if (strncmp(path, prefix, sizeof(prefix) - 1) != 0)
		return -1;
	n = strspn(s, "0123456789");
	return n > 0 && n <= 7 && s[n] == '\0' ? (int)strtol(s, NULL, 10) : -1;
}

/* What must be there for a mount, and must not be there together. */
static int require(struct optparse *p)
{
	struct options *o = p->o;

	if (is_empty(o->mountpoint))
		return options_fail(p->ret_error, -EINVAL,
				    "no mount point given");
	if (o->n_lower == 0)
		return options_fail(p->ret_error, -EINVAL,
				    "no lower layer given: option 'lowerdir' "
				    "is missing");
	if (o->upper != NULL && o->work == NULL && !o->ro)
		return options_fail(p->ret_error, -EINVAL,
				    "option 'upperdir' needs 'workdir' "
				    "(or 'ro')");
	if (o->passthrough != OPTIONS_PASSTHROUGH_OFF && o->writeback)
		return options_fail(p->ret_error, -EINVAL,
				    "options 'passthrough' and 'writeback' "
				    "exclude each other");
	if (o->metacopy && o->redirect_dir_given &&
	    (o->redirect_dir == OPTIONS_REDIRECT_OFF ||
	     o->redirect_dir == OPTIONS_REDIRECT_NOFOLLOW)) {
		if (!o->compat_name)
			return options_fail(p->ret_error, -EINVAL,
					    "option 'metacopy' needs "
					    "'redirect_dir=on' or 'follow'");
		o->metacopy = false;
		return options_warn(p, "option 'metacopy' ignored: it needs "
				       "'redirect_dir=on' or 'follow'");
	}
	return 0;
}

static void settle_timeouts(struct options *o)
{
	o->has_timeout = o->timeout >= 0 || o->entry_timeout >= 0 ||
			 o->attr_timeout >= 0 || o->negative_timeout >= 0;
	if (o->timeout < 0)
		o->timeout = OPTIONS_FOREVER;
	if (o->entry_timeout < 0)
		o->entry_timeout = o->timeout;
	if (o->attr_timeout < 0)
		o->attr_timeout = o->timeout;
	if (o->negative_timeout < 0)
		o->negative_timeout = o->timeout;
}

static int settle_names(struct optparse *p)
{
	struct options *o = p->o;

	if (o->fsname == NULL) {
		o->fsname = strdup(is_empty(o->source) ? o->name : o->source);
		if (o->fsname == NULL)
			return options_no_memory(p);
	}
	if (o->subtype == NULL) {
		o->subtype = strdup(o->compat_name ? OPTIONS_COMPAT_NAME : "plyfs");
		if (o->subtype == NULL)
			return options_no_memory(p);
	}
	return 0;
}

int options_settle(struct optparse *p)
{
	struct options *o = p->o;
	int r;

	o->ro_option = (o->ms_set & MS_RDONLY) != 0;
	o->ro = o->ro_option || o->upper == NULL;
	o->sync = (o->ms_set & MS_SYNCHRONOUS) != 0;
	o->dirsync = (o->ms_set & MS_DIRSYNC) != 0;
	if (o->debug)
		o->foreground = true;
	if (o->is_volatile)
		o->fsync = false;
	if (o->threads == 0 && p->single)
		o->threads = 1;
	o->has_max_readahead = o->max_readahead != OPTIONS_UNSAID;
	if (!o->has_max_readahead)
		o->max_readahead = 0;
	o->has_spin_us = o->spin_us != OPTIONS_UNSAID;
	if (!o->has_spin_us)
		o->spin_us = 0;
	settle_timeouts(o);
	if (o->mountpoint != NULL)
		o->mount_fd = mountpoint_fd(o->mountpoint);

	r = settle_names(p);
	if (r < 0 || o->help || o->version)
		return r;
	r = require(p);
	if (r < 0)
		return r;
	if (o->upper == NULL && o->work != NULL) {
		r = options_warn(p, "option 'workdir' ignored: there is no "
				    "'upperdir'");
		free(o->work);
		o->work = NULL;
	}
	return r;
}
