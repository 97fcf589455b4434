/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each layer of an image did to each path: a tree of all names that any
 * layer has, each with what happened to it from layer to layer. Made by
 * one walk over each layer; no content is read. Layers are numbered from 0, the lowest.
 */
#ifndef PLYFS_TOOLS_STRATA_H
#define PLYFS_TOOLS_STRATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum strata_change {
	STRATA_ADDED, /* it was not there below */
	STRATA_CHANGED, /* it is there again, in whatever way it differs */
	STRATA_DELETED,
};

struct strata_event {
	struct strata_event *before; /* in a lower layer, or NULL */
	uint64_t size; /* of regular files, else 0; deleted: what was there */
	mode_t mode; /* deleted: what was there */
	uint16_t layer;
	uint8_t change; /* enum strata_change */
};

struct strata_node {
	const char *name; /* "" for the root */
	struct strata_node *parent; /* NULL for the root */
	struct strata_node **child; /* by name, as strcmp() has it */
	uint32_t children;
	struct strata_event *last; /* the latest */
};

/* What a layer did in all. Bytes are of regular files. */
struct strata_sum {
	uint64_t added, changed, deleted; /* paths, of directories only those added and deleted */
	uint64_t bytes; /* that it brings */
	uint64_t wasted; /* of these, bytes that layers above overwrite or delete */
};

struct strata;

/* @paths: indexes and directories, the lowest first. -errno, *ret_err says why (malloc'ed). */
int strata_new(const char *const *paths, unsigned n, struct strata **ret, char **ret_err);
void strata_free(struct strata *s); /* NULL is ignored */

const struct strata_node *strata_root(const struct strata *s);
const struct strata_sum *strata_sum(const struct strata *s, unsigned layer);
/* The child of that name, or NULL. */
const struct strata_node *strata_child(const struct strata_node *dir, const char *name);
/* What happened last, up to and with @layer; NULL: nothing yet. */
const struct strata_event *strata_at(const struct strata_node *n, unsigned layer);
/* Whether it is there, seen from @layer. */
bool strata_there(const struct strata_node *n, unsigned layer);

#endif
