#!/usr/bin/env bash
# Puts beside the image's archive what else is handed out, and the checksums of all of it.
#
#   dist.sh BINARY VERSION PLATFORM FOLDER
#
# Needs cargo-cyclonedx and, as HELM, helm.
set -euo pipefail
cd "$(dirname "$0")/.."
# The same sources give the same bytes.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

binary=$1 version=$2 platform=$3 folder=$4
name=stellar-peers-$version
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

install -m 0755 "$binary" "$folder/$name-$platform"

# What is applied where there is no Helm.
cp charts/stellar-peers/files/stellarnode-crd.yaml "$folder/$name-crd.yaml"
cp docs/rbac.yaml "$folder/$name-rbac.yaml"
cp webhook-config/webhook.yaml "$folder/$name-webhook.yaml"

# Helm writes the time of day and the owner into its archive: pack it again without.
"${HELM:-helm}" package charts/stellar-peers --destination "$scratch" >/dev/null
tar --extract --touch --gzip --file "$scratch/$name.tgz" --directory "$scratch"
tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    --directory "$scratch" stellar-peers | gzip --no-name >"$folder/$name.tgz"

# The crates in the binary. The tool writes beside Cargo.toml, and where that is: this leaves out.
cargo cyclonedx --quiet --format json --spec-version 1.5 --describe binaries --no-build-deps
sed -e "s|path+file://$PWD[^#]*#|pkg:cargo/|" -e 's|?download_url=file://[^"]*||' stellar-peers_bin.cdx.json \
    >"$folder/$name-sbom.cdx.json"
rm stellar-peers_bin.cdx.json
if grep -n "file://" "$folder/$name-sbom.cdx.json"; then
    echo "dist: the SBOM names files of this machine" >&2
    exit 1
fi

cd "$folder"
sha256sum -- "$name"* >"$scratch/SHA256SUMS"
mv "$scratch/SHA256SUMS" .
sha256sum --check --strict SHA256SUMS
