/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of fs/union share. Nobody else includes this. */
#ifndef PLYFS_UNION_UNION_I_H
#define PLYFS_UNION_UNION_I_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/layer/layer.h"
#include "fs/union/union.h"
#include "lib/slab.h"

/* Namespace locks: one per stripe of directories. */
#define NS_STRIPES 256

/* A power of two. */
#define ABSENT_SLOTS 4096

/* Overlay attributes are at most this long, prefix included. */
#define OVL_NAME_MAX 32

struct fdcache;
struct dircache;

struct union_fs {
	struct union_config cfg; /* strings and maps are not valid, see below */
	struct union_idrange *uidmap, *gidmap; /* owned */

	struct layer *upper; /* owned; NULL: none */
	struct layer **lower; /* owned; lower[i]->id == i + 1 */
	unsigned nlower, nfs;
	bool writable;
	bool privileged; /* trusted.*, chown, mknod, any mode: all permitted */

	int wlock; /* the workdir, locked while we may write */
	int work; /* workdir/work */
	int index; /* workdir/index, or -1 */
	int nlinks; /* workdir/nlink, or -1: see nlink.h */
	atomic_int origins; /* workdir/origin, or -1: see sidecar.h */
	atomic_bool have_nlinks; /* it is not empty */
	atomic_uint tmp_seq; /* names in work */
	atomic_int shared_wh; /* number in the name of the whiteout to link, 0 none */
	pthread_mutex_t wh_lock;
	pthread_mutex_t lend_lock; /* recursive: lend.h */
	int lent; /* workdir/lent, or -1; protected by lend_lock */
	unsigned loans; /* that are out; protected by lend_lock */
	bool no_tmpfile; /* the upper has no O_TMPFILE */
	char xprefix[24]; /* "trusted.overlay." or "user.overlay." */

	/*
	 * The node table: nodes, names and the hash tables that find them.
	 * Held for memory accesses only, never across a system call.
	 */
	pthread_mutex_t lock;
	pthread_cond_t unbusy; /* some node's NODE_BUSY was cleared */
	struct slab *slab; /* nodes, names, stacks; protected by lock */
	uint32_t *names; /* (parent, name) to struct dent; protected by lock */
	uint32_t *ids; /* (layer, inode) to struct node; protected by lock */
	uint32_t names_mask, ids_mask, nnames, nids, nnodes;
	uint32_t next_gen;
	uint32_t root;
	uint64_t name_key; /* of the hashes; also of directory cookies */

	/*
	 * Names that no lower shows, by a hash of directory and name: lowers do
	 * not change, so that what was found out by a lookup need not be asked
	 * again by the create, the rename or the unlink that follows.
	 */
	_Atomic uint64_t absent[ABSENT_SLOTS];

	pthread_mutex_t ns[NS_STRIPES];

	struct fdcache *fds;
	struct dircache *dirs;
	atomic_int pins; /* descriptors pinned by unlinked files */
	int pin_max;

	atomic_ulong copy_ups, copied_bytes;
};

#endif
