/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int digest_parse(const char *s, uint8_t ret[DIGEST_SIZE])
{
	unsigned i;

	if (strncmp(s, "sha256:", 7) != 0) {
		size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789+._-");

		return n && s[n] == ':' ? -EPROTONOSUPPORT : -EINVAL;
	}
	s += 7;
	if (strlen(s) != 64)
		return -EINVAL;
	for (i = 0; i < DIGEST_SIZE; i++) {
		int hi = hex(s[2 * i]), lo = hex(s[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		ret[i] = (uint8_t)(hi << 4 | lo);
	}
	/* with us it means "unknown"; nobody has bytes of that digest */
	return digest_known(ret) ? 0 : -EINVAL;
}

void digest_string(const uint8_t d[DIGEST_SIZE], char ret[DIGEST_STRING_SIZE])
{
	unsigned i;

	memcpy(ret, "sha256:", 7);
	for (i = 0; i < DIGEST_SIZE; i++)
		(void)snprintf(ret + 7 + 2 * i, 3, "%02x", d[i]);
}

bool digest_known(const uint8_t d[DIGEST_SIZE])
{
	static const uint8_t zero[DIGEST_SIZE];

	return memcmp(d, zero, DIGEST_SIZE) != 0;
}

bool digest_equal(const uint8_t a[DIGEST_SIZE], const uint8_t b[DIGEST_SIZE])
{
	return memcmp(a, b, DIGEST_SIZE) == 0;
}

int digest_of(const void *buf, size_t size, uint8_t ret[DIGEST_SIZE])
{
	return EVP_Digest(buf, size, ret, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

/* What is begun is an EVP_MD_CTX, known to others by our name only. */
static EVP_MD_CTX *ctx(struct digest *d)
{
	return (EVP_MD_CTX *)(void *)d;
}

int digest_begin(struct digest **ret)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	if (!c)
		return -ENOMEM;
	if (EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(c);
		return -ENOMEM;
	}
	*ret = (struct digest *)(void *)c;
	return 0;
}

int digest_add(struct digest *d, const void *buf, size_t size)
{
	return EVP_DigestUpdate(ctx(d), buf, size) == 1 ? 0 : -ENOMEM;
}

int digest_end(struct digest *d, uint8_t ret[DIGEST_SIZE])
{
	int r = EVP_DigestFinal_ex(ctx(d), ret, NULL) == 1 ? 0 : -ENOMEM;

	digest_free(d);
	return r;
}

void digest_free(struct digest *d)
{
	EVP_MD_CTX_free(ctx(d));
}
