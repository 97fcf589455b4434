/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an archive of images: its tar is mapped, and index.json, manifest.json
 * and what they name are followed. Nothing is read beyond the file.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "oci/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const kinds[] = { "oci-archive", "docker-archive" };
	static char path[64];
	unsigned i, k;
	FILE *f;

	if (!path[0])
		(void)snprintf(path, sizeof(path), "/dev/shm/plyfs-fuzz-image.%d", (int)getpid());
	f = fopen(path, "we");
	if (!f)
		return 0;
	(void)fwrite(data, 1, size, f);
	(void)fclose(f);
	for (k = 0; k < 2; k++) {
		struct image *img;
		char ref[100], *err = NULL;

		(void)snprintf(ref, sizeof(ref), "%s:%s", kinds[k], path);
		if (image_open(ref, NULL, &img, &err) == 0) {
			for (i = 0; i < image_layers(img); i++) {
				const struct image_layer *l = image_layer(img, i);
				struct source s;

				if (l->off > size || l->size > size - l->off)
					abort();
				if (image_layer_open(l, &s, &err) == 0)
					(void)close(s.fd);
			}
			image_close(img);
		}
		free(err);
	}
	(void)unlink(path);
	return 0;
}
