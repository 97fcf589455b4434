/* SPDX-License-Identifier: Apache-2.0 */
/* Progress on stderr, and being interrupted. */
#include "tools/progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/out.h"

enum { BAR_MS = 100,
       LINE_MS = 5000,
       FIRST_MS = 1000 };

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
	caught = sig;
}

void interrupt_catch(void)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction old, sa = { .sa_handler = on_signal };

	for (unsigned i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		if (sigaction(sigs[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			(void)sigaction(sigs[i], &sa, NULL);
}

bool interrupted(void)
{
	return caught != 0;
}

static int64_t ms(const struct timespec *a, const struct timespec *b)
{
	return (b->tv_sec - a->tv_sec) * 1000 + (b->tv_nsec - a->tv_nsec) / 1000000;
}

static unsigned width(void)
{
	struct winsize w;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20 ? w.ws_col : 80;
}

void progress_begin(struct progress *p, const char *what, uint64_t total, bool quiet)
{
	*p = (struct progress){ .what = what, .total = total, .quiet = quiet };
	p->terminal = isatty(STDERR_FILENO) == 1;
	(void)clock_gettime(CLOCK_MONOTONIC, &p->begin);
	p->last = p->begin;
}

/* "1:02:03" */
static const char *clock_text(uint64_t sec, char *buf, size_t size)
{
	if (sec >= 3600)
		(void)snprintf(buf, size, "%" PRIu64 ":%02u:%02u", sec / 3600,
			       (unsigned)(sec / 60 % 60), (unsigned)(sec % 60));
	else
		(void)snprintf(buf, size, "%u:%02u", (unsigned)(sec / 60), (unsigned)(sec % 60));
	return buf;
}

static void show(struct progress *p, const struct timespec *now)
{
	uint64_t t = (uint64_t)ms(&p->begin, now), done = p->done < p->total ? p->done : p->total;
	char a[OUT_SIZE], b[OUT_SIZE], c[OUT_SIZE], left[32] = "", text[160], bar[64] = "";
	uint64_t rate = t ? p->done * 1000 / t : 0;
	unsigned cells, full, i;
	int n;

	if (p->total && rate && done)
		(void)clock_text((p->total - done) / rate, left, sizeof(left));
	if (p->total)
		n = snprintf(text, sizeof(text), "%3u%%  %s of %s  %" PRIu64 " files  %s/s  %s%s",
			     (unsigned)(done * 100 / p->total), out_size(done, a),
			     out_size(p->total, b), p->files, out_size(rate, c), left,
			     left[0] ? " left" : "");
	else
		n = snprintf(text, sizeof(text), "%s  %" PRIu64 " files  %s/s",
			     out_size(p->done, a), p->files, out_size(rate, c));
	if (!p->terminal) {
		(void)fprintf(stderr, "%s: %s\n", p->what, text);
		return;
	}
	cells = width();
	cells = cells > strlen(p->what) + (unsigned)n + 8 ?
			cells - (unsigned)strlen(p->what) - (unsigned)n - 8 :
			0;
	if (cells > 40)
		cells = 40;
	if (p->total && cells >= 4) {
		full = (unsigned)(done * cells / p->total);
		for (i = 0; i < cells; i++)
			bar[i] = i < full ? '#' : '.';
		bar[i] = 0;
	}
	(void)fprintf(stderr, "\r%s %s%s%s%.*s\033[K", p->what, bar[0] ? "[" : "", bar,
		      bar[0] ? "] " : "", (int)width() - (int)strlen(p->what) - 3, text);
	(void)fflush(stderr);
}

void progress_update(struct progress *p, uint64_t done, uint64_t files)
{
	struct timespec now;
	int64_t wait;

	p->done = done;
	p->files = files;
	if (p->quiet)
		return;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	wait = p->terminal ? (p->shown ? BAR_MS : BAR_MS * 3) : p->shown ? LINE_MS :
									   FIRST_MS;
	if (ms(&p->last, &now) < wait)
		return;
	p->last = now;
	p->shown = true;
	show(p, &now);
}

void progress_end(struct progress *p)
{
	struct timespec now;

	if (!p->shown)
		return;
	if (p->terminal) {
		(void)fputs("\r\033[K", stderr);
		(void)fflush(stderr);
		return;
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	show(p, &now);
}
