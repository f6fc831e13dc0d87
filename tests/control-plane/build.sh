#!/usr/bin/env bash
# Builds the binaries of a real Kubernetes control plane, for the tests that want one.
#
#   build.sh OUT_DIR [NAME...]     NAME: any of the list below; without names, all
#
# What is already there in the right version is left alone, so a second run takes no time.
# Where KUBEBUILDER_ASSETS names a folder (users of envtest have one), the binaries it holds
# are linked instead of built.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Versions of what go.mod can't hold, because each is a main package with its own dependencies.
kwok_version=v0.7.0
helm_version=v3.19.5
default_names=(etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok helm)

required() { awk -v module="$1" '$1 == module && $2 ~ /^v/ { print $2; exit }' "$here/go.mod"; }
kubernetes_version=$(required k8s.io/kubernetes)
etcd_version=$(required go.etcd.io/etcd/server/v3)
go_needed=$(awk '$1 == "go" { print $2; exit }' "$here/go.mod")

# Without these the programs call themselves v0.0.0, and version checks of others fail.
kubernetes_flags() {
  local major minor package
  IFS=. read -r major minor _ <<<"${kubernetes_version#v}"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf -- '-X %s.gitVersion=%s -X %s.gitMajor=%s -X %s.gitMinor=%s ' \
      "$package" "$kubernetes_version" "$package" "$major" "$package" "$minor"
  done
}

# Helm's own idea of the cluster's version, for `helm template` and `helm lint`.
helm_flags() {
  local major minor package
  IFS=. read -r major minor _ <<<"${kubernetes_version#v}"
  printf -- '-X helm.sh/helm/v3/internal/version.version=%s ' "$helm_version"
  for package in pkg/lint/rules pkg/chartutil; do
    printf -- '-X helm.sh/helm/v3/%s.k8sVersionMajor=%s -X helm.sh/helm/v3/%s.k8sVersionMinor=%s ' \
      "$package" "$major" "$package" "$minor"
  done
}

say() { printf 'control-plane: %s\n' "$*"; }
fail() { printf 'control-plane: %s\n' "$*" >&2; exit 1; }

# True when version $1 is at least version $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# One line and exit code 1, rather than whatever an old Go makes of a new go.mod. A Go that may
# fetch newer toolchains answers with the version that it would use here.
need_go() {
  local advice="Go $go_needed or newer is needed to build it; \`make test-hermetic\` tests without"
  command -v go >/dev/null || fail "Go is not installed: $advice"
  local found
  found=$(cd "$here" && go env GOVERSION 2>/dev/null) || found=$(GOTOOLCHAIN=local go env GOVERSION) ||
    found=go0
  found=${found%% *}
  at_least "${found#go}" "$go_needed" || fail "Go ${found#go} is too old: $advice"
}

# compile NAME PACKAGE LINKER_FLAGS: with @version in its name a package is built on its own,
# otherwise as a tool of this module.
compile() {
  local name=$1 package=$2 flags=$3
  case $package in
    *@*) GOBIN="$out" CGO_ENABLED=0 nice -n 5 go install -trimpath -ldflags "-s -w $flags" "$package" ;;
    *) (cd "$here" && CGO_ENABLED=0 nice -n 5 go build -trimpath -ldflags "-s -w $flags" -o "$out/$name" "$package") ;;
  esac
}

# provide NAME VERSION PACKAGE LINKER_FLAGS: NAME is in $out afterwards, in VERSION.
provide() {
  local name=$1 version=$2 package=$3 flags=$4 stamp="$out/.$1.stamp" wanted="$2 $4"
  local given="$assets/$name"
  if [ -n "$assets" ] && [ -x "$given" ]; then
    ln -sfn "$given" "$out/$name"
    printf 'given %s\n' "$given" >"$stamp"
    say "$name is the one of KUBEBUILDER_ASSETS"
    return
  fi
  if [ -x "$out/$name" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    return
  fi
  need_go
  say "building $name $version, $number of $count (minutes the first time, seconds when Go has it cached)"
  local began=$SECONDS
  rm -f "$stamp" "$out/$name"
  compile "$name" "$package" "$flags" || fail "building $name failed, see above; \`make test-hermetic\` tests without"
  printf '%s\n' "$wanted" >"$stamp"
  say "built $name in $((SECONDS - began)) s"
}

[ $# -ge 1 ] || fail "usage: build.sh OUT_DIR [NAME...]"
assets=${KUBEBUILDER_ASSETS:-}
[ -z "$assets" ] || assets=$(cd "$assets" && pwd) || fail "KUBEBUILDER_ASSETS names no folder: $KUBEBUILDER_ASSETS"
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- "${default_names[@]}"

number=0 count=$#
for name in "$@"; do
  number=$((number + 1))
  case $name in
    etcd) provide etcd "$etcd_version" go.etcd.io/etcd/server/v3 "" ;;
    kube-apiserver | kube-controller-manager | kube-scheduler | kubectl)
      provide "$name" "$kubernetes_version" "k8s.io/kubernetes/cmd/$name" "$(kubernetes_flags)" ;;
    kwok) provide kwok "$kwok_version" "sigs.k8s.io/kwok/cmd/kwok@$kwok_version" "-X sigs.k8s.io/kwok/pkg/consts.Version=$kwok_version" ;;
    helm) provide helm "$helm_version" "helm.sh/helm/v3/cmd/helm@$helm_version" "$(helm_flags)" ;;
    *) fail "unknown name $name" ;;
  esac
done
say "ready in $out: $*"
