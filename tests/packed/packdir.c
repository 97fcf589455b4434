/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packdir [--codec raw|gzip|zstd] [--frame BYTES] [--chunk BYTES] [--level N]
 *         [--sha256] [--no-xxh3] DIR OUTDIR NAME
 */
#include <getopt.h>

#include "packtree.h"

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "codec", 1, NULL, 'c' },
		{ "frame", 1, NULL, 'f' },
		{ "chunk", 1, NULL, 'k' },
		{ "level", 1, NULL, 'l' },
		{ "sha256", 0, NULL, 's' },
		{ "no-xxh3", 0, NULL, 'x' },
		{ NULL, 0, NULL, 0 },
	};
	struct packtree_conf c = { .codec = INDEX_ZSTD };
	int o, fd;

	while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (o) {
		case 'c':
			c.codec = !strcmp(optarg, "raw")  ? INDEX_RAW :
				  !strcmp(optarg, "gzip") ? INDEX_GZIP :
							    INDEX_ZSTD;
			break;
		case 'f':
			c.frame = strtoul(optarg, NULL, 0);
			break;
		case 'k':
			c.chunk = strtoul(optarg, NULL, 0);
			break;
		case 'l':
			c.level = (int)strtol(optarg, NULL, 0);
			break;
		case 's':
			c.sha256 = true;
			break;
		case 'x':
			c.no_xxh3 = true;
			break;
		default:
			return 2;
		}
	}
	if (argc - optind != 3)
		return 2;
	fd = open(argv[optind + 1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		perror(argv[optind + 1]);
		return 1;
	}
	packtree(argv[optind], fd, argv[optind + 2], &c);
	return 0;
}
