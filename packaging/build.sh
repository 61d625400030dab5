#!/usr/bin/env bash
# Builds all packages of a release into OUTDIR, for amd64 and arm64:
#
#   packaging/build.sh VERSION OUTDIR
#
# apmon-VERSION-linux-ARCH.tar.gz, deb, rpm and apk, and image/, from which Containerfile makes
# an image. VERSION is 1.2.3, v1.2.3 or 1.2.3-rc.1. Commit and date are those of
# revision.sh. ARCHES="amd64" builds for one alone. The same source, VERSION and Go give the same
# bytes. It needs git or an archive of the source, Go, GNU tar, gzip and install; nfpm is a tool
# of tools/go.mod.
set -euo pipefail
[ $# = 2 ] || { sed -n '2,/^[^#]/s/^# \?//p' "$0" >&2; exit 64; }
version=${1#v}
if ! [[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]]; then
	echo "build.sh: VERSION $1 is not like 1.2.3 or 1.2.3-rc.1" >&2
	exit 64
fi
mkdir -p "$2"
out=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
here=$PWD/packaging
revision=$(packaging/revision.sh)
read -r COMMIT SOURCE_DATE_EPOCH _ <<<"$revision"
export COMMIT SOURCE_DATE_EPOCH
export TZ=UTC LC_ALL=C VERSION=$version
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The version of the binary is that of the tools, for the machine that builds.
GOARCH='' go build -modfile=tools/go.mod -o "$work/nfpm" github.com/goreleaser/nfpm/v2/cmd/nfpm
GOARCH='' go build -o "$work/bom" ./packaging/bom
mkdir "$work/scripts"
for script in "$here"/scripts/*; do
	sed -e "/^@SYSUSERS@\$/{r $here/sysusers.d/apmon.conf" -e 'd}' "$script" >"$work/scripts/$(basename "$script")"
done

# Packs a folder: the same bytes for the same files. The archive has no shared folders: tar would
# change their mode and owner where it is unpacked, for example /usr/local.
pack() { # FILE FOLDER-OF-IT NAME
	(cd "$2" && find "$3" \( -type f -o -name apmon \) -print0) | sort -z |
		tar --null --no-recursion --format=gnu --owner=root:0 --group=root:0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
			-C "$2" -cf - -T - | gzip -9n >"$1"
}

image=$out/image
rm -rf "$image" && mkdir -p "$image"
cp "$here/Containerfile" "$image/"
for arch in ${ARCHES:-amd64 arm64}; do
	export ARCH=$arch
	root=$work/root doc=$work/root/usr/share/doc/apmon
	rm -rf "$root"
	GOARCH=$arch "$here/compile.sh" "$version" "$work/bin/$arch"
	"$here/install.sh" "$work/bin/$arch" /usr "$root"
	GOARCH=$arch "$work/bom" -version "v$version" -dir "$doc"
	find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	for format in deb rpm apk; do
		(cd "$work" && ./nfpm package --config "$here/nfpm.yaml" --packager $format --target "$out/" >/dev/null)
	done

	# For people without packages: unpack it over a prefix. The configuration is in etc.
	name=apmon-$version-linux-$arch
	"$here/install.sh" "$work/bin/$arch" "/$name" "$work/tar"
	cp "$doc/copyright" "$doc/apmon.spdx.json" "$work/tar/$name/share/doc/apmon/"
	sed -i "s|/$name/|/usr/local/|g" "$work/tar/$name"/lib/systemd/system/*
	pack "$out/$name.tar.gz" "$work/tar" "$name"

	mkdir -p "$image/$arch/usr/share/doc" "$image/$arch/etc/ssl/certs" "$image/$arch/etc/apmon"
	cp -r "$root/usr/bin" "$image/$arch/usr/"
	cp -r "$doc" "$image/$arch/usr/share/doc/"
	echo 'apmon:x:65532:65532:ApMon monitoring:/:/sbin/nologin' >"$image/$arch/etc/passwd"
	echo 'apmon:x:65532:' >"$image/$arch/etc/group"
	# https sources and outputs need the roots that this machine trusts.
	cp "${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}" "$image/$arch/etc/ssl/certs/ca-certificates.crt" ||
		echo "build.sh: the image cannot check certificates: CA_BUNDLE is the file of those to trust" >&2
done
find "$image" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
ls -l "$out"
