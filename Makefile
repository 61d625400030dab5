# For people without packages: "make install PREFIX=$HOME/.local", or as root with
# PREFIX=/usr/local. DESTDIR goes before all paths. Development needs go alone: CONTRIBUTING.md.
PREFIX = /usr/local
DESTDIR =
BUILD = build
VERSION = $(shell packaging/revision.sh | cut -d' ' -f3)

.PHONY: build install packages
build:
	packaging/compile.sh "$(VERSION)" "$(BUILD)/bin"

install: build
	packaging/install.sh "$(BUILD)/bin" "$(PREFIX)" "$(DESTDIR)"

packages:
	packaging/build.sh "$(VERSION)" "$(BUILD)/dist"
