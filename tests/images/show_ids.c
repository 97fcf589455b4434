/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the ids and capabilities that executing this file gave: a static
 * program for the set-id and capability files of the test images (busybox
 * gives such privileges up).
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");

	if (!status)
		return 1;
	printf("uid=%u euid=%u egid=%u", (unsigned int)getuid(),
	       (unsigned int)geteuid(), (unsigned int)getegid());
	while (fgets(line, sizeof(line), status)) {
		if (strncmp(line, "CapEff:\t", 8) == 0)
			printf(" caps=%s", line + 8);
	}
	fclose(status);
	return 0;
}
