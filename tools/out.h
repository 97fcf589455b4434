/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output of plyctl's commands: text for people, JSON for programs (--json).
 *
 * Text: names come from strangers, so bytes that a terminal could take for commands, that
 * are no UTF-8, that turn the direction of writing, and backslashes are written as C
 * writes them. Colours are "" unless stdout is a terminal that has them and NO_COLOR is not set.
 *
 * JSON: one document on stdout, written as it comes: memory does not grow with it. A
 * name that is no UTF-8 has each bad byte as U+FFFD, and a second field KEY_base64 has
 * it exactly. Numbers of bytes are integers, times are strings as RFC 3339 has them, digests
 * "sha256:...".
 */
#ifndef PLYFS_TOOLS_OUT_H
#define PLYFS_TOOLS_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

/* Escaped text. out_escape(): malloc'ed, NULL where memory is out. */
void out_text(FILE *f, const char *s);
char *out_escape(const char *s);

enum out_colour { OUT_RESET,
		  OUT_BOLD,
		  OUT_DIM,
		  OUT_RED,
		  OUT_GREEN,
		  OUT_YELLOW,
		  OUT_BLUE,
		  OUT_CYAN };
const char *out_colour(enum out_colour c);
/* Of a file by its mode, as ls(1) has them: "" for plain ones. */
const char *out_mode_colour(mode_t mode);

/* Columns of the terminal that stdout is, 80 where unknown. */
unsigned out_width(void);
/* Whether box-drawing characters can be shown. */
bool out_utf8(void);

#define OUT_SIZE 16
/* "1.5K", "12M", "512": at most 5 characters. */
const char *out_size(uint64_t bytes, char buf[OUT_SIZE]);
#define OUT_MODE 11
/* "drwxr-xr-x" */
const char *out_mode(mode_t mode, char buf[OUT_MODE]);
#define OUT_TIME 40
/* "2024-05-01 12:00:00" in the local zone, for people. */
const char *out_time(int64_t sec, char buf[OUT_TIME]);
/* "2024-05-01T12:00:00.123456789Z" */
const char *out_rfc3339(int64_t sec, uint32_t nsec, char buf[OUT_TIME]);
/* "file", "dir", "symlink", "fifo", "socket", "chardev", "blockdev" */
const char *out_type(mode_t mode);

/* jansson, which oci/ uses, has functions of some of these names: for the linker ours differ. */
#define json_object out_json_object
#define json_array out_json_array
#define json_end out_json_end
#define json_string out_json_string
#define json_uint out_json_uint
#define json_int out_json_int
#define json_bool out_json_bool
#define json_real out_json_real
#define json_digest out_json_digest
#define json_base64 out_json_base64
#define json_base64_begin out_json_base64_begin
#define json_base64_add out_json_base64_add
#define json_base64_end out_json_base64_end

/*
 * JSON. @key is NULL inside of an array and for the document itself. What is begun
 * is ended by json_end(); the last one also writes the newline.
 */
#define json_object out_json_object /* jansson has these four too, and oci/ calls them: */
#define json_array out_json_array /* by their names here it would get ours */
#define json_string out_json_string
#define json_real out_json_real
void json_object(const char *key);
void json_array(const char *key);
void json_end(void);
void json_string(const char *key, const char *s); /* NULL: null */
void json_uint(const char *key, uint64_t v);
void json_int(const char *key, int64_t v);
void json_bool(const char *key, bool v);
void json_real(const char *key, double v);
void json_digest(const char *key, const uint8_t sha256[32]); /* unknown: null */
void json_base64(const char *key, const void *p, size_t size);
/* The same in pieces, of which all but the last are multiples of three bytes. */
void json_base64_begin(const char *key);
void json_base64_add(const void *p, size_t size);
void json_base64_end(void);

/* Flushes stdout; -errno where something of it could not be written. */
int out_flush(void);

#endif
