/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "fuse_ll.h"
#include "interrupt.h"
#include "proto.h"
#include "transport_i.h"
#include "unmount.h"

#define MAX_THREADS 16
#define DEFAULT_SPIN_US 40
/* Descriptors that the table has room for from the start, if so many are allowed. */
#define DESCRIPTORS 2048
/* The kernel sends INIT at once; later than this it never comes. */
#define INIT_TIMEOUT_MS 10000

static struct session *the_session;

static void interrupt_handler(int sig)
{
	(void)sig;
}

static void wanted_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

void session_block_signals(void)
{
	sigset_t set;

	wanted_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* libfuse's own lines: its debug output stays on stderr, errors are logged. */
static void libfuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
static void libfuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[512];
	size_t n;

	if (level == FUSE_LOG_DEBUG) {
		vfprintf(stderr, fmt, ap);
		return;
	}
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	n = strlen(line);
	/* We find out by trying, and cope. */
	if (strstr(line, "custom io is not enabled"))
		level = FUSE_LOG_DEBUG;
	while (n && line[n - 1] == '\n')
		line[--n] = '\0';
	if (n && the_session)
		the_session->cfg.log((int)level, "%s", line);
}

static int new_libfuse(struct session *s, const struct fuse_lowlevel_ops *ops,
		       void *userdata)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int r = -ENOMEM;

	if (fuse_opt_add_arg(&args, "plyfs"))
		goto out;
	if (s->cfg.mount_options && *s->cfg.mount_options &&
	    (fuse_opt_add_arg(&args, "-o") ||
	     fuse_opt_add_arg(&args, s->cfg.mount_options)))
		goto out;
	if (s->cfg.debug && fuse_opt_add_arg(&args, "-d"))
		goto out;
	s->se = fuse_session_new(&args, ops, sizeof(*ops), userdata);
	r = s->se ? 0 : -EINVAL;
out:
	fuse_opt_free_args(&args);
	return r;
}

/*
 * Once there are threads, the kernel waits for all CPUs (milliseconds) whenever
 * the table of descriptors has to grow: 50 layers and the rings' descriptors
 * are more than the 64 that it begins with.
 */
static void grow_descriptor_table(int fd)
{
	struct rlimit lim;
	int last = DESCRIPTORS - 1, high;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur <= (rlim_t)last)
		last = (int)lim.rlim_cur - 1;
	high = fcntl(fd, F_DUPFD_CLOEXEC, last);
	if (high >= 0)
		close(high);
}

int session_new(const struct session_config *cfg,
		const struct fuse_lowlevel_ops *ops, void *userdata,
		struct session **ret)
{
	struct sigaction sa = { .sa_handler = interrupt_handler };
	struct session *s;
	int r;

	if (the_session)
		return -EBUSY;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->cfg = *cfg;
	s->fd = -1;
	pthread_mutex_init(&s->held_lock, NULL);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = s->event_fd < 0 ? -errno : 0;
	if (r)
		goto fail;
	grow_descriptor_table(s->event_fd);
	interrupt_start();
	the_session = s;
	transport_set_session(s);
	fuse_set_log_func(libfuse_log);
	/* libfuse would start its own queues if this says so. */
	unsetenv("FUSE_URING_ENABLE");
	r = new_libfuse(s, ops, userdata);
	if (r)
		goto fail;
	signal(SIGPIPE, SIG_IGN);
	sigaction(TRANSPORT_SIGNAL, &sa, NULL);
	*ret = s;
	return 0;
fail:
	session_free(s);
	return r;
}

struct fuse_session *session_fuse(struct session *s)
{
	return s->se;
}

bool session_is_uring(const struct session *s)
{
	return s->uring != NULL;
}

void session_wake(struct session *s)
{
	uint64_t one = 1;
	ssize_t r;

	r = write(s->event_fd, &one, sizeof(one));
	(void)r; /* it is readable already */
}

void session_stop(struct session *s)
{
	atomic_store(&s->stop_asked, true);
	session_wake(s);
}

/*
 * With auto_unmount fusermount3 stays, and keeps the stdout and stderr that it
 * inherits: our caller would wait for ever for the end of his pipes. So it gets
 * a file in memory there, from which we pass on what it has said.
 */
static int mount_captured(struct session *s)
{
	int fd[3] = { -1, -1, -1 }, r;
	char text[1024];
	ssize_t n;

	(void)fflush(NULL);
	fd[0] = memfd_create("fusermount3", MFD_CLOEXEC);
	fd[1] = fcntl(1, F_DUPFD_CLOEXEC, 3);
	fd[2] = fcntl(2, F_DUPFD_CLOEXEC, 3);
	r = fd[0] < 0 || fd[1] < 0 || fd[2] < 0 ? -errno : 0;
	for (int i = 1; i < 3 && r == 0; i++)
		if (dup2(fd[0], i) < 0)
			r = -errno;
	if (r == 0)
		r = fuse_session_mount(s->se, s->cfg.mountpoint) ? -EIO : 0;
	(void)fflush(NULL);
	for (int i = 1; i < 3; i++)
		if (fd[i] >= 0)
			(void)dup2(fd[i], i);
	n = fd[0] < 0 ? 0 : pread(fd[0], text, sizeof(text), 0);
	if (n > 0)
		n = write(2, text, (size_t)n);
	for (int i = 0; i < 3; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	return r;
}

static bool has_option(const char *options, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = options; p && *p; p += *p == ',') {
		if (strncmp(p, name, n) == 0 && (p[n] == ',' || !p[n]))
			return true;
		/* A comma within a value is escaped. */
		for (; *p && *p != ','; p++)
			if (*p == '\\' && p[1])
				p++;
	}
	return false;
}

int session_mount(struct session *s)
{
	static const struct fuse_custom_io io = {
		.writev = transport_writev,
		.read = transport_read,
	};
	int r;

	s->fd_mount = strncmp(s->cfg.mountpoint, "/dev/fd/", 8) == 0;
	if (has_option(s->cfg.mount_options, "auto_unmount"))
		r = mount_captured(s);
	else
		r = fuse_session_mount(s->se, s->cfg.mountpoint) ? -EIO : 0;
	if (r)
		return r; /* libfuse has said why */
	s->mounted = true;
	s->fd = fuse_session_fd(s->se);
	(void)fcntl(s->fd, F_SETFD, FD_CLOEXEC);
	/*
	 * Not in every libfuse: then replies go straight to /dev/fuse, and we
	 * have neither io_uring nor the times and errors of the counters.
	 */
	s->custom_io = fuse_session_custom_io(s->se, &io, sizeof(io), s->fd) == 0;
	return 0;
}

/* Receive and answer INIT in this thread. */
static int do_init(struct session *s)
{
	int r;

	do {
		r = loop_one(s, INIT_TIMEOUT_MS);
		if (r < 0)
			return r;
		if (!s->custom_io && s->init_seen)
			s->init_done = true;
	} while (!s->init_done && !s->init_error && !fuse_session_exited(s->se));
	if (s->init_error)
		return s->init_error;
	if (fuse_session_exited(s->se))
		return -EPROTO; /* libfuse has said why */
	if (!s->custom_io && s->cfg.uring == SESSION_URING_ON) {
		s->cfg.log(LOG_ERR, "io_uring=on: this libfuse was built without custom io");
		return -EOPNOTSUPP;
	}
	return 0;
}

static unsigned int usable_cpus(void)
{
	cpu_set_t set;
	int n;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	n = CPU_COUNT(&set);
	return n > 0 ? (unsigned int)n : 1;
}

static int start_threads(struct session *s)
{
	unsigned int n = s->cfg.threads ? s->cfg.threads : usable_cpus();
	unsigned int spin = s->cfg.spin_us == 0 ? DEFAULT_SPIN_US :
			    s->cfg.spin_us < 0  ? 0 :
						  (unsigned int)s->cfg.spin_us;
	int r;

	if (n > MAX_THREADS)
		n = MAX_THREADS;
	if (s->uring) {
		r = uring_register(s);
		if (r) {
			/* The kernel has gone back to /dev/fuse. */
			uring_stop(s);
			if (s->cfg.uring == SESSION_URING_ON) {
				s->cfg.log(LOG_ERR, "io_uring=on: %s", strerror(-r));
				return r;
			}
			s->cfg.log(LOG_WARNING, "io_uring: %s; using /dev/fuse",
				   strerror(-r));
			uring_free(s);
		}
	}
	/* Beside io_uring, /dev/fuse brings FORGET and INTERRUPT only. */
	r = s->uring ? loop_start(s, 1, 0) : loop_start(s, n, spin);
	if (r)
		s->cfg.log(LOG_ERR, "cannot start threads: %s", strerror(-r));
	stats_gauge_set(s->cfg.stats, STATS_URING, s->uring != NULL);
	stats_gauge_set(s->cfg.stats, STATS_THREADS,
			s->uring ? 1 + (int64_t)uring_threads(s->uring) : (int64_t)n);
	return r;
}

/* Wait for the end. 0: unmounted; else the signal. */
static int wait_end(struct session *s, int sig_fd)
{
	struct pollfd pfd[2] = {
		{ .fd = sig_fd, .events = POLLIN },
		{ .fd = s->event_fd, .events = POLLIN },
	};

	for (;;) {
		struct signalfd_siginfo si;

		if (atomic_load(&s->ended))
			return 0;
		if (atomic_load(&s->stop_asked))
			return SIGTERM;
		(void)poll(pfd, 2, -1);
		if (pfd[0].revents && read(sig_fd, &si, sizeof(si)) == sizeof(si))
			return (int)si.ssi_signo;
		if (pfd[1].revents) {
			uint64_t n;
			ssize_t r = read(s->event_fd, &n, sizeof(n));

			(void)r;
		}
	}
}

int session_run(struct session *s, int (*ready)(void *arg), void *arg)
{
	sigset_t set;
	int sig_fd, r;

	session_block_signals();
	wanted_signals(&set);
	sig_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sig_fd < 0)
		return -errno;
	r = do_init(s);
	if (r == 0)
		r = start_threads(s);
	if (r == 0 && !s->fd_mount)
		s->mnt_id = unmount_id(s->cfg.mountpoint);
	if (r == 0 && ready)
		r = ready(arg);
	if (r == 0)
		r = wait_end(s, sig_fd);
	if (r > 0 && !atomic_load(&s->ended) && !s->fd_mount) {
		int u = unmount_clean(s->cfg.mountpoint, s->mnt_id);

		if (u < 0)
			s->cfg.log(LOG_WARNING, "unmounting %s: %s",
				   s->cfg.mountpoint, strerror(-u));
		else
			s->mounted = false;
	}
	if (atomic_load(&s->ended))
		s->mounted = false; /* what is there now is not ours */
	atomic_store(&s->stop, true);
	uring_stop(s);
	loop_stop(s);
	interrupt_stop();
	close(sig_fd);
	if (r < 0 && s->mounted) {
		/* Failed before anybody relied on it. */
		if (!s->fd_mount)
			fuse_session_unmount(s->se);
		s->mounted = false;
	}
	return r;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	uring_free(s);
	if (s->se) {
		if (s->mounted && !s->fd_mount)
			fuse_session_unmount(s->se);
		fuse_session_destroy(s->se);
	}
	transport_release(s);
	pthread_mutex_destroy(&s->held_lock);
	if (s->event_fd >= 0)
		close(s->event_fd);
	if (the_session == s) {
		the_session = NULL;
		transport_set_session(NULL);
	}
	free(s);
}
