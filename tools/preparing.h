/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before an image's layers can be looked at: those that are not in the cache are made, and who
 * waits sees how far that is; and files that only a user namespace can read get one.
 */
#ifndef PLYFS_TOOLS_PREPARING_H
#define PLYFS_TOOLS_PREPARING_H

#include "oci/cache.h"
#include "oci/image.h"

/* Fills @o so that progress is shown on stderr; @o. */
const struct layer_cache_options *preparing_options(struct layer_cache_options *o);
/* Takes the bar away. */
void preparing_end(void);

/*
 * Where @img needs the user's subordinate ids and we have no such namespace: runs this
 * program again in one, with the same arguments, and does not return but with -errno and a
 * sentence (malloc'ed). Else 0. Before there are threads.
 */
int userns_enter(const struct image *img, char **ret_err);

#endif
