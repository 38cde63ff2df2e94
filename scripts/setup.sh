#!/usr/bin/env bash
# Installs what is missing for `run` or `test`: Debian packages, then a virtual environment in .venv.
# Safe to repeat; does nothing when all is there.
#   scripts/setup.sh run|test
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:-run}
venv=${VENV:-.venv}

# command → Debian package (the same names on Ubuntu 22.04 and 24.04)
declare -A package=(
  [mosquitto]=mosquitto
  [mosquitto_pub]=mosquitto-clients
  [espeak-ng]=espeak-ng
  [kamailio]=kamailio
)
# Kamailio's module → Debian package (the SIP border, docs/edge.md)
declare -A module=(
  [http_client.so]=kamailio-utils-modules
  [jansson.so]=kamailio-extra-modules
  [db_sqlite.so]=kamailio-sqlite-modules
  [tls.so]=kamailio-tls-modules
  [websocket.so]=kamailio-websocket-modules
)
if [ "$purpose" = test ]; then
  package[sipp]=sip-tester
  package[baresip]=baresip-core
  package[promtool]=prometheus
  package[pg_ctl]=postgresql
  package[chromium]=chromium
fi

have() {
  command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] ||
    compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

missing=()
for command in "${!package[@]}"; do
  have "$command" || missing+=("${package[$command]}")
done
for file in "${!module[@]}"; do
  compgen -G "/usr/lib*/*/kamailio/modules/$file" >/dev/null || missing+=("${module[$file]}")
done

find_python() {
  for candidate in python3.11 python3.12 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}
python=$(find_python)
[ -n "$python" ] || missing+=(python3)
if [ -z "$python" ] || ! "$python" -c 'import ensurepip' 2>/dev/null; then missing+=(python3-venv); fi

if [ "${#missing[@]}" -gt 0 ]; then
  command -v apt-get >/dev/null || {
    echo "setup: this machine has no apt-get; please install: ${missing[*]}" >&2
    exit 1
  }
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "setup: need root (or sudo) to install: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  echo "setup: installing Debian packages: ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -qq >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  python=$(find_python)
fi
[ -n "$python" ] || {
  echo "setup: Python 3.11 or 3.12 is needed (the pjsua2 wheel exists for these only)" >&2
  exit 1
}

stamp="$venv/.installed"
wanted=$(cat requirements.lock pyproject.toml | sha256sum | cut -d' ' -f1)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  echo "setup: building the virtual environment in $venv (about a minute)" >&2
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    -r requirements.lock
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --no-build-isolation -e .
  echo "$wanted" >"$stamp"
fi
