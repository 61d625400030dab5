#!/bin/sh
# deb calls it with "remove" or "upgrade", rpm with the number of versions that remain.
set -e
case $1 in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl stop apmon-bg.service apmon-recv.service || true
	fi
	if command -v systemctl >/dev/null; then
		systemctl disable apmon-bg.service apmon-recv.service || true
	fi
	;;
esac
