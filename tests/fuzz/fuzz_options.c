/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a command line: arguments end in NUL bytes, the first is the
 * name. What is accepted must also survive being printed for the mount and
 * parsed again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

#define MAX_ARGS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The mount string is an option list; its names must come back as they were. */
static void parse_again(const struct options *o)
{
	char name[] = "plyfs", flag[] = "-o", layers[] = "lowerdir=/l,upperdir=/u,workdir=/w,atime",
	     mnt[] = "/m";
	char *error = NULL, *list = NULL;
	struct options again;

	if (options_mount_string(o, OPTIONS_MNT_ROOT | OPTIONS_MNT_SELINUX, &list) != 0)
		return;
	char *argv[] = { name, flag, layers, flag, list, mnt, NULL };

	/* A quote inside a label is not ours to hide: the kernel has none. */
	if (strchr(list, '"') == NULL) {
		if (options_parse(6, argv, &again, &error) != 0)
			abort();
		if (strcmp(o->fsname, again.fsname) != 0 ||
		    strcmp(o->subtype, again.subtype) != 0 || o->max_read != again.max_read ||
		    options_mount_flags(o, true) != options_mount_flags(&again, true))
			abort();
		options_free(&again);
	}
	free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[MAX_ARGS + 1];
	char *error = NULL;
	char *text;
	struct options o;
	size_t pos = 0;
	int argc = 0;
	int r;

	if (size > 65536)
		return 0;
	text = malloc(size + 1);
	if (text == NULL)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	while (pos <= size && argc < MAX_ARGS) {
		argv[argc++] = text + pos;
		pos += strlen(text + pos) + 1;
	}
	argv[argc] = NULL;

	r = options_parse(argc, argv, &o, &error);
	if ((r < 0) != (error != NULL))
		abort();
	if (r == 0) {
		if (!o.help && !o.version) {
			if (o.mountpoint == NULL || o.n_lower == 0 ||
			    o.n_lower > OPTIONS_MAX_LOWER)
				abort();
			parse_again(&o);
		}
		options_free(&o);
	}
	free(error);
	free(text);
	return 0;
}
