/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little of the FUSE protocol that the transport looks at itself. The
 * kernel headers of Debian 12 lack half of it, and libfuse keeps its copy to
 * itself. The layouts are the kernel's ABI.
 */
#ifndef PLYFS_FS_FUSE_PROTO_H
#define PLYFS_FS_FUSE_PROTO_H

#include <stdint.h>

/* Opcodes that the transport treats differently from others. */
enum proto_opcode {
	PROTO_READ = 15,
	PROTO_WRITE = 16,
	PROTO_INIT = 26,
	PROTO_INTERRUPT = 36, /* argument: the uint64_t unique it is about */
};

/* What every request begins with ... */
struct proto_in_header {
	uint32_t len;
	uint32_t opcode;
	uint64_t unique;
	uint64_t nodeid;
	uint32_t uid;
	uint32_t gid;
	uint32_t pid;
	uint16_t total_extlen;
	uint16_t padding;
};
_Static_assert(sizeof(struct proto_in_header) == 40, "protocol");

/* ... and what precedes the data of a WRITE behind it. */
#define PROTO_WRITE_IN_SIZE 40

/* What every reply and notification (unique 0) begins with. */
struct proto_out_header {
	uint32_t len;
	int32_t error;
	uint64_t unique;
};
_Static_assert(sizeof(struct proto_out_header) == 16, "protocol");

/* Where the arguments of a READ say how much is wanted. */
#define PROTO_READ_SIZE_OFF 16

/* INIT flags: bits 22 and 30, and bit 41 as bit 9 of flags2. */
#define PROTO_MAX_PAGES (1U << 22)
#define PROTO_INIT_EXT (1U << 30)
#define PROTO_OVER_IO_URING2 (1U << 9)

/* struct fuse_init_in and fuse_init_out as of protocol 7.36. */
struct proto_init_in {
	uint32_t major;
	uint32_t minor;
	uint32_t max_readahead;
	uint32_t flags;
	uint32_t flags2;
	uint32_t unused[11];
};

struct proto_init_out {
	uint32_t major;
	uint32_t minor;
	uint32_t max_readahead;
	uint32_t flags;
	uint16_t max_background;
	uint16_t congestion_threshold;
	uint32_t max_write;
	uint32_t time_gran;
	uint16_t max_pages;
	uint16_t map_alignment;
	uint32_t flags2;
	uint32_t unused[7];
};
_Static_assert(sizeof(struct proto_init_out) == 64, "protocol");

/* FUSE over io_uring: the headers of one ring entry. */
struct proto_ring_header {
	union {
		struct proto_in_header in;
		struct proto_out_header out;
		char in_out[128];
	};
	char op_in[128];
	uint64_t flags;
	uint64_t commit_id;
	uint32_t payload_size;
	uint32_t padding;
	uint64_t reserved;
};
_Static_assert(sizeof(struct proto_ring_header) == 288, "protocol");

/* In the 80 bytes of an SQE's command area. */
struct proto_ring_cmd {
	uint64_t flags;
	uint64_t commit_id;
	uint16_t qid;
	uint8_t padding[6];
};

enum proto_ring_op {
	PROTO_RING_REGISTER = 1,
	PROTO_RING_COMMIT_AND_FETCH = 2,
};

#endif
