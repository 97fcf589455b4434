/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slab allocator whose objects are named by 32-bit references instead of
 * pointers: half the size, checkable before use, and meaningful in another
 * process that maps the same memory. Objects of one size class share 16 KiB
 * pages; a page whose objects are all free goes back to the kernel, so
 * resident memory follows the number of live objects.
 *
 * Not thread-safe: the owner's lock protects a slab. Pointers from slab_ptr()
 * stay valid until that object is freed.
 */
#ifndef PLYFS_LIB_SLAB_H
#define PLYFS_LIB_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slab;

/* Reserves (not commits) address space. NULL where there is none. */
struct slab *slab_new(void);
void slab_free(struct slab *s);

/* A zeroed object of @size bytes (at most SLAB_MAX): its reference, or 0 when memory is out. */
uint32_t slab_alloc(struct slab *s, size_t size);
#define SLAB_MAX 8192

/* Releases what slab_alloc() returned; 0 is ignored. */
void slab_release(struct slab *s, uint32_t ref);

/* The object's address. @ref must be live; NULL for 0. */
void *slab_ptr(const struct slab *s, uint32_t ref);

/* Whether @ref could name an object of this slab with @size: for references from outside. */
bool slab_valid(const struct slab *s, uint32_t ref, size_t size);

/* The reference of the object at @p, which came from slab_ptr(). */
uint32_t slab_ref(const struct slab *s, const void *p);

#endif
