#!/bin/sh
# The user stays: files elsewhere may belong to it. deb calls it with "purge" if the
# configuration goes too.
set -e
if [ "$1" = purge ]; then
	rm -rf /var/lib/apmon-recv
	rmdir /etc/apmon 2>/dev/null || true
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
