/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ovlmount OPTIONS DIR
 *
 * Mounts kernel overlayfs with one mount(2): mount(8) and the libraries that
 * it loads would cost more than the mount.
 */
#include "bench.h"

#include <sys/mount.h>

int main(int argc, char **argv)
{
	if (argc != 3)
		bench_fail("wrong arguments");
	if (mount("overlay", argv[2], "overlay", 0, argv[1]))
		bench_fail("overlay on %s: %m (%s)", argv[2], argv[1]);
	return 0;
}
