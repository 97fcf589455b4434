/* SPDX-License-Identifier: Apache-2.0 */
/* showstats FILE: what stats_print() makes of it. */
#include <stdio.h>
#include <string.h>

#include "fs/fuse/stats.h"

int main(int argc, char *argv[])
{
	int r;

	if (argc != 2)
		return 2;
	r = stats_print(stdout, argv[1]);
	if (r)
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
	return r ? 1 : 0;
}
