/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct stats {
	struct stats_file f;
};

static const char *const op_name[STATS_N_OPS] = {
	[0] = "OTHER",
	[1] = "LOOKUP",
	[2] = "FORGET",
	[3] = "GETATTR",
	[4] = "SETATTR",
	[5] = "READLINK",
	[6] = "SYMLINK",
	[8] = "MKNOD",
	[9] = "MKDIR",
	[10] = "UNLINK",
	[11] = "RMDIR",
	[12] = "RENAME",
	[13] = "LINK",
	[14] = "OPEN",
	[15] = "READ",
	[16] = "WRITE",
	[17] = "STATFS",
	[18] = "RELEASE",
	[20] = "FSYNC",
	[21] = "SETXATTR",
	[22] = "GETXATTR",
	[23] = "LISTXATTR",
	[24] = "REMOVEXATTR",
	[25] = "FLUSH",
	[26] = "INIT",
	[27] = "OPENDIR",
	[28] = "READDIR",
	[29] = "RELEASEDIR",
	[30] = "FSYNCDIR",
	[31] = "GETLK",
	[32] = "SETLK",
	[33] = "SETLKW",
	[34] = "ACCESS",
	[35] = "CREATE",
	[36] = "INTERRUPT",
	[37] = "BMAP",
	[38] = "DESTROY",
	[39] = "IOCTL",
	[40] = "POLL",
	[41] = "NOTIFY_REPLY",
	[42] = "BATCH_FORGET",
	[43] = "FALLOCATE",
	[44] = "READDIRPLUS",
	[45] = "RENAME2",
	[46] = "LSEEK",
	[47] = "COPY_RANGE",
	[48] = "SETUPMAPPING",
	[49] = "REMOVEMAPPING",
	[50] = "SYNCFS",
	[51] = "TMPFILE",
	[52] = "STATX",
	[53] = "COPY_RANGE_64",
};

static const char *const gauge_name[STATS_N_GAUGES] = {
	[STATS_NODES] = "nodes",
	[STATS_FDS] = "fds",
	[STATS_COPYUPS] = "copyups",
	[STATS_COPYUP_BYTES] = "copyup_bytes",
	[STATS_NOTIFIES] = "notifies",
	[STATS_NOTIFY_ERRORS] = "notify_errors",
	[STATS_URING] = "io_uring",
	[STATS_THREADS] = "threads",
	[STATS_POOL_THREADS] = "pool_threads",
	[STATS_BYTES_READ] = "bytes_read",
	[STATS_BYTES_WRITTEN] = "bytes_written",
	[STATS_PREFETCHED] = "prefetched",
	[STATS_PREFETCHED_BYTES] = "prefetch_bytes",
	[STATS_PREFETCH_CANCELLED] = "prefetch_cancel",
	[STATS_PACKED_CACHED] = "packed_cached",
	[STATS_PACKED_HITS] = "packed_hits",
	[STATS_PACKED_MISSES] = "packed_misses",
	[STATS_PACKED_LOADED] = "packed_loaded",
	[STATS_MOUNT_DEV] = "mount_dev",
};

/* What the counters are in: open for others to find. */
static int open_fd = -1;

static uint64_t realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* A new file of the right size beside @path, under a name of its own. */
static int create_file(const char *path, char **ret_tmp)
{
	char *tmp = NULL;
	int fd, r;

	if (asprintf(&tmp, "%s.%ld.tmp", path, (long)getpid()) < 0)
		return -ENOMEM;
	(void)unlink(tmp);
	fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0) {
		r = -errno;
		free(tmp);
		return r;
	}
	/* Allocated, not sparse: a full disk must not be a SIGBUS later. */
	r = posix_fallocate(fd, 0, sizeof(struct stats_file));
	if (r) {
		(void)unlink(tmp);
		free(tmp);
		close(fd);
		return -r;
	}
	*ret_tmp = tmp;
	return fd;
}

static void fill(struct stats_file *f)
{
	f->version = STATS_VERSION;
	f->size = sizeof(*f);
	f->n_ops = STATS_N_OPS;
	f->n_hist = STATS_N_HIST;
	f->n_gauges = STATS_N_GAUGES;
	f->pid = (uint32_t)getpid();
	f->start_ns = realtime_ns();
	for (unsigned int i = 0; i < STATS_N_OPS; i++)
		if (op_name[i])
			snprintf(f->op[i].name, STATS_NAME, "%s", op_name[i]);
	for (unsigned int i = 0; i < STATS_N_GAUGES; i++)
		snprintf(f->gauge[i].name, STATS_NAME, "%s", gauge_name[i]);
	f->magic = STATS_MAGIC;
}

/* Memory that others can find; -1 where there is no such thing. */
static int create_memory(void)
{
	int fd = memfd_create(STATS_MEMFD, MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, sizeof(struct stats_file))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

int stats_open(const char *path, struct stats **ret)
{
	int fd, r = 0;
	char *tmp = NULL;
	void *p;

	fd = path ? create_file(path, &tmp) : create_memory();
	if (path && fd < 0)
		return fd;
	p = mmap(NULL, sizeof(struct stats), PROT_READ | PROT_WRITE,
		 MAP_SHARED | (fd >= 0 ? 0 : MAP_ANONYMOUS), fd, 0);
	if (p == MAP_FAILED) {
		r = -errno;
	} else {
		fill(&((struct stats *)p)->f);
		if (path && rename(tmp, path)) {
			r = -errno;
			munmap(p, sizeof(struct stats));
		}
	}
	if (r && tmp)
		(void)unlink(tmp);
	free(tmp);
	if (r) {
		if (fd >= 0)
			close(fd);
		return r;
	}
	open_fd = fd;
	*ret = p;
	return 0;
}

void stats_close(struct stats *st)
{
	if (!st)
		return;
	atomic_store(&st->f.end_ns, realtime_ns());
	munmap(st, sizeof(*st));
	if (open_fd >= 0)
		close(open_fd);
	open_fd = -1;
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void stats_count(struct stats *st, uint32_t opcode)
{
	if (!st)
		return;
	if (opcode >= STATS_N_OPS || !op_name[opcode])
		opcode = 0;
	add(&st->f.op[opcode].count, 1);
}

void stats_reply(struct stats *st, uint32_t opcode, int error, uint64_t ns)
{
	uint64_t us = ns / 1000;
	unsigned int bucket = 0;
	struct stats_op *op;

	if (!st)
		return;
	if (opcode >= STATS_N_OPS || !op_name[opcode])
		opcode = 0;
	op = &st->f.op[opcode];
	if (us)
		bucket = 64 - (unsigned int)__builtin_clzll(us);
	if (bucket >= STATS_N_HIST)
		bucket = STATS_N_HIST - 1;
	add(&op->replies, 1);
	if (error)
		add(&op->errors, 1);
	add(&op->total_ns, ns);
	add(&op->hist[bucket], 1);
}

void stats_gauge_set(struct stats *st, enum stats_gauge g, int64_t value)
{
	if (st)
		atomic_store_explicit(&st->f.gauge[g].value, value,
				      memory_order_relaxed);
}

void stats_gauge_add(struct stats *st, enum stats_gauge g, int64_t delta)
{
	if (st)
		atomic_fetch_add_explicit(&st->f.gauge[g].value, delta,
					  memory_order_relaxed);
}

const struct stats_file *stats_view(const struct stats *st)
{
	return &st->f;
}

static void print_op(FILE *out, const struct stats_op *op)
{
	uint64_t count = atomic_load(&op->count);
	uint64_t replies = atomic_load(&op->replies);

	if (!count)
		return;
	fprintf(out, "%-16.*s %12" PRIu64 " %10" PRIu64 " %10.1f ", STATS_NAME,
		op->name, count, atomic_load(&op->errors),
		replies ? (double)atomic_load(&op->total_ns) / 1e3 / (double)replies : 0);
	for (unsigned int i = 0; i < STATS_N_HIST; i++)
		fprintf(out, "%s%" PRIu64, i ? "," : " ", atomic_load(&op->hist[i]));
	fputc('\n', out);
}

int stats_print(FILE *out, const char *path)
{
	const struct stats_file *f;
	uint64_t total = 0, end;
	struct stat st;
	int fd, r = 0;
	void *p;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		r = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(*f))
		r = -EINVAL;
	if (r) {
		close(fd);
		return r;
	}
	p = mmap(NULL, sizeof(*f), PROT_READ, MAP_SHARED, fd, 0);
	r = p == MAP_FAILED ? -errno : 0;
	close(fd);
	if (r)
		return r;
	f = p;
	if (f->magic != STATS_MAGIC || f->version != STATS_VERSION ||
	    f->size != sizeof(*f) || f->n_ops != STATS_N_OPS ||
	    f->n_hist != STATS_N_HIST || f->n_gauges != STATS_N_GAUGES) {
		munmap(p, sizeof(*f));
		return -EINVAL;
	}
	end = atomic_load(&f->end_ns);
	fprintf(out, "# pid %" PRIu32 ", %s for %.1f s\n", f->pid,
		end ? "ran" : "running",
		(double)((end ? end : realtime_ns()) - f->start_ns) / 1e9);
	fprintf(out, "# %-14s %12s %10s %10s  %s\n", "request", "count", "errors",
		"mean_us", "replies in <1,<2,<4,...<16384 us, slower");
	for (unsigned int i = 0; i < STATS_N_OPS; i++) {
		print_op(out, &f->op[i]);
		total += atomic_load(&f->op[i].count);
	}
	fprintf(out, "%-16s %12" PRIu64 "\n", "TOTAL", total);
	for (unsigned int i = 0; i < STATS_N_GAUGES; i++)
		fprintf(out, "%-16.*s %12" PRId64 "\n", STATS_NAME, f->gauge[i].name,
			atomic_load(&f->gauge[i].value));
	munmap(p, sizeof(*f));
	return 0;
}
