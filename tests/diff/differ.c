/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The differential test: random operations on a union and on a plain directory
 * that holds the same merged tree. Results, errno, data and final trees must
 * be equal. How the union is mounted comes from the command line, so the same
 * program judges plyfs, kernel overlayfs and others.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <getopt.h>

#include "shrink.h"

enum {
	O_SEED = 256,
	O_OPS,
	O_LAYERS,
	O_ENTRIES,
	O_WORK,
	O_MOUNT,
	O_UMOUNT,
	O_CROSS,
	O_SAVE,
	O_REPLAY,
	O_ROUNDS,
	O_TIME,
	O_SHRINK,
	O_CHECK,
	O_DROP_CACHES,
	O_NO,
	O_USERXATTR,
	O_NO_ORACLE,
};

static const struct option options[] = {
	{ "seed", 1, NULL, O_SEED },
	{ "ops", 1, NULL, O_OPS },
	{ "layers", 1, NULL, O_LAYERS },
	{ "entries", 1, NULL, O_ENTRIES },
	{ "work", 1, NULL, O_WORK },
	{ "mount", 1, NULL, O_MOUNT },
	{ "umount", 1, NULL, O_UMOUNT },
	{ "cross", 1, NULL, O_CROSS },
	{ "save", 1, NULL, O_SAVE },
	{ "replay", 1, NULL, O_REPLAY },
	{ "rounds", 1, NULL, O_ROUNDS },
	{ "time", 1, NULL, O_TIME },
	{ "shrink-time", 1, NULL, O_SHRINK },
	{ "check-every", 1, NULL, O_CHECK },
	{ "drop-caches", 0, NULL, O_DROP_CACHES },
	{ "userxattr", 0, NULL, O_USERXATTR },
	{ "no-oracle", 0, NULL, O_NO_ORACLE },
	{ "no", 1, NULL, O_NO },
	{ "help", 0, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
	"usage: differ --work DIR --mount CMD [options]\n"
	"  --mount CMD       mounts $LOWER (a:b, top first), $UPPER, $WORK at $MNT\n"
	"  --umount CMD      unmounts $MNT (default: umount \"$MNT\")\n"
	"  --cross CMD       at the end, mount the same upper with this: same tree?\n"
	"  --no-oracle       the plain directory does not judge; only --cross does\n"
	"  --seed N          default: from the clock; printed\n"
	"  --ops N           operations of a round (1000)\n"
	"  --layers N        lower layers (3)      --entries N  in the lowest (80)\n"
	"  --rounds N        rounds, each with the next seed (1)\n"
	"  --time S          no new round after S seconds; overrides --rounds\n"
	"  --check-every N   compare whole trees every N operations (100)\n"
	"  --drop-caches     drop the kernel's caches now and then\n"
	"  --userxattr       layers carry user.overlay.* marks\n"
	"  --no WHAT         leave out: ino ctime holes acl xattr uids remount\n"
	"                    dir-rename wh-files stray getflags direct links odd-xattrs\n"
	"                    long-names overlay-xattrs cross-nlink late-times\n"
	"  --save FILE       where a failing, shrunk sequence goes\n"
	"  --shrink-time S   give up shrinking after S seconds (120); 0: do not\n"
	"  --replay FILE     run what --save saved\n";

static int set_no(struct config *c, const char *what)
{
	struct {
		const char *name;
		int *flag;
		int value;
	} t[] = {
		{ "ino", &c->no_ino, 1 },
		{ "ctime", &c->no_ctime, 1 },
		{ "holes", &c->no_holes, 1 },
		{ "wh-files", &c->no_wh_files, 1 },
		{ "links", &c->no_links, 1 },
		{ "stray", &c->no_stray, 1 },
		{ "acl", &c->gen.acl, 0 },
		{ "xattr", &c->gen.xattr, 0 },
		{ "uids", &c->gen.uids, 0 },
		{ "late-times", &c->writeback, 1 },
		{ "overlay-xattrs", &c->gen.overlay_xattrs, 0 },
		{ "cross-nlink", &c->no_cross_nlink, 1 },
		{ "odd-xattrs", &c->gen.odd_xattrs, 0 },
		{ "long-names", &rand_name_long, 0 },
		{ "remount", &c->gen.remount, 0 },
		{ "dir-rename", &c->gen.dir_rename, 0 },
		{ "getflags", &c->gen.getflags, 0 },
		{ "direct", &c->gen.direct, 0 },
	};
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		if (!strcmp(t[i].name, what)) {
			*t[i].flag = t[i].value;
			return 0;
		}
	return -1;
}

static void report(const struct config *cfg, struct sequence *s,
		   const struct run *r)
{
	char cls[sizeof(r->cmp.cls)];
	FILE *f;

	strcpy(cls, r->cmp.cls);
	printf("FAILED seed=%llu after %zu operations, %s\n%s\n",
	       (unsigned long long)cfg->seed, r->at, cls, r->cmp.why);
	if (r->at < s->ops.n)
		op_print(stdout, &s->ops.v[r->at]);
	fflush(stdout);
	if (cfg->shrink_time && strncmp(cls, "hang", 4) &&
	    strcmp(cls, "setup")) {
		struct run *again;

		shrink(cfg, s, cls, r->at);
		again = run_new(cfg, s);
		if (run_all(again, &s->ops, NULL, 0))
			printf("shrunk to %zu operations, %zu entries: %s\n%s\n",
			       s->ops.n, s->layers.n, again->cmp.cls,
			       again->cmp.why);
		else
			printf("shrunk to %zu operations, %zu entries, which do not always fail\n",
			       s->ops.n, s->layers.n);
		run_free(again);
	}
	if (s->ops.n + s->layers.n <= 60)
		sequence_print(stdout, cfg, s);
	f = cfg->save ? fopen(cfg->save, "w") : NULL;
	if (f) {
		sequence_print(f, cfg, s);
		fclose(f);
		printf("saved: %s\n", cfg->save);
	}
}

static void prepare_layers(const struct config *cfg, struct layers *l)
{
	l->privileged = cfg->gen.privileged;
	l->no_stray = cfg->no_stray;
	l->userxattr = cfg->gen.userxattr;
}

static int one_round(const struct config *cfg)
{
	struct sequence s = { 0 };
	struct run *r;
	struct gen gen = cfg->gen;
	struct rng g = { .s = cfg->seed };
	size_t i;
	int failed;

	prepare_layers(cfg, &s.layers);
	layers_generate(&s.layers, &g, cfg->layers, cfg->entries);
	for (i = 0; i < s.layers.n; i++) {
		struct lent *e = &s.layers.v[i];

		if (cfg->no_wh_files)
			e->flags &= ~(unsigned int)ENT_WH_FILE;
		if (!cfg->gen.acl)
			e->flags &= ~(unsigned int)(ENT_ACL | ENT_DEFACL);
		if (cfg->no_links && e->type == 'h')
			e->type = 'f';
	}
	gen.rng.s = cfg->seed * 31 + 7;
	r = run_new(cfg, &s);
	failed = run_all(r, &s.ops, &gen, cfg->ops);
	if (failed)
		report(cfg, &s, r);
	else
		printf("ok seed=%llu, %ld operations, %zu entries in %d layers\n",
		       (unsigned long long)cfg->seed, cfg->ops, s.layers.n,
		       cfg->layers);
	fflush(stdout);
	run_free(r);
	names_free(&gen.paths);
	names_free(&gen.dirs);
	free(s.layers.v);
	free(s.ops.v);
	return failed;
}

static int replay(const struct config *cfg, const char *file)
{
	struct sequence s = { 0 };
	struct run *r;
	FILE *f = fopen(file, "r");
	int rc;

	prepare_layers(cfg, &s.layers);
	if (!f || sequence_read(f, &s)) {
		fprintf(stderr, "%s: not a replay file\n", file);
		return 2;
	}
	fclose(f);
	r = run_new(cfg, &s);
	rc = run_all(r, &s.ops, NULL, 0);
	if (rc)
		printf("FAILED at operation %zu, %s\n%s\n", r->at, r->cmp.cls,
		       r->cmp.why);
	else
		printf("ok\n");
	run_free(r);
	return rc;
}

int main(int argc, char **argv)
{
	struct config cfg = {
		.umount = "umount \"$MNT\"",
		.ops = 1000,
		.layers = 3,
		.entries = 80,
		.shrink_time = 120,
		.gen = {
			.odd_xattrs = 1,
			.overlay_xattrs = 1,
			.acl = 1,
			.dir_rename = 1,
			.xattr = 1,
			.getflags = 1,
			.direct = 1,
			.remount = 1,
			.check_every = 100,
		},
	};
	const char *replay_file = NULL;
	time_t began = time(NULL);
	long rounds = 1, limit = 0, i;
	int c, rc = 0, seeded = 0;

	cfg.gen.privileged = cfg.gen.uids = !geteuid();
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case O_SEED:
			cfg.seed = strtoull(optarg, NULL, 0);
			seeded = 1;
			break;
		case O_OPS:
			cfg.ops = atol(optarg);
			break;
		case O_LAYERS:
			cfg.layers = atoi(optarg);
			break;
		case O_ENTRIES:
			cfg.entries = atoi(optarg);
			break;
		case O_WORK:
			cfg.work = optarg;
			break;
		case O_MOUNT:
			cfg.mount = optarg;
			break;
		case O_UMOUNT:
			cfg.umount = optarg;
			break;
		case O_CROSS:
			cfg.cross = optarg;
			break;
		case O_SAVE:
			cfg.save = optarg;
			break;
		case O_REPLAY:
			replay_file = optarg;
			break;
		case O_ROUNDS:
			rounds = atol(optarg);
			break;
		case O_TIME:
			limit = atol(optarg);
			break;
		case O_SHRINK:
			cfg.shrink_time = atoi(optarg);
			break;
		case O_CHECK:
			cfg.gen.check_every = atoi(optarg);
			break;
		case O_DROP_CACHES:
			cfg.gen.drop_caches = 1;
			break;
		case O_USERXATTR:
			cfg.gen.userxattr = 1;
			cfg.gen.privileged = cfg.gen.uids = 0;
			break;
		case O_NO_ORACLE:
			cfg.no_oracle = 1;
			break;
		case O_NO:
			if (!set_no(&cfg, optarg))
				break;
			__attribute__((fallthrough));
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	if (!cfg.work || cfg.work[0] != '/' || !cfg.mount || cfg.layers < 1 ||
	    cfg.layers > 400) {
		fputs(usage, stderr);
		return 2;
	}
	umask(022);
	signal(SIGPIPE, SIG_IGN);
	acl_owner_may = !cfg.gen.privileged;
	if (replay_file)
		return replay(&cfg, replay_file);
	if (!seeded)
		cfg.seed = (uint64_t)time(NULL) * 1000 + (uint64_t)getpid();
	for (i = 0; !rc && (limit ? time(NULL) - began < limit : i < rounds);
	     i++, cfg.seed++) {
		printf("seed=%llu\n", (unsigned long long)cfg.seed);
		fflush(stdout);
		rc = one_round(&cfg);
	}
	return rc;
}
