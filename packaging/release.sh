#!/usr/bin/env bash
# Makes the files of a release from a tag (docs/release.md):
#
#   packaging/release.sh TAG OUTDIR KEY
#
# It checks that TAG (v1.2.3) is the commit that is checked out, that nothing is changed, and
# that CHANGELOG.md has a section "## 1.2.3 - DATE" with nothing unreleased before it. OUTDIR
# then has the packages, an archive of the source, NOTES.md, and SHA256SUMS with its signature
# by the ssh key KEY. packaging/allowed_signers must name that key.
set -euo pipefail
[ $# = 3 ] || { sed -n '2,/^[^#]/s/^# \?//p' "$0" >&2; exit 64; }
fail() { echo "release.sh: $*" >&2; exit 1; }
tag=$1 version=${1#v}
[[ $tag =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || fail "the tag $tag is not like v1.2.3 or v1.2.3-rc.1"
mkdir -p "$2"
out=$(cd "$2" && pwd) key=$(realpath "$3")
[ -r "$key" ] || fail "the key $3 cannot be read"
[ -z "$(ls -A "$out")" ] || fail "$out is not empty"
cd "$(dirname "$0")/.."

# All checks come before the first build.
commit=$(git rev-parse --verify -q "refs/tags/$tag^{commit}") || fail "there is no tag $tag"
[ "$commit" = "$(git rev-parse HEAD)" ] || fail "$tag is not the commit that is checked out"
[ -z "$(git status --porcelain)" ] || fail "there are changes that are not committed: $(git status --porcelain | head -3)"
section() { # prints the section of CHANGELOG.md whose title begins with $1
	awk -v title="## $1" '/^## /{on = index($0, title) == 1 && (length($0) == length(title) || substr($0, length(title) + 1, 1) == " "); next} on' CHANGELOG.md
}
[ -z "$(section Unreleased | tr -d '[:space:]')" ] || fail "CHANGELOG.md has changes under Unreleased"
grep -qE "^## ${version//./\\.} - [0-9]{4}-[0-9]{2}-[0-9]{2}\$" CHANGELOG.md || fail "CHANGELOG.md has no section \"## $version - DATE\""
notes=$(section "$version")
[ -n "${notes//[[:space:]]/}" ] || fail "the section $version of CHANGELOG.md is empty"
ssh-keygen -Y find-principals -s <(echo | ssh-keygen -q -Y sign -f "$key" -n apmon-release) -f packaging/allowed_signers >/dev/null ||
	fail "packaging/allowed_signers does not name the key $3"

export COMMIT=$commit SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct "$commit")
packaging/build.sh "$version" "$out"
tar -C "$out" --sort=name --owner=root:0 --group=root:0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - image | gzip -9n >"$out/apmon-$version-image.tar.gz"
rm -r "$out/image"
git archive --prefix="apmon-$version/" "$commit" | gzip -9n >"$out/apmon-$version-source.tar.gz"
printf '%s\n' "$notes" | sed '/./,$!d' >"$out/NOTES.md"

cd "$out"
sums=$(sha256sum -- *) # computed first, so that it does not list itself
printf '%s\n' "$sums" >SHA256SUMS
ssh-keygen -q -Y sign -f "$key" -n apmon-release SHA256SUMS
echo "$out has the release $version:"
cat SHA256SUMS
