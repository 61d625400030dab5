#!/bin/sh
# The administrator enables a service once its configuration names destinations or outputs. An
# upgrade starts the new version of those that run, and changes nothing else. A service that does
# not start again, for example after an edit of its configuration, must not leave the package half
# installed: systemctl reports it, and systemd tries again.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	systemctl try-restart apmon-bg.service apmon-recv.service || true
fi
