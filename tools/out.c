/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: escaping, colours, sizes, times. */
#include "tools/out.h"

#include <errno.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "lib/sys.h"
#include "tools/utf8.h"

/* The escape of one byte: how many characters in @buf. */
static int escape_byte(unsigned char c, char buf[8])
{
	static const char letters[] = "abtnvfr";

	if (c == '\\')
		return snprintf(buf, 8, "\\\\");
	if (c >= 7 && c <= 13)
		return snprintf(buf, 8, "\\%c", letters[c - 7]);
	return snprintf(buf, 8, "\\x%02x", c);
}

static bool plain(uint32_t c)
{
	if (c < 0x20 || c == '\\' || (c >= 0x7f && c < 0xa0))
		return false;
	/* marks and overrides of direction, line and paragraph separators, BOM, tags */
	if ((c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	    (c >= 0x2060 && c <= 0x206f) || c == 0x061c || c == 0xfeff ||
	    (c >= 0xfff0 && c <= 0xfffb) || c >= 0xe0000)
		return false;
	return true;
}

/* One character of @s: its length, and in @buf what to write. */
static size_t escape_one(const char *s, char buf[32], int *ret_len)
{
	uint32_t c;
	int n = utf8_decode(s, strnlen(s, 4), &c), len = 0;
	size_t i, size = n > 0 ? (size_t)n : 1;

	if (n > 0 && plain(c) && (c < 0x80 || out_utf8())) {
		memcpy(buf, s, size);
		*ret_len = n;
		return size;
	}
	for (i = 0; i < size; i++)
		len += escape_byte((unsigned char)s[i], buf + len);
	*ret_len = len;
	return size;
}

void out_text(FILE *f, const char *s)
{
	char buf[32];
	int len;

	while (*s) {
		s += escape_one(s, buf, &len);
		(void)fwrite(buf, 1, (size_t)len, f);
	}
}

char *out_escape(const char *s)
{
	char *ret = sys_malloc(strlen(s) * 4 + 32), *p = ret;
	int len;

	if (!ret)
		return NULL;
	while (*s) {
		char buf[32];

		s += escape_one(s, buf, &len);
		memcpy(p, buf, (size_t)len);
		p += len;
	}
	*p = 0;
	return ret;
}

bool out_utf8(void)
{
	static int known = -1;

	if (known < 0)
		known = !strcmp(nl_langinfo(CODESET), "UTF-8");
	return known;
}

const char *out_colour(enum out_colour c)
{
	static const char *const seq[] = {
		[OUT_RESET] = "\033[0m",
		[OUT_BOLD] = "\033[1m",
		[OUT_DIM] = "\033[2m",
		[OUT_RED] = "\033[31m",
		[OUT_GREEN] = "\033[32m",
		[OUT_YELLOW] = "\033[33m",
		[OUT_BLUE] = "\033[34m",
		[OUT_CYAN] = "\033[36m",
	};
	static int on = -1;

	if (on < 0) {
		const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

		on = isatty(STDOUT_FILENO) && !(no && *no) && term && *term &&
		     strcmp(term, "dumb") != 0;
	}
	return on ? seq[c] : "";
}

const char *out_mode_colour(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return out_colour(OUT_BLUE);
	case S_IFLNK:
		return out_colour(OUT_CYAN);
	case S_IFREG:
		if (mode & (S_ISUID | S_ISGID))
			return out_colour(OUT_RED);
		return mode & 0111 ? out_colour(OUT_GREEN) : "";
	default:
		return out_colour(OUT_YELLOW);
	}
}

unsigned out_width(void)
{
	const char *s = getenv("COLUMNS");
	struct winsize ws;

	if (s && *s >= '1' && *s <= '9') {
		unsigned long v = strtoul(s, NULL, 10);

		if (v >= 20 && v <= 10000)
			return (unsigned)v;
	}
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col >= 20)
		return ws.ws_col;
	return 80;
}

const char *out_size(uint64_t bytes, char buf[OUT_SIZE])
{
	static const char units[] = "KMGTPE";
	double v = (double)bytes;
	unsigned i = 0;

	if (bytes < 1024) {
		(void)snprintf(buf, OUT_SIZE, "%u", (unsigned)bytes);
		return buf;
	}
	for (v /= 1024; v >= 999.5; v /= 1024)
		i++;
	(void)snprintf(buf, OUT_SIZE, v < 9.95 ? "%.1f%c" : "%.0f%c", v, units[i]);
	return buf;
}

const char *out_mode(mode_t mode, char buf[OUT_MODE])
{
	static const char rwx[] = "rwxrwxrwx";
	unsigned i;

	switch (mode & S_IFMT) {
	case S_IFDIR:
		buf[0] = 'd';
		break;
	case S_IFLNK:
		buf[0] = 'l';
		break;
	case S_IFCHR:
		buf[0] = 'c';
		break;
	case S_IFBLK:
		buf[0] = 'b';
		break;
	case S_IFIFO:
		buf[0] = 'p';
		break;
	case S_IFSOCK:
		buf[0] = 's';
		break;
	default:
		buf[0] = '-';
	}
	for (i = 0; i < 9; i++)
		buf[1 + i] = mode & (0400U >> i) ? rwx[i] : '-';
	if (mode & S_ISUID)
		buf[3] = mode & 0100 ? 's' : 'S';
	if (mode & S_ISGID)
		buf[6] = mode & 0010 ? 's' : 'S';
	if (mode & S_ISVTX)
		buf[9] = mode & 0001 ? 't' : 'T';
	buf[10] = 0;
	return buf;
}

const char *out_time(int64_t sec, char buf[OUT_TIME])
{
	time_t t = (time_t)sec;
	struct tm tm;

	if (!localtime_r(&t, &tm) || !strftime(buf, OUT_TIME, "%Y-%m-%d %H:%M:%S", &tm))
		(void)snprintf(buf, OUT_TIME, "@%lld", (long long)sec);
	return buf;
}

const char *out_rfc3339(int64_t sec, uint32_t nsec, char buf[OUT_TIME])
{
	time_t t = (time_t)sec;
	struct tm tm;
	size_t n;

	/* what RFC 3339 has no four digits for */
	if (sec < -62135596800 || sec > 253402300799 || !gmtime_r(&t, &tm)) {
		(void)snprintf(buf, OUT_TIME, "@%lld", (long long)sec);
		return buf;
	}
	n = (size_t)snprintf(buf, OUT_TIME, "%04d-%02d-%02dT%02d:%02d:%02d",
			     (tm.tm_year + 1900) % 10000, (tm.tm_mon + 1) % 100, tm.tm_mday % 100,
			     tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
	if (nsec)
		n += (size_t)snprintf(buf + n, OUT_TIME - n, ".%09u", nsec % 1000000000);
	(void)snprintf(buf + n, OUT_TIME - n, "Z");
	return buf;
}

const char *out_type(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "dir";
	case S_IFLNK:
		return "symlink";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	case S_IFCHR:
		return "chardev";
	case S_IFBLK:
		return "blockdev";
	default:
		return "unknown";
	}
}

int out_flush(void)
{
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return errno ? -errno : -EIO;
}
