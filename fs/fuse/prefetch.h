/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files put into the page cache before anybody asks for them.
 *
 * When a process reads small files of one directory one after the other, the
 * next ones are written into the kernel's page cache by FUSE_NOTIFY_STORE from
 * threads of our own, and reading them sends no READ. Only files of lower
 * layers, which do not change; only such as the kernel knows already.
 *
 * Why no byte is ever lost. A STORE overwrites pages whatever is in them, and
 * raises i_size. So it must never meet a page that holds, or came to hold,
 * anything else than the lower file's content, and no change of size. Let F
 * be a file and S the one STORE that it gets. What follows of the
 * kernel is how fs/fuse/{dev,file,dir}.c have long worked; what of it can be
 * observed (the gate, the cancelled STORE) is tested on Linux 6.18 by
 * tests/cases/prefetch_gate.test and tests/prefetch/hammer.c.
 *
 * 1. At most one S in the life of the node, and none once the daemon has seen
 *    anything of F's content: union_claim() is atomic with the marks that the
 *    handlers set (node table lock). The marks live as long as the node, and
 *    the kernel's inode does not live longer. Pages are stored in ascending
 *    order, each once.
 * 2. Where the content of a page of F can come from, beside S:
 *    a) a READ. The page is locked from before the READ is sent until its
 *       reply was taken. prefetch_seen() runs before the reply: if S is under
 *       way then, the buffer that S copies from has been made inaccessible.
 *       The kernel takes pages of that buffer one by one, each after it has
 *       locked the folio it copies to (the buffer's pages match those of the
 *       file, and the header is in an iovec of its own, so nothing is taken in
 *       advance). Hence S, when it gets the lock of a page that a READ has
 *       filled, finds no source: EFAULT, and the page stays as it is. And
 *       what was taken before is copied into a folio that S has locked since
 *       before the READ's reply: no READ had filled it. Large folios change
 *       nothing, they are locked as a whole.
 *    b) write(2), splice, O_DIRECT. They change the page before the WRITE is
 *       sent, and do not keep it locked. But before that, with the inode's lock
 *       held, file_remove_privs() asks for security.capability unless S_NOSEC
 *       is set, which only an earlier such question sets (and a refresh of the
 *       attributes clears). This GETXATTR is the gate: prefetch_gate() marks F,
 *       so that no S begins, and the reply waits for the end of S. The reader
 *       of a page holds no such lock, nor does the GETXATTR hold a page's: the
 *       wait ends. It is done by a worker, so that READs are served meanwhile.
 *       Should a kernel send a WRITE without it, we notice, say so, and stop
 *       prefetching for good. noxattr (GETXATTR is ENOSYS: no gate) turns
 *       prefetching off, unless the mount is read-only.
 *    c) truncate, O_TRUNC, fallocate, copy_file_range. All send a request
 *       before they touch pages or size, and change them after its reply; they
 *       too are gates. So S is over before, and S does not extend the file: its
 *       length is the lower file's, which is i_size until one of b) or c).
 *    d) a shared mapping. A page is written through it only once it is
 *       uptodate: by a READ (then a) holds, S ends there, or has passed), or by
 *       S, which does not come back to it. Its later WRITE is a copy of the
 *       page and changes nothing in it.
 *    e) eviction, reclaim: the page is gone; it comes back by a READ or S.
 * 3. writeback mode (pages are made without any message) and passthrough (no
 *    pages of ours) and live lowers turn it off.
 *
 * No deadlock. The storing thread may wait in the kernel for a page's lock,
 * that is, for the reply of a READ or WRITE. Their handlers never wait for it.
 * Gates do, but not in the session's threads. Nothing else waits for it.
 *
 * If the daemon is killed while the storing thread waits for a READ that
 * nobody will answer, that thread cannot end, and its descriptors would stay:
 * the lock of the workdir, and the connection. Therefore it has a descriptor
 * table of its own, with nothing in it but a clone of /dev/fuse: everything
 * else is released at once, and with the original of /dev/fuse the requests
 * that the daemon had taken end too. What is left is a READ that nobody had
 * taken from /dev/fuse, or one in a ring, for the very page being stored, at
 * the moment of the kill: then `umount -f` (or fusectl's abort) is needed.
 *
 * Threads and memory: one worker of the pool that chooses and reads, one
 * thread that stores, PREFETCH_BUFFER bytes; all of it only while there is work
 * and for a few seconds after.
 *
 * For tests, the environment variable PLYFS_PREFETCH=eager has every listing
 * of a directory followed by the storing of all its files; eager:N also lets N
 * microseconds pass between deciding on a STORE and sending it, as if the kernel
 * had not come to it yet.
 */
#ifndef PLYFS_FS_FUSE_PREFETCH_H
#define PLYFS_FS_FUSE_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

struct fuse_session;
struct pool;
struct prefetch;
struct stats;
struct union_fs;

/* Files larger than this are left alone: bytes. */
#define PREFETCH_FILE_MAX (128 << 10)
/* What is read before it is stored: bytes. */
#define PREFETCH_BUFFER (1 << 20)

/* Everything is borrowed. Starts nothing yet. 0 or -ENOMEM. */
int prefetch_new(struct union_fs *u, struct pool *pool, struct stats *stats,
		 struct prefetch **ret);

/* Once the session can take notifications; until then nothing is stored. */
void prefetch_start(struct prefetch *p, struct fuse_session *se);

/*
 * Stops everything. No handler may run any more; the pool is still there.
 * Where the storing thread cannot be stopped (see above) it is left behind,
 * and with it the memory of @p. NULL is fine.
 */
void prefetch_free(struct prefetch *p);

/*
 * The handlers call these first of all; all take NULL for @p. They never wait
 * for a STORE.
 */

/* READ of @ino at @off. */
void prefetch_read(struct prefetch *p, uint64_t ino, int64_t off);
/* WRITE to @ino. @mapped: of pages written through a mapping (FUSE_WRITE_CACHE). */
void prefetch_write(struct prefetch *p, uint64_t ino, bool mapped);
/* A listing of directory @ino was replied. */
void prefetch_listed(struct prefetch *p, uint64_t ino);

/*
 * A gate: a request before whose reply no STORE of @ino may be under way, and
 * none may begin after. True: one is under way, and the handler leaves to a
 * worker prefetch_wait() and the rest.
 */
bool prefetch_gate(struct prefetch *p, uint64_t ino);

/*
 * Waits until no STORE of @ino is under way. -EIO: it still is after ten
 * seconds, and the request must fail with that.
 */
int prefetch_wait(struct prefetch *p, uint64_t ino);

#endif
