/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plyctl: what all its commands share. A command is a struct command in a file
 * of its own, cmd_<verb>.c, and a row of the table in main.c. Its options are a table, from
 * which parsing, --help, the man page's test and the completions come.
 *
 * One process runs one command; memory that lives as long as it need not be
 * freed, but files that it made and mounts must not be left behind.
 */
#ifndef PLYFS_TOOLS_PLYCTL_H
#define PLYFS_TOOLS_PLYCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes, as plyctl(1) has them. */
enum {
	CMD_OK = 0,
	CMD_DIFFERENT = 1, /* a difference was found; or what was asked for is not there */
	CMD_USAGE = 2, /* the command line is wrong */
	CMD_BAD = 3, /* bad input: damaged, hostile, or of a kind that is not read */
	CMD_SYSTEM = 4, /* the system refused: permission, space, memory, a mount */
};

struct cmd_option {
	char letter; /* 0: none */
	const char *name; /* without dashes */
	const char *arg; /* what help calls its value; NULL: it has none */
	const char *help;
};

enum cmd_flags {
	CMD_IMAGE = 1 << 0, /* also has --platform and --layers */
	CMD_CACHE = 1 << 1, /* also has --layers */
};

struct cmd;

struct command {
	const char *name; /* "mount", or two words: "index info" */
	const char *args; /* "IMAGE DIR": operands, for help */
	const char *summary; /* one line */
	const char *help; /* more of it, lines of 76 columns at most, or NULL */
	const struct cmd_option
		*options; /* ends with a zero row; or NULL. All have --json and --help */
	int min, max; /* operands; max -1: any number */
	unsigned flags; /* enum cmd_flags */
	int (*run)(struct cmd *c); /* the exit code */
};

/* A command line, parsed. */
struct cmd {
	const struct command *def;
	int argc; /* operands, argv[argc] is NULL */
	char **argv;
	bool json;
	const char *platform, *layers; /* values of these options, or NULL */
	const struct cmd_given {
		const struct cmd_option *option;
		const char *value;
	} * given;
	unsigned ngiven;
};

/* The value of the last --name, "" if it has none; NULL where it was not given. */
const char *cmd_option(const struct cmd *c, const char *name);
/* The @i-th of several, NULL past the last. */
const char *cmd_option_nth(const struct cmd *c, const char *name, unsigned i);
/* A size such as 10, 4K, 1.5G (powers of 1024), or -EINVAL. */
int cmd_parse_size(const char *s, uint64_t *ret);
/* A decimal number up to @max, or -EINVAL. */
int cmd_parse_number(const char *s, uint64_t max, uint64_t *ret);

/* Parses argv (after the command's name). CMD_OK, or what to exit with; says why itself. */
int cmd_parse(const struct command *def, int argc, char **argv, struct cmd *ret);
void cmd_print_help(const struct command *def);

/* Prints "plyctl: " and the sentence on stderr, hostile bytes escaped. */
void cmd_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same of a usage error, with a hint at help: CMD_USAGE. */
int cmd_usage(const struct cmd *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/*
 * The same of what a library said: @err (freed) or else strerror(-r), after @what and ": " where
 * that is not NULL. The exit code for @r, a -errno.
 */
int cmd_fail(int r, char *err, const char *what);
int cmd_exit_code(int r);

extern const struct command cmd_mount, cmd_umount, cmd_ls, cmd_tree, cmd_cat, cmd_stat, cmd_find,
	cmd_du, cmd_history, cmd_index_info, cmd_layers, cmd_layers_prune, cmd_stats, cmd_pack,
	cmd_unpack, cmd_commit, cmd_convert, cmd_diff, cmd_verify, cmd_explore;

#endif
