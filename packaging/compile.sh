#!/usr/bin/env bash
# Builds the three commands, static and stripped:
#
#   packaging/compile.sh VERSION DIR
#
# VERSION is that of a release (1.2.3 or v1.2.3). Commit and date are those of
# revision.sh. GOARCH selects the architecture. The same source, version and Go give the same
# bytes, in any folder.
set -euo pipefail
[ $# = 2 ] || { sed -n '2,/^[^#]/s/^# \?//p' "$0" >&2; exit 64; }
version=v${1#v}
mkdir -p "$2"
dir=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
revision=$(packaging/revision.sh)
read -r commit time _ <<<"$revision"
date=$(date -u -d "@$time" +%Y-%m-%dT%H:%M:%SZ)

set=github.com/apmon-go/apmon/cmd/internal/command
GOFLAGS='' GOWORK=off GOAMD64=v1 GOARM64=v8.0 GOOS=linux CGO_ENABLED=0 \
	go build -trimpath -buildvcs=false -tags urfave_cli_no_docs \
	-ldflags "-s -w -X $set.version=$version -X $set.commit=$commit -X $set.date=$date" \
	-o "$dir/" ./cmd/apmon-send ./cmd/apmon-bg ./cmd/apmon-recv
