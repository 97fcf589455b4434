/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that nobody may call in lib/ and fs/: the compiler stops at their
 * names. The Makefile includes this file first into every file there, so the
 * headers that declare the functions come before the ban.
 */
#ifndef PLYFS_LIB_BANNED_H
#define PLYFS_LIB_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Some are macros here and there (clang with _FORTIFY_SOURCE). */
#undef strcpy
#undef strcat
#undef stpcpy
#undef strncpy
#undef strncat
#undef sprintf
#undef vsprintf

/* No bound on what is written, or no terminating NUL: snprintf, memcpy. */
#pragma GCC poison strcpy strcat stpcpy strncpy strncat sprintf vsprintf gets

/* One static buffer for all threads: strsep, the _r functions. */
#pragma GCC poison strtok asctime gmtime localtime

/* No way to see an error: strtoul and its kin, with errno. */
#pragma GCC poison atoi atol atoll

/* A name that somebody else may take first: O_TMPFILE, mkdtemp. */
#pragma GCC poison tmpnam tempnam mktemp

/* A shell between us and what we want to run: posix_spawn. */
#pragma GCC poison system popen

#endif
