/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 by libcrypto, which uses what the processor has. The algorithm is fetched once. */
#include "lib/sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "lib/sys.h"

struct sha256 {
	EVP_MD_CTX *ctx; /* owned */
	EVP_MD *md; /* owned */
};

int sha256_new(struct sha256 **ret)
{
	struct sha256 *s = sys_calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->ctx = EVP_MD_CTX_new();
	s->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (!s->ctx || !s->md || !EVP_DigestInit_ex2(s->ctx, s->md, NULL)) {
		sha256_free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

void sha256_free(struct sha256 *s)
{
	if (!s)
		return;
	EVP_MD_CTX_free(s->ctx);
	EVP_MD_free(s->md);
	free(s);
}

int sha256_update(struct sha256 *s, const void *data, size_t size)
{
	return !size || EVP_DigestUpdate(s->ctx, data, size) ? 0 : -ENOMEM;
}

int sha256_final(struct sha256 *s, uint8_t ret[SHA256_SIZE])
{
	unsigned n;

	if (!EVP_DigestFinal_ex(s->ctx, ret, &n) || !EVP_DigestInit_ex2(s->ctx, s->md, NULL))
		return -ENOMEM;
	return 0;
}

int sha256_of(struct sha256 *s, const void *data, size_t size, uint8_t ret[SHA256_SIZE])
{
	int r = sha256_update(s, data, size);

	return r < 0 ? r : sha256_final(s, ret);
}
