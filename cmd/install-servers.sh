#!/bin/sh
# Installs the servers that tests, demo and benchmark start for themselves, and
# the C compiler that `go test -race` needs. Says nothing when all are there.
#
#   sh cmd/install-servers.sh [postgres] [redis] [rabbitmq] [cc]
#
# Without arguments: the three servers. Debian and Ubuntu: apt-get, as root or
# through sudo. Elsewhere: Homebrew if there is one, or a message that names
# what to install. apt may start the services it installs; beat never uses
# them, and they can be disabled.
set -eu

[ $# -gt 0 ] || set -- postgres redis rabbitmq

# any PATH… is true if one of them can be executed. Globs that match nothing
# stay as they are, and cannot.
any() {
	for f in "$@"; do
		if [ -x "$f" ]; then return 0; fi
	done
	return 1
}

on_path() { command -v "$1" >/dev/null 2>&1; }

# has looks where package streams/servers looks.
has() {
	case $1 in
	postgres)
		{ [ -n "${PG_BIN:-}" ] && any "$PG_BIN/initdb"; } || on_path initdb ||
			any "$(pg_config --bindir 2>/dev/null)/initdb" \
				/usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb \
				/opt/homebrew/opt/postgresql*/bin/initdb /usr/local/opt/postgresql*/bin/initdb \
				/home/linuxbrew/.linuxbrew/opt/postgresql*/bin/initdb
		;;
	redis)
		on_path redis-server || any /opt/homebrew/bin/redis-server /usr/local/bin/redis-server \
			/home/linuxbrew/.linuxbrew/bin/redis-server
		;;
	rabbitmq)
		{ on_path rabbitmq-server || any /usr/lib/rabbitmq/bin/rabbitmq-server \
			/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server /usr/local/opt/rabbitmq/sbin/rabbitmq-server \
			/home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin/rabbitmq-server; } &&
			{ on_path epmd || any /usr/lib/erlang/erts-*/bin/epmd /opt/homebrew/bin/epmd \
				/usr/local/bin/epmd /home/linuxbrew/.linuxbrew/bin/epmd; }
		;;
	cc) on_path gcc || on_path clang || on_path cc ;;
	*)
		echo "install-servers: unknown: $1 (there are postgres, redis, rabbitmq, cc)" >&2
		exit 2
		;;
	esac
}

apt_name() {
	case $1 in
	postgres) echo postgresql ;;
	redis) echo redis-server ;;
	rabbitmq) echo rabbitmq-server ;;
	cc) echo gcc libc6-dev ;;
	esac
}

brew_name() {
	case $1 in
	postgres) echo postgresql@17 ;;
	redis) echo redis ;;
	rabbitmq) echo rabbitmq ;;
	cc) echo gcc ;;
	esac
}

missing= apt= brew=
for item in "$@"; do
	if ! has "$item"; then
		missing="$missing $item"
		apt="$apt $(apt_name "$item")"
		brew="$brew $(brew_name "$item")"
	fi
done
[ -n "$missing" ] || exit 0

give_up() {
	cat >&2 <<-END
		install-servers: $1
		Missing:$missing. Install:
		    Debian, Ubuntu:  apt-get install$apt
		    macOS:           brew install$brew
		    elsewhere:       $(echo "$missing" | sed 's/postgres/PostgreSQL 14 or newer (initdb, postgres)/;s/redis/Redis 6.2 or newer (redis-server)/;s/rabbitmq/RabbitMQ 3.10 or newer (rabbitmq-server, epmd)/;s/cc/a C compiler/')
		and have their programs on the PATH.
	END
	exit 1
}

# apt_get VERB… bounds what a slow mirror or another apt may take.
apt_get() {
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq \
		-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
		-o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 "$@"
}

# with_apt installs from the lists that are there, and renews them only when
# that fails: they may be absent (containers) or too old.
with_apt() {
	# shellcheck disable=SC2086 # one word per package
	apt_get install -y --no-install-recommends $apt >/dev/null 2>&1 && return 0
	for wait in 5 15 0; do
		# shellcheck disable=SC2086
		if apt_get update >&2 && apt_get install -y --no-install-recommends $apt >&2; then return 0; fi
		sleep "$wait"
	done
	return 1
}

echo "installing$missing" >&2
if on_path apt-get; then
	sudo=
	if [ "$(id -u)" != 0 ]; then
		on_path sudo || give_up "not root, and there is no sudo"
		sudo="sudo"
		if sudo -n true 2>/dev/null; then
			sudo="sudo -n"
		elif ! [ -t 0 ]; then
			give_up "not root, and sudo wants a password"
		fi
	fi
	with_apt || give_up "apt-get failed"
elif on_path brew; then
	# shellcheck disable=SC2086
	HOMEBREW_NO_AUTO_UPDATE=1 brew install $brew >&2 || brew install $brew >&2 || give_up "brew failed"
else
	give_up "neither apt-get nor brew"
fi

for item in $missing; do
	has "$item" || give_up "$item was installed but is not found"
done
