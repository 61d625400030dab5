#!/usr/bin/env bash
# Prints commit, time (seconds since 1970) and version of this source, from git:
#
#   packaging/revision.sh
#
# An archive of the source has no git: "git archive" puts them into the line below. COMMIT and
# SOURCE_DATE_EPOCH override the first two. The version is that of the newest tag, with the number
# of commits since, or v0.0.0.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck disable=SC2016 # git replaces it, not the shell
read -r commit time version <<<'$Format:%H %ct %(describe:tags)$'
if [ "${commit::1}" = '$' ]; then
	commit='' time='' version=$(git describe --tags 2>/dev/null) || true
fi
case $version in *%*) version= ;; esac # git before 2.35 does not know describe
commit=${COMMIT:-${commit:-$(git rev-parse HEAD)}}
time=${SOURCE_DATE_EPOCH:-${time:-$(git log -1 --format=%ct)}}
echo "$commit $time ${version:-v0.0.0}"
