/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --help and --version.
 */
#include "options.h"

#include "options_i.h"

#include <string.h>

static const char *const letters[][2] = {
	{ "-o OPTION[,OPTION...]", "options of the mount, see below" },
	{ "-f, --foreground", "stay in the foreground" },
	{ "-d, --debug", "log requests to stderr; implies -f" },
	{ "-s", "one thread, as -o threaded=0" },
	{ "-r", "read-only, as -o ro" },
	{ "-w", "writable, as -o rw" },
	{ "-t TYPE", "ignored, for mount(8)" },
	{ "-n", "ignored, for mount(8)" },
	{ "-v", "ignored, for mount(8)" },
	{ "-h, --help", "print this and exit" },
	{ "-V, --version", "print versions and exit" },
};

/* One entry in two columns; a name too long for the first stands alone. */
static void line(FILE *f, const char *name, const char *arg, const char *help)
{
	int width = (int)(strlen(name) + strlen(arg));

	fprintf(f, "  %s%s", name, arg);
	if (width >= 26)
		fprintf(f, "  %s\n", help);
	else
		fprintf(f, "%*s%s\n", 27 - width, "", help);
}

void options_print_help(FILE *f, const struct options *o)
{
	fprintf(f,
		"Usage: %s [-fd] [SOURCE] MOUNTPOINT -o lowerdir=DIR[:DIR...]"
		"[,upperdir=DIR,workdir=DIR][,OPTION...]\n"
		"Mount a stack of directories as one, changes going into the "
		"upper one.\n\n",
		o->name);
	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++)
		line(f, letters[i][0], "", letters[i][1]);

	for (unsigned int g = 0; g < GROUP_COUNT; g++) {
		fprintf(f, "\n%s:\n", options_group_title[g]);
		for (const struct options_entry *e = options_table; e->name;
		     e++)
			if (e->group == g)
				line(f, e->name, e->arg, e->help);
	}
}

void options_print_version(FILE *f, const struct options *o,
			   const char *libfuse, unsigned int kernel_major,
			   unsigned int kernel_minor)
{
	if (o->compat_name)
		fprintf(f, "fuse-overlayfs: version %s (plyfs %s)\n",
			OPTIONS_COMPAT_VERSION, PLYFS_VERSION);
	else
		fprintf(f,
			"plyfs: version %s\n"
			"fuse-overlayfs: version %s (compatible)\n",
			PLYFS_VERSION, OPTIONS_COMPAT_VERSION);
	if (libfuse != NULL)
		fprintf(f, "FUSE library version %s\n", libfuse);
	fprintf(f, "using FUSE kernel interface version %u.%u\n", kernel_major,
		kernel_minor);
}
