/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search for one name through the layers of a directory: resolve.c's own,
 * shared with metacopy.c, which goes on where resolve() stopped.
 */
#ifndef PLYFS_UNION_SEARCH_H
#define PLYFS_UNION_SEARCH_H

#include <limits.h>

#include "fs/union/fdcache.h"
#include "fs/union/resolve.h"

struct search {
	struct union_fs *u;
	struct node *dir;
	const char *name; /* in the layers still to be asked */
	char abs[PATH_MAX]; /* path from the layers' root, or "": name in dir */
	char relname[256];
	uint16_t layers[MAX_LAYERS]; /* which have dir, top first */
	uint16_t lflags[MAX_LAYERS];
	unsigned n;
	bool renamed; /* name or path is not dir's and the asked one any more */
	bool stop; /* on the way to abs, a layer hid everything below it */
	char next_abs[PATH_MAX]; /* abs for the layers below, or "": the same */
};

void search_init(struct search *s, struct union_fs *u, struct node *dir, const char *name);

/* Before the next layer is asked: false where there is nothing more to ask. */
bool search_goes_on(struct search *s);

/* Opens the directory in which @layer is asked, pinned, and says for which name. */
int search_dir(struct search *s, unsigned layer, struct fdent **ret, const char **ret_name);

/*
 * From now on the layers are asked for what @redirect says. 1: from the root of
 * every lower below @layer, for which search_all_below() is due; 0 or -errno.
 */
int search_redirect(struct search *s, unsigned layer, const char *redirect);
void search_all_below(struct search *s, unsigned layer);

/*
 * What was found at layers[i] with the attributes @st: 1 where it, or .wh.NAME
 * in one of layers[asked..i), is a whiteout; 0 or -errno.
 */
int search_whiteout(struct search *s, unsigned i, unsigned asked, const struct layer_dir *d,
		    const char *name, const struct statx *st);

/* The path in @layer of what was found there by this search: malloc'ed. */
int search_path(struct search *s, unsigned layer, char **ret);

#endif
