/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that go into the mount itself, for mount(2) and for libfuse.
 */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

unsigned long options_mount_flags(const struct options *o, bool root)
{
	unsigned long flags = MS_NODEV | MS_NOATIME;

	if (!root)
		flags |= MS_NOSUID;
	flags = (flags & ~o->ms_clear) | o->ms_set;
	if (o->ro)
		flags |= MS_RDONLY;
	return flags;
}

/* Append ",NAME[VALUE]" with the value escaped for fuse_opt(3). */
static void put(FILE *f, const char *name, const char *value)
{
	if (ftell(f) > 0)
		fputc(',', f);
	fputs(name, f);
	for (; value != NULL && *value != '\0'; value++) {
		if (*value == ',' || *value == '\\')
			fputc('\\', f);
		fputc(*value, f);
	}
}

static void put_flags(FILE *f, unsigned long flags)
{
	static const struct {
		unsigned long flag;
		const char *on;
		const char *off; /* where libfuse's default is "on" */
	} name[] = {
		{ MS_RDONLY, "ro", NULL },
		{ MS_NOSUID, "nosuid", "suid" },
		{ MS_NODEV, "nodev", "dev" },
		{ MS_NOEXEC, "noexec", NULL },
		{ MS_SYNCHRONOUS, "sync", NULL },
		{ MS_DIRSYNC, "dirsync", NULL },
		{ MS_NOATIME, "noatime", NULL },
		{ MS_NODIRATIME, "nodiratime", NULL },
		{ MS_RELATIME, "relatime", NULL },
		{ MS_STRICTATIME, "strictatime", NULL },
		{ MS_LAZYTIME, "lazytime", NULL },
	};

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		if (flags & name[i].flag)
			put(f, name[i].on, NULL);
		else if (name[i].off != NULL)
			put(f, name[i].off, NULL);
	}
}

/* The kernel wants labels with commas in quotes. */
static void put_label(FILE *f, const char *name, const char *label)
{
	if (label == NULL)
		return;
	put(f, name, "\"");
	for (; *label != '\0'; label++) {
		if (*label == ',' || *label == '\\')
			fputc('\\', f);
		fputc(*label, f);
	}
	fputc('"', f);
}

static void put_all(FILE *f, const struct options *o, unsigned int flags)
{
	bool root = (flags & OPTIONS_MNT_ROOT) != 0;
	char num[16];

	put(f, "default_permissions", NULL);
	if (o->allow_other == OPTIONS_ON ||
	    (o->allow_other == OPTIONS_UNSET && root))
		put(f, "allow_other", NULL);
	put_flags(f, options_mount_flags(o, root));
	put(f, "fsname=", o->fsname);
	put(f, "subtype=", o->subtype);
	if (o->max_read > 0) {
		snprintf(num, sizeof(num), "%u", o->max_read);
		put(f, "max_read=", num);
	}
	if (o->auto_unmount)
		put(f, "auto_unmount", NULL);
	if (flags & OPTIONS_MNT_SELINUX) {
		put_label(f, "context=", o->context);
		put_label(f, "fscontext=", o->fscontext);
		put_label(f, "defcontext=", o->defcontext);
		put_label(f, "rootcontext=", o->rootcontext);
	}
}

int options_mount_string(const struct options *o, unsigned int flags,
			 char **ret)
{
	char *buf = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&buf, &size);
	bool failed;

	if (f == NULL)
		return -ENOMEM;
	put_all(f, o, flags);
	failed = ferror(f) != 0;
	if (fclose(f) != 0 || failed) {
		free(buf);
		return -ENOMEM;
	}
	*ret = buf;
	return 0;
}
