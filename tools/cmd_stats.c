/* SPDX-License-Identifier: Apache-2.0 */
/* plyctl stats: live counters of a mount. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "tools/mounts.h"
#include "tools/out.h"
#include "tools/plyctl.h"

/* The upper end, microseconds, of the bucket in which the share @q of the replies is; 0: none. */
static uint64_t quantile(const struct stats_op *op, double q)
{
	uint64_t total = 0, sum = 0;
	unsigned i;

	for (i = 0; i < STATS_N_HIST; i++)
		total += op->hist[i];
	for (i = 0; i < STATS_N_HIST && total; i++) {
		sum += op->hist[i];
		if ((double)sum >= q * (double)total)
			return 1ULL << i;
	}
	return 0;
}

static double mean(const struct stats_op *op)
{
	return op->replies ? (double)op->total_ns / 1e3 / (double)op->replies : 0;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static double lasted(const struct stats_file *f)
{
	uint64_t end = f->end_ns ? f->end_ns : now_ns();

	return end > f->start_ns ? (double)(end - f->start_ns) / 1e9 : 0;
}

static int64_t gauge(const struct stats_file *f, enum stats_gauge g)
{
	return f->gauge[g].value;
}

/* Names in the file are not to be trusted to end. */
static const char *name_of(const char *s, char buf[STATS_NAME + 1])
{
	memcpy(buf, s, STATS_NAME);
	buf[STATS_NAME] = 0;
	return buf;
}

static void print_json(const struct stats_file *f, const char *what, const char *source, int pid)
{
	char name[STATS_NAME + 1];
	unsigned i, k;

	json_object(NULL);
	json_string("mount", what);
	json_string("source", source);
	json_int("pid", pid);
	json_bool("running", !f->end_ns);
	json_real("seconds", lasted(f));
	json_array("requests");
	for (i = 0; i < STATS_N_OPS; i++) {
		const struct stats_op *op = &f->op[i];

		if (!op->count)
			continue;
		json_object(NULL);
		json_string("name", name_of(op->name, name));
		json_uint("count", op->count);
		json_uint("replies", op->replies);
		json_uint("errors", op->errors);
		json_uint("total_ns", op->total_ns);
		json_array("histogram_us");
		for (k = 0; k < STATS_N_HIST; k++)
			json_uint(NULL, op->hist[k]);
		json_end();
		json_end();
	}
	json_end();
	json_object("counters");
	for (i = 0; i < STATS_N_GAUGES; i++)
		json_int(name_of(f->gauge[i].name, name), f->gauge[i].value);
	json_end();
	json_end();
}

static void print_requests(const struct stats_file *f)
{
	char name[STATS_NAME + 1];
	uint64_t total = 0;
	unsigned i;

	(void)printf("%s%-16s %12s %8s %10s %8s %8s%s\n", out_colour(OUT_BOLD), "request", "count",
		     "errors", "mean us", "50% <us", "99% <us", out_colour(OUT_RESET));
	for (i = 0; i < STATS_N_OPS; i++) {
		const struct stats_op *op = &f->op[i];

		if (!op->count)
			continue;
		total += op->count;
		out_text(stdout, name_of(op->name, name));
		(void)printf("%*s %12" PRIu64 " %8" PRIu64, 16 - (int)strlen(name), "",
			     (uint64_t)op->count, (uint64_t)op->errors);
		if (op->replies)
			(void)printf(" %10.1f %8" PRIu64 " %8" PRIu64, mean(op), quantile(op, 0.5),
				     quantile(op, 0.99));
		(void)putchar('\n');
	}
	(void)printf("%-16s %12" PRIu64 "\n", "all", total);
}

static void print_text(const struct stats_file *f, const char *what, const char *source, int pid)
{
	int64_t hits = gauge(f, STATS_PACKED_HITS), misses = gauge(f, STATS_PACKED_MISSES);
	char a[OUT_SIZE], b[OUT_SIZE];

	out_text(stdout, what);
	(void)fputs(": ", stdout);
	out_text(stdout, source);
	(void)printf("\npid %d, %s for %.0f s, requests by %s\n\n", pid,
		     f->end_ns ? "ran" : "running", lasted(f),
		     gauge(f, STATS_URING) ? "io_uring" : "/dev/fuse");
	print_requests(f);
	(void)printf("\nread by requests     %6s\nwritten by requests  %6s\n",
		     out_size((uint64_t)gauge(f, STATS_BYTES_READ), a),
		     out_size((uint64_t)gauge(f, STATS_BYTES_WRITTEN), b));
	(void)printf("put into page cache  %6s in %" PRId64 " files, before they were asked for\n",
		     out_size((uint64_t)gauge(f, STATS_PREFETCHED_BYTES), a),
		     gauge(f, STATS_PREFETCHED));
	(void)printf("copied up            %6s in %" PRId64 " files\n",
		     out_size((uint64_t)gauge(f, STATS_COPYUP_BYTES), a), gauge(f, STATS_COPYUPS));
	if (hits + misses)
		(void)printf("decompressed         %6s; %" PRId64 " frames were in the cache, "
			     "%" PRId64 " not (%.0f%% hits)\n",
			     out_size((uint64_t)gauge(f, STATS_PACKED_LOADED), a), hits, misses,
			     100.0 * (double)hits / (double)(hits + misses));
	(void)printf("remembered           %6" PRId64 " inodes, %" PRId64 " open files\n",
		     gauge(f, STATS_NODES), gauge(f, STATS_FDS));
}

/* A file of counters, or a mount. CMD_OK or what to exit with. */
static int look(const char *what, struct stats_file *f, struct mount_info *m, int *ret_pid)
{
	struct stat st;
	int fd, r;

	if (stat(what, &st) == 0 && S_ISREG(st.st_mode)) {
		fd = sys_openat(AT_FDCWD, what, O_RDONLY | O_NONBLOCK, 0);
		r = fd < 0 ? fd : mount_counters(fd, f);
		sys_close(fd);
		*ret_pid = r == 0 ? (int)f->pid : 0;
		if (r == -EINVAL)
			return cmd_fail(r, strdup("no counters of a plyfs mount, or of another "
						  "version"),
					what);
		return r < 0 ? cmd_fail(r, NULL, what) : CMD_OK;
	}
	r = mount_find(what, m);
	if (r == -ENOENT)
		return cmd_fail(r, strdup("nothing is mounted there"), what);
	if (r == -EINVAL)
		return cmd_fail(r, strdup("this is no mount of plyfs"), what);
	if (r == 0)
		r = *ret_pid = mount_daemon(m->dev, f);
	if (r == -ENOENT)
		return cmd_fail(
			r, strdup("no daemon of it is found, of those that you may look at"), what);
	return r < 0 ? cmd_fail(r, NULL, what) : CMD_OK;
}

static int run(struct cmd *c)
{
	_cleanup_free_ struct stats_file *f = sys_calloc(1, sizeof(*f));
	struct mount_info m = { 0 };
	const char *what = c->argv[0];
	int pid = 0, code;

	if (!f)
		return cmd_fail(-ENOMEM, NULL, NULL);
	code = look(what, f, &m, &pid);
	if (code == CMD_OK && c->json)
		print_json(f, m.point ? m.point : what, m.source, pid);
	else if (code == CMD_OK)
		print_text(f, m.point ? m.point : what, m.source ? m.source : "a file", pid);
	mount_info_free(&m);
	return code;
}

const struct command cmd_stats = {
	.name = "stats",
	.args = "DIR",
	.summary = "Show the live counters of a mount",
	.help = "Requests by kind with their latencies, bytes, and what caches held. Instead of\n"
		"the mountpoint, a file of plyfs -o stats=FILE. Its user and root may look.",
	.min = 1,
	.max = 1,
	.run = run,
};
