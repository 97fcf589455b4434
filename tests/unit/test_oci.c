/* SPDX-License-Identifier: Apache-2.0 */
/* Images: names and platforms, the map of a tar, and what the writer wrote read back. */
#include "unit.h"

#include <errno.h>

#include "oci/oci_i.h"
#include "oci/write.h"

/* In a directory of its own. */
static int setup(void **state)
{
	char name[256];
	int fd = unit_dir(name, sizeof(name)), r = fchdir(fd);

	(void)state;
	(void)close(fd);
	return r;
}

static void test_names(void **state)
{
	(void)state;
	assert_true(reference_same("x", "docker.io/library/x:latest"));
	assert_true(reference_same("localhost/x", "x:latest"));
	assert_true(reference_same("docker.io/a/b:c", "a/b:c"));
	assert_false(reference_same("x", "x:y"));
	assert_false(reference_same("quay.io/x", "x"));
	assert_false(reference_same("host:5000/x", "host"));
	assert_true(reference_same("host:5000/x", "host:5000/x:latest"));
}

static int score(const char *want, const char *os, const char *arch, const char *variant)
{
	struct platform p;
	char *err = NULL;

	assert_int_equal(platform_parse(want, &p, &err), 0);
	return platform_score(&p, os, arch, variant);
}

static void test_platforms(void **state)
{
	static const char *const wrong[] = { "", "linux", "linux/", "/amd64", "linux/arm/v7/x",
					     "linux//v7", "Linux/amd64" };
	struct platform p;
	char *err = NULL;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(platform_parse(wrong[i], &p, &err), -EINVAL);
		free(err);
		err = NULL;
	}
	assert_true(score("linux/amd64", "linux", "amd64", "") > 0);
	assert_int_equal(score("linux/amd64", "linux", "arm64", ""), 0);
	assert_int_equal(score("linux/amd64", "windows", "amd64", ""), 0);
	assert_int_equal(score("linux/arm64", "linux", "arm64", "v8"), 100);
	assert_int_equal(score("linux/arm/v7", "linux", "arm", "v6"), 0);
	assert_true(score("linux/arm", "linux", "arm", "v6") > 0);
	/* a machine runs what is older, the nearest first */
	p = (struct platform){ .os = "linux", .arch = "arm", .variant = "v7" };
	assert_true(platform_score(&p, "linux", "arm", "v7") >
		    platform_score(&p, "linux", "arm", "v6"));
	assert_true(platform_score(&p, "linux", "arm", "v6") >
		    platform_score(&p, "linux", "arm", "v5"));
	p.variant[1] = '6';
	assert_int_equal(platform_score(&p, "linux", "arm", "v7"), 0);
}

static void test_digests(void **state)
{
	char s[DIGEST_STRING_SIZE], zero[DIGEST_STRING_SIZE] = "sha256:";
	uint8_t d[32], e[32];

	(void)state;
	assert_int_equal(digest_of("abc", 3, d), 0);
	digest_string(d, s);
	assert_string_equal(
		s, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(digest_parse(s, e), 0);
	assert_true(digest_equal(d, e));
	s[10] = 'B';
	assert_int_equal(digest_parse(s, e), -EINVAL);
	assert_int_equal(digest_parse("sha512:00", e), -EPROTONOSUPPORT);
	assert_int_equal(digest_parse("sha256:ba78", e), -EINVAL);
	assert_int_equal(digest_parse("", e), -EINVAL);
	memset(zero + 7, '0', 64);
	assert_int_equal(digest_parse(zero, e), -EINVAL);
}

/* An image of one layer, whose tar is ten kilobytes of zeros. */
static void write_image(const char *dest, const char *config_more, int layer_fill)
{
	static const char type[] = "application/vnd.oci.image.manifest.v1+json";
	struct image_descriptor d = { .media_type = type, .os = "linux", .arch = "amd64" };
	char layer[10240] = { 0 }, hex[DIGEST_STRING_SIZE], doc[2000];
	char *err = NULL;
	uint8_t sha[32], config[32];
	struct image_writer *w;
	int n, fd;

	layer[sizeof(layer) - 1] = (char)layer_fill;
	assert_int_equal(image_writer_new(dest, &w, &err), 0);
	fd = image_writer_begin(w, &err);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, layer, sizeof(layer)), sizeof(layer));
	assert_int_equal(digest_of(layer, sizeof(layer), sha), 0);
	digest_string(sha, hex);
	assert_int_equal(image_writer_blob(w, fd, sha, &err), 0);
	n = snprintf(doc, sizeof(doc),
		     "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\","
		     "\"diff_ids\":[\"%s\"]}%s}",
		     hex, config_more);
	assert_int_equal(image_writer_put(w, doc, (size_t)n, config, &err), 0);
	{
		char chex[DIGEST_STRING_SIZE];

		digest_string(config, chex);
		n = snprintf(
			doc, sizeof(doc),
			"{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":"
			"\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":"
			"%d},\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\","
			"\"digest\":\"%s\",\"size\":10240}]}",
			type, chex, n, hex);
	}
	assert_int_equal(image_writer_put(w, doc, (size_t)n, d.sha256, &err), 0);
	d.size = (uint64_t)n;
	assert_int_equal(image_writer_finish(w, &d, &err), 0);
	image_writer_free(w);
}

/* Opens it, and the layer is what was written. */
static void read_image(const char *ref, int layer_fill)
{
	struct image *img;
	struct source s;
	char *err = NULL, last;

	if (image_open(ref, NULL, &img, &err) < 0)
		fail_msg("%s", err);
	assert_int_equal(image_layers(img), 1);
	assert_string_equal(image_os(img), "linux");
	assert_int_equal(image_layer_open(image_layer(img, 0), &s, &err), 0);
	assert_int_equal(s.size, 10240);
	assert_int_equal(source_pread(&s, &last, 1, 10239), 1);
	assert_int_equal(last, (char)layer_fill);
	close(s.fd);
	image_close(img);
}

static void refuse(const char *ref, int r)
{
	struct image *img;
	char *err = NULL;

	assert_int_equal(image_open(ref, NULL, &img, &err), r);
	assert_non_null(err);
	free(err);
}

static void test_layout(void **state)
{
	struct image_writer *w;
	char *err = NULL;

	(void)state;
	write_image("oci:out:a", "", 1);
	read_image("oci:out", 1);
	read_image("oci:out:a", 1);
	/* beside it, and then in its place */
	write_image("oci:out:b", "", 2);
	read_image("oci:out:a", 1);
	read_image("oci:out:b", 2);
	refuse("oci:out", -ENOENT);
	write_image("oci:out:a", ",\"author\":\"x\"", 3);
	read_image("oci:out:a", 3);
	read_image("oci:out:b", 2);
	refuse("oci:out:c", -ENOENT);
	/* what is no layout is not written into */
	assert_int_equal(mkdir("other", 0755), 0);
	assert_int_equal(mkdir("other/thing", 0755), 0);
	assert_int_equal(image_writer_new("oci:other", &w, &err), -EEXIST);
	free(err);
	assert_int_equal(image_writer_new("dir:other", &w, &err), -EINVAL);
	free(err);
}

static void test_archive(void **state)
{
	(void)state;
	write_image("oci-archive:out.tar:a", "", 4);
	read_image("oci-archive:out.tar:a", 4);
	read_image("out.tar", 4);
	/* replaced, not added to */
	write_image("oci-archive:out.tar:b", "", 5);
	read_image("oci-archive:out.tar:b", 5);
	refuse("oci-archive:out.tar:a", -ENOENT);
	assert_int_equal(access("out.tar:b", F_OK), -1);
}

static void test_copy(void **state)
{
	struct image_layer l = { .path = NULL };
	struct image_writer *w;
	uint8_t got[32], want[32];
	char *err = NULL;
	FILE *f = fopen("blob", "we");

	(void)state;
	assert_non_null(f);
	assert_int_equal(fputs("xxxcontentyyy", f) >= 0, 1);
	assert_int_equal(fclose(f), 0);
	l.path = "blob";
	l.off = 3;
	l.size = 7;
	assert_int_equal(digest_of("content", 7, want), 0);
	assert_int_equal(image_writer_new("oci:copied", &w, &err), 0);
	assert_int_equal(image_writer_copy(w, &l, got, &err), 0);
	assert_true(digest_equal(got, want));
	/* what it should be is compared */
	memset(l.digest, 1, sizeof(l.digest));
	assert_int_equal(image_writer_copy(w, &l, got, &err), -EBADMSG);
	free(err);
	l.size = 100;
	assert_int_equal(image_writer_copy(w, &l, got, &err), -EBADMSG);
	free(err);
	/* a second time it is there already */
	memset(l.digest, 0, sizeof(l.digest));
	l.size = 7;
	assert_int_equal(image_writer_copy(w, &l, got, &err), 0);
	image_writer_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_platforms),
		cmocka_unit_test(test_digests),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_archive),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
