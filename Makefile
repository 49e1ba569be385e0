# keelson: a PID 1 init and container supervisor for LinuxKit images.
# `make help` lists the targets.

HOSTARCH := $(shell go env GOHOSTARCH)
ARCH     ?= $(HOSTARCH)
BUILD    := build/$(ARCH)
ROOT     := $(BUILD)/root
KEELSON  := build/bin/keelson
NEED     := .ci/need

# Names of the architectures as GNU, Debian and QEMU write them.
TRIPLE_amd64 := x86_64-linux-gnu
TRIPLE_arm64 := aarch64-linux-gnu
TRIPLE_s390x := s390x-linux-gnu
TRIPLE_riscv64 := riscv64-linux-gnu
QEMU_amd64   := qemu-system-x86_64:qemu-system-x86
QEMU_arm64   := qemu-system-aarch64:qemu-system-arm
QEMU_s390x   := qemu-system-s390x:qemu-system-misc
QEMU_riscv64 := qemu-system-riscv64:qemu-system-misc
# The first release of Debian with an architecture that Debian 12 lacks.
RELEASE_riscv64 := trixie
TRIPLE       := $(or $(TRIPLE_$(ARCH)),$(error ARCH=$(ARCH) is not supported: amd64, arm64, riscv64 or s390x))

# The version of everything that is built: tag, number of commits since, commit, and
# "-dirty" if there are uncommitted changes. It does not contain the time, so that the
# same sources give the same bytes.
VERSION := $(or $(shell git describe --tags --always --dirty 2>/dev/null),unknown)
STAMP   := -X keelson/runtime/version.stamped=$(VERSION)

# All targets use the compile flags of the guest: Go compiles a package once for each set
# of flags, and `make test` on a fresh machine spends most of its time on compiling.
GOFLAGS_ALL := $(strip $(GOFLAGS) -trimpath -buildvcs=false -tags=grpcnotrace,nethttpomithttp2)
GO          := CGO_ENABLED=0 GOFLAGS='$(GOFLAGS_ALL)' go
GORACE      := CGO_ENABLED=1 GOFLAGS='$(GOFLAGS_ALL)' go

# Without -buildvcs=false, a clone, a worktree and an archive give different bytes.
GOBUILD := CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go build -trimpath -buildvcs=false -ldflags '-s -w'

# What building runc for an architecture needs: static libraries, or a compiler and the
# libraries of another architecture.
runc_needs = $(if $(filter $(HOSTARCH),$(1)), \
	gcc:gcc /usr/lib/$(TRIPLE_$(1))/libc.a:libc6-dev pkg-config:pkg-config /usr/lib/$(TRIPLE_$(1))/libseccomp.a:libseccomp-dev, \
	$(TRIPLE_$(1))-gcc:gcc-$(subst _,-,$(TRIPLE_$(1))) pkg-config:pkg-config /usr/$(TRIPLE_$(1))/lib/libc.a:libc6-dev-$(1)-cross)

ifeq ($(ARCH),$(HOSTARCH))
SYSROOT    :=
RUNC_CGO   := CC=gcc
else
SYSROOT    := $(BUILD)/sysroot
# Go's cache ignores the output of pkg-config but not CGO_LDFLAGS. The folder is in
# CGO_LDFLAGS, so that a tree that was moved is not linked with the old libraries.
RUNC_CGO   := CC=$(TRIPLE)-gcc PKG_CONFIG_SYSROOT_DIR=$(CURDIR)/$(SYSROOT)/root \
	PKG_CONFIG_LIBDIR=$(CURDIR)/$(SYSROOT)/root/usr/lib/$(TRIPLE)/pkgconfig \
	CGO_LDFLAGS=-L$(CURDIR)/$(SYSROOT)/root/usr/lib/$(TRIPLE)
endif

RUNC_TAGS := netgo osusergo seccomp urfave_cli_no_docs runc_nocriu runcmain

# Packages of the guest, the architectures that only `make test-all` builds and boots, and
# the packages that are vetted for these: without KEELSON_EVERYTHING, those with code for each
# architecture, which need few others.
GUEST_ROOMS := ./init/... ./mounts/... ./netcfg/... ./runtime/... ./services/...
MORE_ARCHS  := riscv64 s390x
VET_ARCHS   := $(MORE_ARCHS)
MORE_ROOMS  := $(if $(KEELSON_EVERYTHING),$(GUEST_ROOMS),./init/... ./mounts/... ./netcfg/... ./runtime/staging)

# Time of the last commit, in seconds since 1970: a guest does not trust a clock that is
# earlier.
BUILD_TIME := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null))

# The version in /etc/os-release, which depends only on the commit.
OS_VERSION := $(VERSION:-dirty=)

# Mount points of /init, which a read-only root must have.
MOUNT_POINTS := dev proc run sys tmp var
# Other folders of hier(7), and folders that LinuxKit's packages bind: a bind mount fails
# if its source does not exist.
FOLDERS := etc/dm-crypt etc/ssl/certs etc/sysctl.d home media mnt opt srv
# Folders that only root may enter.
PRIVATE := root root/.ssh

# /etc/localtime for UTC (RFC 9636), in printf's syntax: header and time type, for readers
# of 32-bit times and again for 64-bit times, then the rule as text.
TZIF := TZif2$(subst x,\000,xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx)\001\000\000\000\004\000\000\000\000\000\000UTC\000

IMAGE_NEEDS := dpkg-deb:dpkg depmod:kmod /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
TEST_NEEDS  := $(QEMU_amd64) $(QEMU_arm64) $(QEMU_s390x) $(QEMU_riscv64) mke2fs:e2fsprogs gcc:gcc zsh:zsh fish:fish mandoc:mandoc /usr/share/bash-completion/bash_completion:bash-completion busybox:busybox-static ip:iproute2 dnsmasq:dnsmasq-base kea-dhcp4:kea-dhcp4-server kea-dhcp6:kea-dhcp6-server dhcpd:isc-dhcp-server radvd:radvd curl:curl chromium:chromium \
	mksquashfs:squashfs-tools mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs mkfs.erofs:erofs-utils veritysetup:cryptsetup-bin cryptsetup:cryptsetup-bin mkswap:util-linux fakeroot:fakeroot xorriso:xorriso \
	cpio:cpio tar:tar zstd:zstd xz:xz-utils minisign:minisign nsenter:util-linux mkfs.fat:dosfstools mcopy:mtools sgdisk:gdisk sfdisk:fdisk qemu-img:qemu-utils \
	x86_64-linux-gnu-objcopy:binutils-x86-64-linux-gnu aarch64-linux-gnu-objcopy:binutils-aarch64-linux-gnu \
	syslinux:syslinux /usr/lib/syslinux/mbr/mbr.bin:syslinux-common \
	/usr/share/OVMF/OVMF_CODE_4M.fd:ovmf /usr/share/AAVMF/AAVMF_CODE.fd:qemu-efi-aarch64 \
	$(call runc_needs,$(HOSTARCH)) $(call runc_needs,amd64) $(call runc_needs,arm64)

LINT_NEEDS  := shellcheck:shellcheck codespell:codespell mdl:ruby-mdl

# Full reference of the image for LinuxKit's init section.
INIT_IMAGE = example.org/keelson/init:$(VERSION)
# That of the image of the gate.
GATE_IMAGE = example.org/keelson/gate:$(VERSION)
# That of the image of disk, and other packages of Debian in it than the usual ones: a list with commas.
DISK_IMAGE = example.org/keelson/disk:$(VERSION)
DISK_PACKAGES =

.DEFAULT_GOAL := all
.PHONY: all guest man completions kernel microvm-kernel keelson init-image disk-image release release-check run test test-all test-load chaos power-cuts bench chart lint vet lint-more vulncheck clean help needs-run needs-test

all: guest keelson ## Build the guest binaries and the host tool keelson

guest: ## Build the guest binaries for ARCH under build/ARCH/root
	@$(NEED) $(call runc_needs,$(ARCH))
	$(if $(SYSROOT),@RELEASE=$(RELEASE_$(ARCH)) .ci/foreign-debs $(ARCH) $(CURDIR)/$(SYSROOT) libseccomp-dev)
	@mkdir -p $(addprefix $(ROOT)/,usr/bin usr/libexec usr/lib/keelson sbin $(MOUNT_POINTS) $(FOLDERS) $(PRIVATE))
	@chmod 0700 $(addprefix $(ROOT)/,$(PRIVATE))
	$(GOBUILD) -ldflags '-s -w -E main.entry $(STAMP)' -o $(ROOT)/init ./init
	$(GOBUILD) -tags "grpcnotrace nethttpomithttp2" -ldflags '-s -w $(STAMP)' -o $(ROOT)/usr/bin/service ./services/cmd/service
	for name in containerd ctr; do ln -sf service $(ROOT)/usr/bin/$$name; done
	$(GOBUILD) -o $(ROOT)/usr/bin/containerd-shim-runc-v2 ./services/cmd/shimstart
	# Without -buildid=, the bytes would depend on the name of the folder of SYSROOT.
	.ci/runc-source $(BUILD)/runc
	$(RUNC_CGO) CGO_ENABLED=1 GOOS=linux GOARCH=$(ARCH) go build -modfile=$(BUILD)/runc/go.mod -trimpath \
		-tags '$(RUNC_TAGS)' \
		-ldflags '-s -w -buildid= -linkmode external -extldflags -static' \
		-o $(ROOT)/usr/bin/runc github.com/opencontainers/runc
	# The shim recognises this runc by its size: an image may contain another.
	$(GOBUILD) -tags no_grpc -ldflags "-s -w -X main.runcSize=$$(stat -c %s $(ROOT)/usr/bin/runc)" \
		-o $(ROOT)/usr/libexec/containerd-shim-runc-v2 ./services/cmd/shim
	# Images of services, with their mount points, and not part of the root.
	@mkdir -p $(addprefix $(BUILD)/gate/,usr/bin dev proc sys etc/keelson/gate run/keelson/gate)
	$(GOBUILD) -tags nethttpomithttp2 -ldflags '-s -w $(STAMP)' -o $(BUILD)/gate/usr/bin/gate ./services/cmd/gate
	@mkdir -p $(addprefix $(BUILD)/network/,usr/bin dev proc sys etc run/keelson/net run/resolvconf run/sysctl/net run/sysctl/kernel)
	@touch $(BUILD)/network/run/sysctl/kernel/hostname
	$(GOBUILD) -tags nethttpomithttp2 -ldflags '-s -w $(STAMP)' -o $(BUILD)/network/usr/bin/network ./netcfg/cmd/network
	@mkdir -p $(addprefix $(BUILD)/dhcp/,usr/bin dev proc sys run/keelson/net var/lib/keelson/net)
	$(GOBUILD) -ldflags '-s -w $(STAMP)' -o $(BUILD)/dhcp/usr/bin/dhcp ./netcfg/cmd/dhcp
	# Not an image but a part of the root, for images that list it.
	@mkdir -p $(BUILD)/disk/usr/bin
	$(GOBUILD) -ldflags '-s -w $(STAMP)' -o $(BUILD)/disk/usr/bin/disk ./services/cmd/disk
	$(if $(BUILD_TIME),@echo $(BUILD_TIME) >$(ROOT)/usr/lib/keelson/build-time)
	@printf '%s\n' 'NAME="keelson"' 'ID=keelson' 'VERSION_ID="$(OS_VERSION)"' 'PRETTY_NAME="keelson $(OS_VERSION)"' >$(ROOT)/etc/os-release
	@printf '$(TZIF)$(TZIF)\nUTC0\n' >$(ROOT)/etc/localtime
	@for name in poweroff reboot halt; do ln -sf ../usr/bin/service $(ROOT)/sbin/$$name; done
	ln -sf ../init $(ROOT)/sbin/usermode-helper

# What these programs know of themselves: they run on the host.
SERVICE_RUN := CGO_ENABLED=0 SOURCE_DATE_EPOCH=$(or $(BUILD_TIME),0) go run -trimpath -buildvcs=false -tags "man grpcnotrace nethttpomithttp2" \
	-ldflags '$(STAMP)' ./services/cmd/service

man: keelson ## Write the manual pages of service and keelson to build/man
	@rm -rf build/man && mkdir -p build/man/man1 build/man/man8
	$(SERVICE_RUN) man-pages build/man/man8
	SOURCE_DATE_EPOCH=$(or $(BUILD_TIME),0) $(KEELSON) man-pages build/man/man8
	mv build/man/man8/*.1 build/man/man1/

completions: ## Write the completion scripts of service to build/completions
	@rm -rf build/completions && mkdir -p build/completions
	$(SERVICE_RUN) completion bash >build/completions/service
	$(SERVICE_RUN) completion zsh >build/completions/_service
	$(SERVICE_RUN) completion fish >build/completions/service.fish

guest-%:
	@$(MAKE) --no-print-directory ARCH=$* guest

init-image: keelson guest-amd64 guest-arm64 ## Pack both guests as the image for LinuxKit's init section, and the gate as one for services: build/init-image.tar, build/gate-image.tar
	@chmod -R u=rwX,go=rX build/amd64/root build/arm64/root
	@chmod 0700 $(foreach arch,amd64 arm64,$(addprefix build/$(arch)/root/,$(PRIVATE)))
	$(KEELSON) init-image -o build/init-image.tar --name $(INIT_IMAGE) \
		amd64=build/amd64/root arm64=build/arm64/root
	@chmod -R u=rwX,go=rX build/amd64/gate build/arm64/gate
	$(KEELSON) init-image --gate -o build/gate-image.tar --name $(GATE_IMAGE) amd64=build/amd64/gate arm64=build/arm64/gate

disk-image: keelson ## Pack disk with Debian's programs as an image for LinuxKit's onboot section: build/disk-image.tar
	for arch in amd64 arm64; do mkdir -p build/$$arch/disk/usr/bin && CGO_ENABLED=0 GOOS=linux GOARCH=$$arch \
		go build -trimpath -buildvcs=false -ldflags '-s -w $(STAMP)' -o build/$$arch/disk/usr/bin/disk ./services/cmd/disk || exit 1; done
	@chmod -R u=rwX,go=rX build/amd64/disk build/arm64/disk
	$(KEELSON) init-image --disk -o build/disk-image.tar --name $(DISK_IMAGE) $(if $(DISK_PACKAGES),--packages $(DISK_PACKAGES)) \
		amd64=build/amd64/disk arm64=build/arm64/disk

RELEASE_ARCHS := amd64 arm64
# Folders of images of services, and of parts of the root.
SERVICE_IMAGES := gate network dhcp disk
RELEASE       := build/release
# Order, times and owners are fixed, so that the same tree gives the same archive.
PACK          := tar --format=ustar --sort=name --mtime=@$(or $(BUILD_TIME),0) --owner=0 --group=0 --numeric-owner

release: ## Build guests and keelson for amd64 and arm64, the init image, manual pages, completions and SHA256SUMS under build/release
	rm -rf $(RELEASE) $(RELEASE_ARCHS:%=build/%/root) $(foreach name,$(SERVICE_IMAGES),$(RELEASE_ARCHS:%=build/%/$(name)))
	@$(MAKE) --no-print-directory init-image man completions
	@mkdir -p $(RELEASE)
	chmod -R u=rwX,go=rX build/man build/completions
	$(PACK) -C build -cf - man completions | gzip -n9 >$(RELEASE)/keelson-man-$(VERSION).tar.gz
	cp LICENSE $(RELEASE)/
	cp build/init-image.tar $(RELEASE)/keelson-init-$(VERSION).tar
	cp build/gate-image.tar $(RELEASE)/keelson-gate-$(VERSION).tar
	for arch in $(RELEASE_ARCHS); do \
		$(PACK) -C build/$$arch/root -cf - . | gzip -n9 >$(RELEASE)/keelson-guest-$(VERSION)-$$arch.tar.gz && \
		for name in $(SERVICE_IMAGES); do \
			chmod -R u=rwX,go=rX build/$$arch/$$name && \
			$(PACK) -C build/$$arch/$$name -cf - . | gzip -n9 >$(RELEASE)/keelson-$$name-$(VERSION)-$$arch.tar.gz || exit 1; done && \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags '-s -w $(STAMP)' \
			-o $(RELEASE)/$(notdir $(KEELSON))-$(VERSION)-$$arch ./testvm/cmd/keelson || exit 1; done
	cd $(RELEASE) && sha256sum -- * >SHA256SUMS.new && mv SHA256SUMS.new SHA256SUMS && cat SHA256SUMS

AGAIN := build/again

release-check: release ## Build the release again in a fresh clone with an empty cache, and compare the bytes
	@[ -z "$$(git status --porcelain)" ] || { echo "cannot compare releases: the working tree has uncommitted changes, which a clone lacks"; exit 1; }
	rm -rf $(AGAIN)
	git clone -q . $(AGAIN)/tree
	cd $(AGAIN)/tree && git -c advice.detachedHead=false checkout -q $$(git -C $(CURDIR) rev-parse HEAD)
	GOCACHE=$(CURDIR)/$(AGAIN)/cache $(MAKE) --no-print-directory -C $(AGAIN)/tree VERSION=$(VERSION) release
	diff -r $(RELEASE) $(AGAIN)/tree/$(RELEASE)
	rm -rf $(AGAIN)

KERNEL_VERSION := 6.1
KERNEL_NEEDS   := /usr/src/linux-source-$(KERNEL_VERSION).tar.xz:linux-source-$(KERNEL_VERSION) gcc:gcc xz:xz-utils flex:flex \
	bison:bison bc:bc /usr/include/libelf.h:libelf-dev /usr/include/openssl/ssl.h:libssl-dev
# The folder of the build, and an additional configuration file.
KERNEL_DIR     := build/kernel
KERNEL_MORE    :=
KERNEL_SOURCE   = $(KERNEL_DIR)/linux-source-$(KERNEL_VERSION)

kernel: ## Build a small kernel for virtual machines from Debian's source: build/kernel/image (amd64)
	@$(NEED) $(KERNEL_NEEDS)
	@mkdir -p $(KERNEL_DIR)/image
	# A tree of the same package is kept: after a change of the configuration little is compiled.
	[ $(KERNEL_SOURCE)/Makefile -nt /usr/src/linux-source-$(KERNEL_VERSION).tar.xz ] || \
		{ rm -rf $(KERNEL_SOURCE) && tar -C $(KERNEL_DIR) -xmf /usr/src/linux-source-$(KERNEL_VERSION).tar.xz; }
	$(MAKE) -s -C $(KERNEL_SOURCE) ARCH=x86_64 tinyconfig
	cd $(KERNEL_SOURCE) && scripts/kconfig/merge_config.sh -m .config $(abspath examples/kernel.config $(KERNEL_MORE))
	$(MAKE) -s -C $(KERNEL_SOURCE) ARCH=x86_64 olddefconfig
	$(MAKE) -s -C $(KERNEL_SOURCE) ARCH=x86_64 -j$$(nproc) bzImage
	cp $(KERNEL_SOURCE)/arch/x86/boot/bzImage $(KERNEL_DIR)/image/kernel
	if grep -q '=m$$' $(KERNEL_SOURCE)/.config; then \
		$(MAKE) -s -C $(KERNEL_SOURCE) ARCH=x86_64 -j$$(nproc) modules && \
		$(MAKE) -s -C $(KERNEL_SOURCE) ARCH=x86_64 modules_install INSTALL_MOD_PATH=$(abspath $(KERNEL_DIR)/modules) && \
		tar -C $(KERNEL_DIR)/modules --exclude build --exclude source -cf $(KERNEL_DIR)/image/kernel.tar lib; fi

MICROVM_DIR := build/microvm-kernel

microvm-kernel: ## Build the kernel of the microVM profile, which needs no decompression: build/microvm-kernel/image (amd64)
	@$(MAKE) --no-print-directory kernel KERNEL_DIR=$(MICROVM_DIR) KERNEL_MORE="examples/microvm.config $(KERNEL_MORE)"
	objcopy --strip-all $(MICROVM_DIR)/linux-source-$(KERNEL_VERSION)/vmlinux $(MICROVM_DIR)/image/kernel

keelson: ## Build the host tool keelson, which builds, boots and measures images
	$(GO) build -ldflags '$(STAMP)' -o $(KEELSON) ./testvm/cmd/keelson

needs-run:
	@$(NEED) $(IMAGE_NEEDS) $(QEMU_$(ARCH))

run: needs-run guest keelson ## Boot examples/demo.yml in QEMU; on a terminal, with its shell
	$(KEELSON) build --arch $(ARCH) -o $(BUILD)/demo examples/demo.yml
	$(KEELSON) run --arch $(ARCH) --publish 6379:6379 \
		--disk $(BUILD)/demo/data.img,size=256M $(BUILD)/demo/demo

# Number of packages tested at the same time: one more than processors, because many
# tests wait half of their time for the system that they have started.
PACKAGES := $(shell echo $$(($$(nproc) + 1)))

needs-test:
	@$(NEED) $(IMAGE_NEEDS) $(TEST_NEEDS) $(LINT_NEEDS)

test: ## Run all tests: plain, root and VM tier
	# On a fresh machine Go compiles while packages are installed, and is not idle while a
	# program is linked, which takes one processor.
	# Vetting for another architecture compiles Go's library again: one is enough here, the
	# big-endian one.
	@$(MAKE) --no-print-directory -j2 needs-test vet $(if $(KEELSON_EVERYTHING),,VET_ARCHS=s390x)
	@$(MAKE) --no-print-directory -j2 keelson guest-amd64 guest-arm64 $(if $(KEELSON_EVERYTHING),$(MORE_ARCHS:%=guest-%)) lint-more
	# Without vet, which has run.
	# The longest packages start first, so that no processor is idle at the end.
	$(GORACE) test -p $(PACKAGES) -race -short -vet=off ./init/pid1 ./services/supervisor $(GUEST_ROOMS)
	# A machine waits now and then as well: for a probation, a deadline, a client.
	$(GO) test -p $(PACKAGES) -parallel $(PACKAGES) -vet=off -timeout $(if $(KEELSON_EVERYTHING),180m,60m) ./testvm/tests ./testvm/chaos ./testvm/image ./testvm/...

test-all: ## Run the long tests too: every format on every machine that boots it; table in build/formats.md
	KEELSON_EVERYTHING=1 $(MAKE) --no-print-directory test

test-load: needs-test guest ## Run plain and root tier three times beside four busy processes
	CGO_ENABLED=1 GOFLAGS='$(GOFLAGS_ALL)' .ci/loaded go test -race -short -count=3 -timeout 120m $(GUEST_ROOMS)

chaos: needs-test guest ## Inject 10 000 faults into systems on this kernel, and 200 into a machine
	$(GO) test -count=1 -v -timeout 12h ./testvm/chaos -chaos.faults=$(or $(FAULTS),10000) \
		-chaos.machine-faults=$(or $(MACHINE_FAULTS),200) -chaos.systems=$(or $(SYSTEMS),4) -chaos.seed=$(or $(SEED),0)

power-cuts: needs-test guest ## Cut the power of a machine 200 times while it boots and while redis writes
	$(GO) test -count=1 -v -timeout 12h ./testvm/tests -run '^TestPowerCuts$$' \
		-powercut.cuts=$(or $(CUTS),200) -powercut.seed=$(or $(SEED),0)

bench: needs-run guest keelson ## Measure the boot of a fixed image in virtual time, and systems of many services on this kernel
	@$(NEED) busybox:busybox-static
	$(KEELSON) bench -o build/bench
	$(GO) test -count=1 -v ./testvm/hostbench -run TestFigures -hostbench.figures=$(CURDIR)/build/bench

chart: needs-run guest keelson ## Measure the boot again and draw docs/boot.svg
	@$(NEED) busybox:busybox-static
	$(KEELSON) bench -o build/bench
	cp build/bench/stages.svg docs/boot.svg

lint: vet lint-more ## Check format, vet, staticcheck, import rules, scripts, workflows, spelling and Markdown

vet:
	@files=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$files" ] || { echo "not gofmt-ed:"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	@for arch in $(VET_ARCHS); do echo "GOARCH=$$arch go vet $(MORE_ROOMS)"; GOARCH=$$arch $(GO) vet $(MORE_ROOMS) || exit 1; done

lint-more:
	@$(NEED) $(LINT_NEEDS) $(call runc_needs,$(HOSTARCH))
	# What is added to runc compiles only there.
	.ci/runc-source build/lint/runc
	CC=gcc CGO_ENABLED=1 go vet -modfile=build/lint/runc/go.mod -trimpath -tags '$(RUNC_TAGS)' github.com/opencontainers/runc
	$(GO) tool staticcheck ./...
	$(GO) tool depguard ./...
	@! git grep -nE 'unix\.(Mount|Unmount|PivotRoot|MoveMount)\(' -- '*.go' ':!mounts' ':!*_test.go' ':!*/testdata/*' || \
		{ echo "mount system calls are allowed only in mounts/"; exit 1; }
	shellcheck -x $$(git grep -lE '^#!/bin/(ba)?sh')
	$(GO) tool actionlint
	codespell -I .ci/spelling $$(git ls-files ':!go.mod' ':!go.sum')
	mdl -s .ci/markdown.rb $$(git ls-files '*.md' ':!testvm')
	.ci/doc-paths $$(git ls-files '*.md' ':!testvm' ':!CHANGELOG.md')

# Not part of lint because it needs a database on the internet. VULNDB is the URL of a copy.
vulncheck: ## Look for known vulnerabilities in the functions that the programs call
	go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 $(if $(VULNDB),-db $(VULNDB)) ./...

clean: ## Remove everything built
	rm -rf build

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
