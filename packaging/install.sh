#!/usr/bin/env bash
# Installs compiled commands with man pages, completions, units and configuration:
#
#   packaging/install.sh BINDIR PREFIX [DESTDIR]
#
# The configuration is in /etc/apmon if PREFIX is /usr or /usr/local, else in PREFIX/etc/apmon.
# Existing files of it are kept. DESTDIR goes before all paths, and into none of the files. PREFIX
# is absolute, and without blanks and special characters of units.
set -euo pipefail
[ $# = 2 ] || [ $# = 3 ] || { sed -n '2,/^[^#]/s/^# \?//p' "$0" >&2; exit 64; }
if ! [[ $2 =~ ^(/[^[:space:]\\|\&%\$\"\'/]*)*$ ]]; then
	echo "install.sh: PREFIX $2 is not absolute, or has blanks or special characters of units" >&2
	exit 64
fi
bin=$(cd "$1" && pwd) prefix=${2%/} dest=
if [ -n "${3-}" ]; then
	mkdir -p "$3"
	dest=$(cd "$3" && pwd)
fi
case $prefix in
/usr | /usr/local) etc=/etc/apmon ;;
*) etc=$prefix/etc/apmon ;;
esac
share=$dest$prefix/share
cd "$(dirname "$0")"
umask 022

for command in apmon-send apmon-bg apmon-recv; do
	install -D -m 755 "$bin/$command" "$dest$prefix/bin/$command"
	install -D -m 644 "man/$command.1" "$share/man/man1/$command.1"
	gzip -9nf "$share/man/man1/$command.1"
	install -D -m 644 completions/apmon.bash "$share/bash-completion/completions/$command"
	install -D -m 644 completions/apmon.fish "$share/fish/vendor_completions.d/$command.fish"
done
install -D -m 644 completions/_apmon "$share/zsh/site-functions/_apmon"

units=$dest$prefix/lib/systemd/system
for unit in apmon-bg apmon-recv; do
	install -D -m 644 "systemd/$unit.service" "$units/$unit.service"
	sed -i "/^Exec/s|/usr/bin/apmon|$prefix/bin/apmon|; /^[A-Z]/s|/etc/apmon|$etc|" "$units/$unit.service"
done
if [ "$etc" != /etc/apmon ]; then # the commands look there
	sed -i "s|^ExecStart=.*|& -f $etc/destinations.conf|" "$units/apmon-bg.service"
fi
install -D -m 644 sysusers.d/apmon.conf "$dest$prefix/lib/sysusers.d/apmon.conf"

# The destinations may have passwords, and the outputs tokens.
for file in ../conf/destinations.conf receiver.yaml; do
	name=$etc/$(basename "$file")
	[ -e "$dest$name" ] || [ -L "$dest$name" ] || install -D -m 640 "$file" "$dest$name"
done

doc=$share/doc/apmon
install -D -m 644 -t "$doc" ../README.md ../CHANGELOG.md ../LICENSE systemd/apmon-bg.service.d/other-users.conf \
	grafana/dashboard-*.json prometheus/alerts.yaml
