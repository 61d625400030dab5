#!/bin/sh
# Files of the package belong to the group apmon, so the user must exist before they are
# unpacked. packaging/build.sh inserts sysusers.d/apmon.conf.
set -e
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers --replace=/usr/lib/sysusers.d/apmon.conf - <<'END'
@SYSUSERS@
END
fi
