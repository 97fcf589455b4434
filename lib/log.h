/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One log for the whole process: lines on stderr while it is there, syslog
 * once the daemon has detached. Thread-safe. Libraries stay silent above
 * LOG_DEBUG; whoever decides what an error means logs it, once.
 */
#ifndef PLYFS_LIB_LOG_H
#define PLYFS_LIB_LOG_H

#include <syslog.h>

/* Names the program in every line, and sets the least urgent level shown (LOG_DEBUG..LOG_ERR). */
void log_init(const char *ident, int max_level);

/* From here on lines go to syslog(3): called when stderr becomes /dev/null. */
void log_to_syslog(void);

/* One line, without a newline. @level: LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG. */
void log_line(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
