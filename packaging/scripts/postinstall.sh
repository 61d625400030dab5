#!/bin/sh
# The administrator enables a service once its configuration names destinations or outputs. An
# upgrade starts the new version of those that run, and changes nothing else.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart apmon-bg.service apmon-recv.service
fi
