# SPDX-License-Identifier: Apache-2.0
#
# Builds plyfs. C files are found by their place, none is named here:
#   lib/ fs/layer/ fs/union/   -> libplyfs.a   (knows no FUSE)
#   oci/                       -> libplyfs.a   (images and where they lie)
#   fs/ fs/fuse/               -> libdaemon.a, and with fs/main.c -> plyfs
#   tools/                     -> plyctl
#   tests/unit/test_*.c        -> one cmocka program each
#   tests/fuzz/fuzz_*.c        -> one libFuzzer program each
#   tests/*/*.c                -> one program each
# A comment "LDLIBS: -lfoo" in a test's source adds libraries to its link.

#? make [all]      build/plyfs, build/plyctl    make check    every test [T=pattern QUICK=1]
#? make deps       what building and testing    make unit     unit tests (ASan+UBSan, TSan)
#?                 need, with apt and libfuse   make fault    fault injection
#? make install    into DESTDIR PREFIX          make fuzz     the fuzzers, FUZZ_SECONDS=60 each
#? make uninstall  remove what install put      make bench    measurements [ARGS=...]
#? make demo       a real image on plyfs        make lint     format and static checks
#? make clean      remove the build             make format   format the sources
#? CC=gcc|clang    SANITIZE=address,undefined|thread    FAULT=1 (fault injection)
#? DEVELOPER=1 (warnings are errors)    V=1 (show commands)    J=N (tests at a time)
#? BUILD=dir (else build, build-clang, build-asan, ...)    CFLAGS CPPFLAGS LDFLAGS
#? FUSE_OVERLAYFS=1 (install also offers the name fuse-overlayfs in bin)
#? deps may stand before any other target: make deps check

VERSION := 0.1.0

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
helpers := $(DESTDIR)$(PREFIX)/libexec/plyfs
PKG_CONFIG ?= pkg-config
DEPS_PREFIX ?= $(CURDIR)/.deps

CC := $(if $(filter default,$(origin CC)),gcc,$(CC))

# One build directory for each combination: build, build-clang, build-asan, ...
words := $(filter-out gcc,$(notdir $(CC))) $(if $(findstring address,$(SANITIZE)),asan,\
	$(SANITIZE:thread=tsan)) $(if $(FAULT),fault)
space := $() $()
BUILD ?= build$(subst $(space),,$(addprefix -,$(words)))
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
# `make deps check`: what is installed is looked at after it was installed.
ifneq ($(filter deps,$(MAKECMDGOALS)),)
rest := $(filter-out deps,$(MAKECMDGOALS))
.PHONY: deps $(rest)
.NOTPARALLEL:
deps:
	DEPS_PREFIX='$(DEPS_PREFIX)' scripts/deps
$(rest): deps
	+@$(MAKE) --no-print-directory $@
else

# --- flags ------------------------------------------------------------------
# That (void) marks a result nobody needs is understood, and checked, by clang only.
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wformat=2 -Wundef -Wvla -Wpointer-arith -Wwrite-strings -Wcast-qual \
	-Wimplicit-fallthrough $(if $(findstring clang,$(CC)),,-Wno-unused-result) \
	$(if $(DEVELOPER),-Werror)
ifdef SANITIZE
HARDENING := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
LINK_SANITIZE := -fsanitize=$(SANITIZE)
CFLAGS ?= -O1 -g
else
HARDENING := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
CFLAGS ?= -O2 -g
endif

# The private prefix of `make deps` comes before the system's libraries.
pc_dirs := $(wildcard $(DEPS_PREFIX)/lib/*/pkgconfig $(DEPS_PREFIX)/lib/pkgconfig)
pc_path := $(subst $(space),:,$(strip $(pc_dirs) $(PKG_CONFIG_PATH)))
pc := PKG_CONFIG_PATH='$(pc_path)' $(PKG_CONFIG)
ask := is missing: run 'make deps' as root, or install it
# $(call need,what pkg-config is asked,what a person knows it as)
need = $(if $(shell $(pc) --exists '$(1)' 2>/dev/null && echo yes),,$(error $(2) $(ask) \
	(pkg-config finds no '$(1)')))
ifneq ($(if $(MAKECMDGOALS),$(filter-out clean help lint format uninstall check \
	unit fuzz fault,$(MAKECMDGOALS)),all),)
$(if $(shell command -v $(PKG_CONFIG)),,$(error pkg-config $(ask)))
$(if $(shell command -v $(firstword $(CC))),,$(error the compiler $(CC) $(ask)))
$(call need,fuse3 >= 3.17,libfuse 3.17 or newer)
$(call need,libxxhash,xxHash (libxxhash-dev))
$(call need,libzstd,zstd (libzstd-dev))
$(call need,zlib,zlib (zlib1g-dev))
$(call need,libcrypto,OpenSSL (libssl-dev))
$(call need,libarchive,libarchive (libarchive-dev))
$(call need,libisal,ISA-L (libisal-dev))
$(call need,liblzma,liblzma (liblzma-dev))
$(call need,yajl,yajl (libyajl-dev))
$(call need,jansson,jansson (libjansson-dev))
$(call need,ncursesw,ncurses (libncurses-dev))
endif

pkgs := fuse3 libxxhash libzstd zlib libcrypto
# What makes indexes and reads images: not in the daemon.
tool_pkgs := libarchive libisal liblzma yajl jansson
pkg_cflags := $(subst -I/,-isystem /,$(shell $(pc) --cflags $(pkgs) $(tool_pkgs) ncursesw \
	2>/dev/null))
# Linked from archives where there are any: the daemon then also runs where these
# libraries are not installed, in containers and other releases.
archive = $(firstword $(wildcard $(shell $(pc) --variable=libdir fuse3 \
	2>/dev/null)/lib$(1).a $(shell $(CC) -print-file-name=lib$(1).a)))
pkg_libs := $(foreach l,$(shell $(pc) --static --libs $(pkgs) 2>/dev/null),$(or \
	$(if $(filter -lfuse3 -luring -lnuma -lxxhash -lzstd -lz -lcrypto,$(l)),$(call \
	archive,$(l:-l%=%))),$(l)))
tool_libs := -Wl,--as-needed $(shell $(pc) --libs $(tool_pkgs) 2>/dev/null) -lbz2

# _GNU_SOURCE is empty, so that a file may define it too.
PLYFS_CPPFLAGS = -iquote . -iquote lib -iquote fs -D_GNU_SOURCE= \
	-D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=317 -DPLYFS_VERSION='"$(VERSION)"' \
	$(if $(FAULT),-DPLYFS_FAULT) $(pkg_cflags) $(CPPFLAGS)
PLYFS_CFLAGS = -std=gnu17 -fPIE -pthread $(WARNINGS) $(HARDENING) $(CFLAGS)
PLYFS_LDFLAGS = -pie -pthread -Wl,-z,relro,-z,now $(LINK_SANITIZE) $(LDFLAGS)
compile = $(CC) $(PLYFS_CPPFLAGS) $(PLYFS_CFLAGS) -MMD -MP
# Other flags or another libfuse: another build. But -Werror changes no object.
stamp := $(BUILD)/flags
flags = $(subst ','\'',$(filter-out -Werror,$(compile) $(PLYFS_LDFLAGS) $(pkg_libs) \
	$(file <$(DEPS_PREFIX)/recipe)))
file_libs = $(shell sed -n 's|.*LDLIBS:\(.*\)|\1|p' $(1) | sed 's|\*/.*||')

# --- what there is ----------------------------------------------------------
lib_src := $(wildcard lib/*.c fs/layer/*.c fs/union/*.c oci/*.c)
tool_src := $(wildcard tools/*.c)
daemon_src := $(filter-out fs/main.c,$(wildcard fs/*.c fs/fuse/*.c))
unit_src := $(wildcard tests/unit/test_*.c)
fuzz_src := $(wildcard tests/fuzz/fuzz_*.c)
# Programs of tests/fault use what only FAULT=1 has.
prog_src := $(filter-out tests/unit/% tests/fuzz/% $(if $(FAULT),,tests/fault/%),\
	$(wildcard tests/*/*.c))
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
prog = $(patsubst %.c,$(BUILD)/%,$(1))
archives := $(BUILD)/libdaemon.a $(BUILD)/libplyfs.a
Q := $(if $(V),,@)
say = echo '  $(1)	$(2)'
.PHONY: all test-programs unit-programs fuzz-programs check unit fuzz fault bench \
	demo lint format install uninstall clean help deps FORCE
all: $(BUILD)/plyfs $(if $(tool_src),$(BUILD)/plyctl)
test-programs: $(call prog,$(prog_src))
unit-programs: $(call prog,$(unit_src))
fuzz-programs: $(call prog,$(fuzz_src))
$(stamp): FORCE
	@mkdir -p $(@D); echo '$(flags)' | cmp -s - $@ || echo '$(flags)' >$@

# In our own code, not in tests, a banned function is an error.
$(BUILD)/obj/%.o: %.c $(stamp)
	@mkdir -p $(@D); $(call say,CC,$<)
	$(Q)$(compile) $(if $(filter lib/% fs/% oci/% tools/%,$<),-include lib/banned.h) -c -o $@ $<

$(BUILD)/libplyfs.a: $(call obj,$(lib_src))
$(BUILD)/libdaemon.a: $(call obj,$(daemon_src))
$(archives):
	@mkdir -p $(@D); rm -f $@; $(call say,AR,$@)
	$(Q)$(AR) rcsD $@ $^
programs := $(call prog,$(unit_src) $(fuzz_src) $(prog_src))
$(call prog,$(unit_src)): more = $(call need,cmocka,libcmocka-dev) -lcmocka
$(call prog,$(fuzz_src)): more = -fsanitize=fuzzer
$(programs): more += $(call file_libs,$*.c) $(tool_libs)
$(programs): $(BUILD)/%: $(BUILD)/obj/%.o $(archives)
$(BUILD)/plyfs: $(call obj,fs/main.c) $(archives)
$(BUILD)/plyctl: more = $(tool_libs) $(shell $(pc) --libs ncursesw 2>/dev/null)
$(BUILD)/plyctl: $(call obj,$(tool_src)) $(archives)
$(programs) $(BUILD)/plyfs $(BUILD)/plyctl:
	@mkdir -p $(@D); $(call say,LD,$@)
	$(Q)$(CC) $(PLYFS_LDFLAGS) -o $@ $^ $(more) $(pkg_libs)

-include $(shell [ ! -d $(BUILD)/obj ] || find $(BUILD)/obj -name '*.d')

# --- tests ------------------------------------------------------------------
# The runner builds what the chosen tests need, each kind in its own directory.

unit: T := unit/ unit-tsan/
fault: T := fault/
fuzz: T := fuzz/
fuzz: export FUZZ_SECONDS := $(or $(FUZZ_SECONDS),60)
check unit fault fuzz:
	+@BUILD='$(BUILD)' CC='$(CC)' tests/run $(if $(J),-j $(J)) $(if $(QUICK),--quick) $(T)

demo: run := scripts/demo
bench: run := bench/run
bench demo: all
	PLYFS='$(abspath $(BUILD)/plyfs)' BUILD='$(abspath $(BUILD))' $(run) $(ARGS)

lint: ; scripts/lint
format: ; clang-format -i $$(git ls-files '*.c' '*.h')

# --- installation -----------------------------------------------------------
# fuse-overlayfs, by which name plyfs behaves as that program does, is always in
# libexec/plyfs, and with FUSE_OVERLAYFS=1 in bin, unless another is there.

manpages := $(wildcard doc/*.1 doc/*.5 doc/*.8)
alias := $(DESTDIR)$(BINDIR)/fuse-overlayfs
# Completions: files of contrib/completions and where they go, below share.
share := $(DESTDIR)$(PREFIX)/share
completions := plyctl.bash:bash-completion/completions/plyctl \
	_plyctl:zsh/site-functions/_plyctl plyctl.fish:fish/vendor_completions.d/plyctl.fish
install: all
	install -d '$(DESTDIR)$(BINDIR)' '$(helpers)'
	install -m 755 '$(BUILD)/plyfs' '$(BUILD)/plyctl' '$(DESTDIR)$(BINDIR)'
	ln -sfn '$(BINDIR)/plyfs' '$(helpers)/fuse-overlayfs'
ifdef FUSE_OVERLAYFS
	@if [ -e '$(alias)' ] && [ "$$(readlink '$(alias)')" != plyfs ]; then \
		echo '$(alias) is another program, remove it first' >&2; exit 1; fi
	ln -sfn plyfs '$(alias)'
endif
	for page in $(manpages); do \
		install -Dm 644 -t '$(DESTDIR)$(MANDIR)'/man$${page##*.} $$page || exit; done
	for c in $(completions); do \
		install -Dm 644 contrib/completions/$${c%%:*} '$(share)'/$${c#*:} || exit; done

uninstall:
	rm -f '$(DESTDIR)$(BINDIR)/plyfs' '$(DESTDIR)$(BINDIR)/plyctl' '$(helpers)/fuse-overlayfs'
	[ ! -d '$(helpers)' ] || rmdir '$(helpers)'
	[ "$$(readlink '$(alias)')" != plyfs ] || rm -f '$(alias)'
	for page in $(manpages); do \
		rm -f '$(DESTDIR)$(MANDIR)'/man$${page##*.}/$${page##*/}; done
	for c in $(completions); do rm -f '$(share)'/$${c#*:}; done

clean:
	rm -rf $(dir $(wildcard build*/flags)) '$(BUILD)'

help: ; @sed -n 's/^#? \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

endif
