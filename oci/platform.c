/* SPDX-License-Identifier: Apache-2.0 */
/* Platforms: what this machine is in Go's words, and what suits it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "oci/oci_i.h"

/* uname(2)'s machine, as Go and so images call it. */
static const struct {
	const char *machine, *arch, *variant;
} machines[] = {
	{ "x86_64", "amd64", "" },
	{ "aarch64", "arm64", "v8" },
	{ "armv7l", "arm", "v7" },
	{ "armv6l", "arm", "v6" },
	{ "armv5tel", "arm", "v5" },
	{ "i386", "386", "" },
	{ "i486", "386", "" },
	{ "i586", "386", "" },
	{ "i686", "386", "" },
	{ "ppc64le", "ppc64le", "" },
	{ "ppc64", "ppc64", "" },
	{ "s390x", "s390x", "" },
	{ "riscv64", "riscv64", "" },
	{ "mips64", "mips64le", "" },
	{ "mips", "mipsle", "" },
	{ "loongarch64", "loong64", "" },
};

static void this_machine(struct platform *ret)
{
	struct utsname u;
	size_t i;

	memset(ret, 0, sizeof(*ret));
	(void)snprintf(ret->os, sizeof(ret->os), "linux");
	if (uname(&u) < 0)
		return;
	for (i = 0; i < sizeof(machines) / sizeof(machines[0]); i++)
		if (!strcmp(u.machine, machines[i].machine)) {
			(void)snprintf(ret->arch, sizeof(ret->arch), "%s", machines[i].arch);
			(void)snprintf(ret->variant, sizeof(ret->variant), "%s",
				       machines[i].variant);
			return;
		}
	(void)snprintf(ret->arch, sizeof(ret->arch), "%.31s", u.machine);
}

int platform_parse(const char *s, struct platform *ret, char **ret_err)
{
	char *const part[] = { ret->os, ret->arch, ret->variant };
	const char *p = s;
	unsigned i;

	if (!s) {
		this_machine(ret);
		return 0;
	}
	memset(ret, 0, sizeof(*ret));
	ret->asked = true;
	for (i = 0; i < 3; i++) {
		size_t n = strcspn(p, "/");

		if (!n || n >= sizeof(ret->os) ||
		    strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789._-") < n)
			break;
		memcpy(part[i], p, n);
		p += n;
		if (!*p)
			return i >= 1 ? 0 :
					oci_fail(ret_err, -EINVAL,
						 "'%s' is no platform: OS/ARCH[/VARIANT]", s);
		p++;
	}
	return oci_fail(ret_err, -EINVAL, "'%s' is no platform: OS/ARCH[/VARIANT]", s);
}

/* The number of "v7". */
static int version(const char *v)
{
	return v[0] == 'v' && v[1] >= '1' && v[1] <= '9' && !v[2] ? v[1] - '0' : 0;
}

int platform_score(const struct platform *want, const char *os, const char *arch,
		   const char *variant)
{
	const char *mine = want->variant;

	if (strcmp(want->os, os) != 0 || strcmp(want->arch, arch) != 0)
		return 0;
	/* arm64 is v8 where nothing is said, arm is v7 */
	if (!strcmp(arch, "arm64")) {
		if (!*mine)
			mine = "v8";
		if (!*variant)
			variant = "v8";
	} else if (!strcmp(arch, "arm") && !*variant) {
		variant = want->asked && *mine ? mine : "v7";
	}
	if (!strcmp(mine, variant))
		return 100;
	if (!*mine || !*variant)
		return 50;
	if (want->asked)
		return 0;
	/* what is older runs too */
	return version(variant) && version(variant) < version(mine) ? version(variant) : 0;
}
