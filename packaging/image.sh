#!/usr/bin/env bash
# Puts a static binary into an image, and the image into an archive that container tools load.
#
#   image.sh BINARY VERSION ARCHIVE
#
# CONTAINER_TOOL is buildah, which needs no daemon and is the default, podman or docker.
set -euo pipefail
cd "$(dirname "$0")/.."
# The same sources give the same bytes.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

binary=$1 archive=$3
image=stellar-peers:$2
tool=${CONTAINER_TOOL:-buildah}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

context=$scratch/context
install -D -m 0755 "$binary" "$context/stellar-peers"
mkdir -p "$(dirname "$archive")"
rm -f "$archive"

build=(build --file Dockerfile --build-arg "VERSION=$2")
case $tool in
    buildah)
        packaging/need.sh buildah
        # A store of its own, which is gone afterwards.
        store=(--root "$scratch/root" --runroot "$scratch/run" --storage-driver vfs)
        id=$(buildah "${store[@]}" "${build[@]}" --quiet --isolation chroot --identity-label=false \
            --timestamp "$SOURCE_DATE_EPOCH" "$context")
        buildah "${store[@]}" push --quiet "$id" "docker-archive:$archive:$image"
        ;;
    podman | docker)
        "$tool" "${build[@]}" --tag "$image" "$context"
        "$tool" save --output "$archive" "$image"
        ;;
    *)
        echo "image: CONTAINER_TOOL is $tool; it can be buildah, podman or docker" >&2
        exit 1
        ;;
esac
echo "image: $image is in $archive, $(stat --format %s "$archive") bytes"
