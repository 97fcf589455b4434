/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl: the table of commands, help, and how to begin. */
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "tools/out.h"
#include "tools/plyctl.h"

/* In the order of help. A row without a command is a heading. */
static const struct {
	const struct command *cmd;
	const char *heading;
} table[] = {
	{ NULL, "Mount" },
	{ &cmd_mount, NULL },
	{ &cmd_umount, NULL },
	{ &cmd_stats, NULL },
	{ NULL, "Look into an image" },
	{ &cmd_ls, NULL },
	{ &cmd_tree, NULL },
	{ &cmd_cat, NULL },
	{ &cmd_stat, NULL },
	{ &cmd_find, NULL },
	{ &cmd_du, NULL },
	{ &cmd_history, NULL },
	{ &cmd_index_info, NULL },
	{ NULL, "Making and unmaking" },
	{ &cmd_pack, NULL },
	{ &cmd_unpack, NULL },
	{ &cmd_commit, NULL },
	{ &cmd_convert, NULL },
	{ NULL, "Compare and check" },
	{ &cmd_diff, NULL },
	{ &cmd_verify, NULL },
	{ &cmd_explore, NULL },
	{ NULL, "The layer cache" },
	{ &cmd_layers, NULL },
	{ &cmd_layers_prune, NULL },
};

static const struct command *find(const char *a, const char *b, int *ret_words)
{
	const struct command *found = NULL;
	size_t i, len = strlen(a);

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct command *c = table[i].cmd;

		if (!c)
			continue;
		if (!strcmp(c->name, a)) {
			if (!found) {
				found = c;
				*ret_words = 1;
			}
		} else if (b && !strncmp(c->name, a, len) && c->name[len] == ' ' &&
			   !strcmp(c->name + len + 1, b)) {
			found = c;
			*ret_words = 2;
		}
	}
	return found;
}

static void print_begin(void)
{
	(void)puts("plyctl looks into container images, and mounts them without unpacking.\n"
		   "\n"
		   "To begin:\n"
		   "  plyctl mount IMAGE DIR         then DIR shows the image; plyctl umount DIR\n"
		   "  plyctl ls IMAGE /etc           list a directory of it\n"
		   "  plyctl history IMAGE           what its layers hold and waste\n"
		   "\n"
		   "IMAGE is one of these, or the path of one:\n"
		   "  oci:DIR[:TAG]  oci-archive:FILE[:TAG]  docker-archive:FILE[:NAME]\n"
		   "  containers-storage:NAME        podman's own images\n"
		   "  a layer's tarball, an index, or a root directory\n");
}

static void print_commands(void)
{
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].cmd)
			(void)printf("  %-15s %c%s\n", table[i].cmd->name,
				     toupper(table[i].cmd->summary[0]), table[i].cmd->summary + 1);
		else if (table[i].heading)
			(void)printf("%s%s:\n", i ? "\n" : "", table[i].heading);
	}
	(void)puts("\nplyctl help COMMAND, or plyctl(1), say more. --json prints JSON with any.");
}

static int unknown(const char *what)
{
	cmd_say("there is no command '%s'; see: plyctl help", what);
	return CMD_USAGE;
}

static int help(int argc, char **argv)
{
	const struct command *c;
	int words;

	if (argc < 1) {
		(void)puts("usage: plyctl COMMAND [OPTION...] [ARGUMENT...]\n");
		print_commands();
		return CMD_OK;
	}
	c = find(argv[0], argc > 1 ? argv[1] : NULL, &words);
	if (!c)
		return unknown(argv[0]);
	cmd_print_help(c);
	return CMD_OK;
}

static int run(int argc, char **argv)
{
	const struct command *def;
	struct cmd c;
	int words = 1, r;

	if (argc < 2) {
		print_begin();
		print_commands();
		return CMD_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		(void)printf("plyctl: version %s\n", PLYFS_VERSION);
		return CMD_OK;
	}
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return help(argc - 2, argv + 2);
	def = find(argv[1], argc > 2 ? argv[2] : NULL, &words);
	if (!def)
		return unknown(argv[1]);
	r = cmd_parse(def, argc - 1 - words, argv + 1 + words, &c);
	if (r != CMD_OK)
		return r;
	if (cmd_option(&c, "help")) {
		cmd_print_help(def);
		return CMD_OK;
	}
	return def->run(&c);
}

int main(int argc, char **argv)
{
	int code, r;

	(void)setlocale(LC_ALL, "");
	(void)setlocale(LC_NUMERIC, "C");
	log_init("plyctl", LOG_WARNING);
	code = run(argc, argv);
	r = out_flush();
	/* who reads us has had enough: that is no failure of ours */
	if (r < 0 && r != -EPIPE) {
		cmd_say("standard output: %s", strerror(-r));
		return CMD_SYSTEM;
	}
	return code;
}
