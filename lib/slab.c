/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Size-class slabs in one reserved range of addresses.
 *
 * The range is cut into pages of PAGE_SIZE_ bytes. Each page serves one size
 * class; its descriptor (outside of the page, so that an empty page can be
 * given back) holds the class, the number of live objects and the head of the
 * list of free ones. A free object's first four bytes are the index + 1 of the
 * next free one. Pages with room are on their class's list; empty pages are on
 * the list of free pages, their memory released, but for a few kept warm.
 */
#include "lib/slab.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/sys.h"

#define UNIT 16 /* bytes per reference step */
#define PAGE_SHIFT_ 14
#define PAGE_SIZE_ (1U << PAGE_SHIFT_)
#define UNITS_PER_PAGE (PAGE_SIZE_ / UNIT)
#define MAX_PAGES (1U << 20) /* 16 GiB */
#define WARM_PAGES 8
#define NCLASSES 31
#define NONE UINT32_MAX

struct page {
	uint32_t next, prev; /* in a class's list or the free list */
	uint16_t used, fresh; /* live objects; objects never handed out start here */
	uint16_t head; /* free list: index + 1 */
	uint8_t class;
	bool committed; /* memory may be resident */
};

struct slab {
	char *base; /* owned mapping */
	struct page *pages; /* owned mapping */
	uint32_t npages, limit; /* made accessible so far; reserved */
	uint32_t partial[NCLASSES]; /* lists of pages with room */
	uint32_t free_pages;
	uint32_t warm; /* committed pages on the free list */
};

/* 16 to 256 in steps of 16, then ever coarser ones, to waste little of a page. */
static const uint16_t class_size[NCLASSES] = {
	16,
	32,
	48,
	64,
	80,
	96,
	112,
	128,
	144,
	160,
	176,
	192,
	208,
	224,
	240,
	256,
	288,
	320,
	384,
	448,
	512,
	640,
	768,
	1024,
	1280,
	1632,
	2048,
	3264,
	4096,
	5456,
	8192,
};

static unsigned class_of(size_t size)
{
	unsigned c;

	if (size <= 256)
		return size ? (unsigned)((size + 15) / 16 - 1) : 0;
	for (c = 16; class_size[c] < size; c++)
		;
	return c;
}

struct slab *slab_new(void)
{
	struct slab *s = sys_calloc(1, sizeof(*s));
	uint32_t limit;
	unsigned c;

	if (!s)
		return NULL;
	for (limit = MAX_PAGES; limit >= 1024; limit /= 2) {
		s->base = mmap(NULL, (size_t)limit << PAGE_SHIFT_, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (s->base != MAP_FAILED)
			break;
	}
	if (s->base == MAP_FAILED) {
		free(s);
		return NULL;
	}
	s->pages = mmap(NULL, limit * sizeof(*s->pages), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->pages == MAP_FAILED) {
		(void)munmap(s->base, (size_t)limit << PAGE_SHIFT_);
		free(s);
		return NULL;
	}
	s->limit = limit;
	s->free_pages = NONE;
	for (c = 0; c < NCLASSES; c++)
		s->partial[c] = NONE;
	return s;
}

void slab_free(struct slab *s)
{
	if (!s)
		return;
	(void)munmap(s->base, (size_t)s->limit << PAGE_SHIFT_);
	(void)munmap(s->pages, s->limit * sizeof(*s->pages));
	free(s);
}

static void list_push(struct slab *s, uint32_t *head, uint32_t n)
{
	s->pages[n].next = *head;
	s->pages[n].prev = NONE;
	if (*head != NONE)
		s->pages[*head].prev = n;
	*head = n;
}

static void list_remove(struct slab *s, uint32_t *head, uint32_t n)
{
	struct page *p = &s->pages[n];

	if (p->prev == NONE)
		*head = p->next;
	else
		s->pages[p->prev].next = p->next;
	if (p->next != NONE)
		s->pages[p->next].prev = p->prev;
}

/* Takes a page from the free list, or the next never used one, into class @c. */
static uint32_t page_take(struct slab *s, unsigned c)
{
	uint32_t n = s->free_pages;
	struct page *p;

	if (n != NONE) {
		list_remove(s, &s->free_pages, n);
		if (s->pages[n].committed)
			s->warm--;
	} else {
		/* 64 pages (1 MiB) at a time become accessible */
		n = s->npages;
		if (n == s->limit)
			return NONE;
		if (n % 64 == 0 && mprotect(s->base + ((size_t)n << PAGE_SHIFT_),
					    (size_t)64 << PAGE_SHIFT_, PROT_READ | PROT_WRITE) < 0)
			return NONE;
		s->npages++;
	}
	p = &s->pages[n];
	p->class = (uint8_t)c;
	p->used = 0;
	p->fresh = 0;
	p->head = 0;
	p->committed = true;
	list_push(s, &s->partial[c], n);
	return n;
}

static char *page_base(const struct slab *s, uint32_t n)
{
	return s->base + ((size_t)n << PAGE_SHIFT_);
}

uint32_t slab_alloc(struct slab *s, size_t size)
{
	unsigned c = class_of(size);
	uint32_t n, idx, cap = PAGE_SIZE_ / class_size[c];
	struct page *p;
	char *obj;

	n = s->partial[c];
	if (n == NONE) {
		n = page_take(s, c);
		if (n == NONE)
			return 0;
		/* reference 0 means none: the first unit of all stays unused */
		if (n == 0)
			s->pages[0].fresh = 1;
	}
	p = &s->pages[n];
	if (p->head) {
		uint32_t next;

		idx = p->head - 1U;
		obj = page_base(s, n) + (size_t)idx * class_size[c];
		memcpy(&next, obj, sizeof(next));
		p->head = (uint16_t)next;
	} else {
		idx = p->fresh++;
		obj = page_base(s, n) + (size_t)idx * class_size[c];
	}
	p->used++;
	if (!p->head && p->fresh >= cap)
		list_remove(s, &s->partial[c], n);
	memset(obj, 0, class_size[c]);
	return n * UNITS_PER_PAGE + idx * (class_size[c] / UNIT);
}

static bool page_full(const struct page *p)
{
	return !p->head && p->fresh >= PAGE_SIZE_ / class_size[p->class];
}

void slab_release(struct slab *s, uint32_t ref)
{
	uint32_t n = ref / UNITS_PER_PAGE, idx, next;
	struct page *p = &s->pages[n];
	bool was_full;

	if (!ref)
		return;
	idx = ref % UNITS_PER_PAGE / (class_size[p->class] / UNIT);
	was_full = page_full(p);
	next = p->head;
	memcpy(page_base(s, n) + (size_t)idx * class_size[p->class], &next, sizeof(next));
	p->head = (uint16_t)(idx + 1);
	p->used--;
	if (was_full)
		list_push(s, &s->partial[p->class], n);
	/* page 0 never goes: its first unit is not handed out */
	if (p->used || n == 0)
		return;
	list_remove(s, &s->partial[p->class], n);
	if (s->warm >= WARM_PAGES) {
		(void)madvise(page_base(s, n), PAGE_SIZE_, MADV_DONTNEED);
		p->committed = false;
	} else {
		s->warm++;
	}
	list_push(s, &s->free_pages, n);
}

void *slab_ptr(const struct slab *s, uint32_t ref)
{
	return ref ? s->base + (size_t)ref * UNIT : NULL;
}

bool slab_valid(const struct slab *s, uint32_t ref, size_t size)
{
	uint32_t n = ref / UNITS_PER_PAGE, units;
	const struct page *p;

	if (!ref || n >= s->npages)
		return false;
	p = &s->pages[n];
	units = class_size[p->class] / UNIT;
	return p->committed && p->class == class_of(size) && p->used &&
	       ref % UNITS_PER_PAGE % units == 0 && ref % UNITS_PER_PAGE / units < p->fresh;
}

uint32_t slab_ref(const struct slab *s, const void *p)
{
	return (uint32_t)(((uintptr_t)p - (uintptr_t)s->base) / UNIT);
}
