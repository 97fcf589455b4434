/* SPDX-License-Identifier: Apache-2.0 */
/* What the operations on names (create, remove, rename) share. */
#ifndef PLYFS_UNION_NAMES_H
#define PLYFS_UNION_NAMES_H

#include "fs/union/locate.h"
#include "fs/union/ovl.h"
#include "fs/union/sidecar.h"

/* A directory whose names are about to change: in the upper, and open. */
struct parent {
	struct node *n; /* held */
	struct fdent *dir; /* its upper directory, pinned */
};

/*
 * Checks @name, copies @parent up and opens it. The namespace lock is the
 * caller's to take. parent_end() undoes it, after success only.
 */
int parent_begin(struct union_fs *u, uint64_t parent, const char *name, struct parent *ret);
void parent_end(struct union_fs *u, struct parent *p);

static inline int parent_fd(const struct parent *p)
{
	return fdcache_fd(p->dir);
}

/* The node that @name in @p is: held. */
int name_node(struct union_fs *u, const struct parent *p, const char *name, struct node **ret);

/* How the name of a file in the upper is to be taken from it. */
struct removal {
	struct node *n;
	bool dir;
	bool in_upper; /* the name exists there, as no whiteout */
	bool whiteout; /* a layer below has the name: hide it */
	bool last; /* the upper file has no other name that is known */
	bool gone; /* the file has no other name at all */
	bool drop_index; /* and no name in the lower either: its index entry goes */
	char record[OVL_INDEX_NAME_MAX]; /* where lost names of a lower file are counted, or "" */
	struct sidecar_key sidecar; /* goes with the file: the record of its origin */
	/* what removal_undo() has to undo */
	bool pinned;
	bool aside; /* the file is in the workdir, its name is the node's orphan */
};

/*
 * Takes NODE_BUSY of those of @a and @b (each may be NULL) that have several
 * names, or may have: what counts the names of a file is read and written
 * again, in steps, by each removal and by its copy-up. Before namespace locks.
 */
struct counting {
	struct node *n[2];
};
void counting_begin(struct union_fs *u, struct node *a, struct node *b, struct counting *ret);
void counting_end(struct union_fs *u, struct counting *c);

/*
 * Looks at @name of @p and prepares for its removal: what is open stays
 * usable. With the namespace lock, inside of counting_begin(). What is about to
 * be renamed over it, rather than removed, calls removal_begin() and
 * removal_end() only.
 */
int removal_begin(struct union_fs *u, const struct parent *p, const char *name, struct node *n,
		  struct removal *ret);
/* Removes the name on disk, leaving a whiteout where one is needed. */
int removal_do(struct union_fs *u, const struct parent *p, const char *name, struct removal *rm);
/* Whether removal_do() moves the file to the workdir, which a rename over it does not. */
bool removal_needs_aside(struct union_fs *u, const struct removal *rm);
/*
 * Counts the name that a lower file has lost, after it is lost: a crash before
 * that leaves a count too high, by which nothing is ever given up too early.
 * removal_do() does it; for a rename over the name it is left to the caller.
 */
int removal_count(struct union_fs *u, struct removal *rm);
/* After removal_begin(), and where that is needed removal_do(): it is not to be after all. */
void removal_undo(struct union_fs *u, const struct parent *p, const char *name, struct removal *rm);
/* The name is gone from disk: from the tables too. */
void removal_end(struct union_fs *u, const struct parent *p, const char *name,
		 struct removal *rm);

#endif
