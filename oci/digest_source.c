/* SPDX-License-Identifier: Apache-2.0 */
/* The digest of a window of a file. */
#include <errno.h>
#include <stdlib.h>

#include "lib/cleanup.h"
#include "lib/sys.h"
#include "oci/digest.h"

int digest_source(const struct source *s, uint8_t ret[DIGEST_SIZE])
{
	enum { SIZE = 256 << 10 };
	_cleanup_free_ char *buf = sys_malloc(SIZE);
	struct digest *d;
	uint64_t off = 0;
	ssize_t n;
	int r;

	if (!buf)
		return -ENOMEM;
	r = digest_begin(&d);
	if (r < 0)
		return r;
	while (off < s->size) {
		n = source_pread(s, buf, SIZE, off);
		r = n < 0 ? (int)n : n == 0 ? -EIO :
					      digest_add(d, buf, (size_t)n);
		if (r < 0) {
			digest_free(d);
			return r;
		}
		off += (uint64_t)n;
	}
	return digest_end(d, ret);
}
