/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of a tar in the order in which an eStargz has them: those that are wanted
 * first, each behind the directories it is in and the file it is a link to; then the rest as
 * it was. An entry that a later one of the same name replaces is left out, and so are landmarks.
 */
#ifndef PLYFS_LAYER_TOC_ORDER_H
#define PLYFS_LAYER_TOC_ORDER_H

#include <stddef.h>
#include <stdint.h>

#include "fs/layer/source.h"

struct toc_range {
	uint64_t off, end; /* of an entry in the tar, headers and content */
};

struct toc_order {
	struct toc_range *ranges; /* owned */
	size_t n, n_first; /* of them before the landmark */
	char *twice; /* owned: a name that comes twice, or NULL */
};

/*
 * found[i], unless that is NULL, becomes 1 where first[i] is there.
 * -EINVAL, -EPROTONOSUPPORT with *ret_err (malloc'ed): see tar_head.h.
 */
int toc_order_make(const struct source *tar, const char *const *first, size_t n_first,
		   uint8_t *found, struct toc_order *ret, char **ret_err);
void toc_order_release(struct toc_order *o);

#endif
