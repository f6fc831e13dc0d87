#!/usr/bin/env bash
# Whether the image in an archive is what the chart runs: its configuration, its size, and the program at work in it as
# the kubelet would start it: a read-only file system, its own user, no capabilities.
#
#   check.sh ARCHIVE VERSION
#
# Needs root, for a file system of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."

archive=$1 version=$2
bytes_max=$((20 * 1000 * 1000))

fail() { echo "image: $*" >&2; exit 1; }
# expect WHAT WANTED FOUND
expect() { [ "$2" = "$3" ] || fail "$1 is $3, not $2"; }

[ "$(id -u)" = 0 ] || fail "its check has to be run as root"
packaging/need.sh buildah

scratch=$(mktemp -d)
store=(--root "$scratch/root" --runroot "$scratch/run" --storage-driver vfs)
running=
clean_up() {
    [ -z "$running" ] || kill -KILL "$running"
    buildah "${store[@]}" umount --all >/dev/null
    rm -rf "$scratch"
}
trap clean_up EXIT

# What the archive says.
bytes=$(stat --format %s "$archive")
[ "$bytes" -lt "$bytes_max" ] || fail "$archive has $bytes bytes; $bytes_max are too many"
container=$(buildah "${store[@]}" from --quiet "docker-archive:$archive")
config() { buildah "${store[@]}" inspect --format "{{$1}}" "$container"; }
expect "its user" 65532:65532 "$(config .OCIv1.Config.User)"
expect "its entrypoint" "[/stellar-peers]" "$(config .OCIv1.Config.Entrypoint)"
expect "its version" "$version" "$(config 'index .OCIv1.Config.Labels "org.opencontainers.image.version"')"
files=$(buildah "${store[@]}" mount "$container")
expect "what it holds" /stellar-peers "$(cd "$files" && find . -type f -printf '/%P %m\n' | sed 's/ 755$//')"

# What the kubelet adds: names, and a Secret that fsGroup lets the group read.
mkdir -p "$files/etc" "$files/cluster" "$files/config" "$files/peers" "$files/out" "$scratch/out"
chown 65532 "$scratch/out"
echo 'HTTP_PORT = 11626' >"$files/config/stellar-core.cfg"
echo '10.0.0.1:11625' >"$files/peers/KNOWN_PEERS"
echo "127.0.0.1 api.test" >"$files/etc/hosts"
cat >"$files/cluster/kubeconfig" <<'CONFIG'
{"apiVersion": "v1", "kind": "Config", "current-context": "none",
 "clusters": [{"name": "none", "cluster": {"server": "https://api.test:1", "certificate-authority": "/tls/ca.crt"}}],
 "users": [{"name": "none", "user": {}}],
 "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}]}
CONFIG
"$files/stellar-peers" certs --out-dir "$files/tls" >/dev/null
chown -R 0:65532 "$files/tls"
chmod 0750 "$files/tls"
chmod 0440 "$files"/tls/*

# This process becomes the program in the image, so that its id is that of the program.
become() {
    # shellcheck disable=SC2016
    exec unshare --mount -- bash -c '
        mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount --bind "$1" "$0/out" && shift &&
        exec chroot --userspec=65532:65532 --groups=65532 "$0" /stellar-peers "$@"' "$files" "$scratch/out" "$@"
}
in_image() { (become "$@"); }

expect "--version" "stellar-peers $version" "$(in_image --version)"
for command in --help "run --help" "check --help"; do
    # shellcheck disable=SC2086
    in_image $command | grep -q '^Usage: stellar-peers' || fail "$command prints no usage"
done
in_image crd | cmp - charts/stellar-peers/files/stellarnode-crd.yaml || fail "crd prints something else"
if in_image certs --out-dir /new 2>/dev/null; then
    fail "its file system can be written"
fi

# As a validator's init container.
in_image render --config-dir=/config --peers-dir=/peers --out-dir=/out --node=a 2>"$scratch/said" ||
    fail "render fails: $(cat "$scratch/said")"
grep -q '"10.0.0.1:11625"' "$scratch/out/stellar-core.cfg" || fail "render merges nothing: $(cat "$scratch/said")"

# Its name is found and nobody answers there: it says so, waits, and ends by itself when told to.
(become run --kubeconfig /cluster/kubeconfig --tls-dir /tls --webhook-listen 127.0.0.1:0 --http-listen 127.0.0.1:0 \
    --log-format json) >"$scratch/log" 2>&1 &
running=$!
for _ in $(seq 100); do
    grep -q 'Watch could not start; retrying' "$scratch/log" && break
    sleep 0.1
done
show() { cat "$scratch/log" >&2; fail "$*"; }
grep -q 'Connection refused' "$scratch/log" || show "it doesn't say that api.test refuses connections"
kill -0 "$running" || show "it doesn't wait for the API server"
expect "the user it runs as" 65532 "$(stat --format %u "/proc/$running")"
kill -TERM "$running"
status=0
wait "$running" || status=$?
running=
expect "its exit code after SIGTERM" 0 "$status"
grep -q '"Stopping"' "$scratch/log" || show "it doesn't drain"
echo "image: checked; $bytes bytes"
