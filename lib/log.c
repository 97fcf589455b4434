/* SPDX-License-Identifier: Apache-2.0 */
/* The process's log: stderr, later syslog. */
#include "lib/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static const char *log_ident = "plyfs";
static _Atomic int log_max = LOG_INFO;
static _Atomic bool log_syslog;

void log_init(const char *ident, int max_level)
{
	log_ident = ident;
	log_max = max_level;
}

void log_to_syslog(void)
{
	openlog(log_ident, LOG_PID | LOG_NDELAY, LOG_DAEMON);
	log_syslog = true;
}

void log_line(int level, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n, m;

	if (level > log_max)
		return;
	va_start(ap, fmt);
	if (log_syslog) {
		vsyslog(level, fmt, ap);
		va_end(ap);
		return;
	}
	/* One write(2) a line, so that threads do not interleave. */
	n = snprintf(line, sizeof(line), "%s: ", log_ident);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	n += m;
	if ((size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}
