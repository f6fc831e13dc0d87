# One static binary and nothing else; `make image` builds it and gives a folder that holds just that.
FROM scratch
ARG VERSION
LABEL org.opencontainers.image.title="stellar-peers" \
      org.opencontainers.image.description="Peer discovery, injection and careful restarts for Stellar validators on Kubernetes" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY stellar-peers /stellar-peers
# By number, so that the kubelet can tell that it is not root.
USER 65532:65532
# Where `run` listens if it is not told otherwise: health and metrics, the webhook.
EXPOSE 8080 9443
ENTRYPOINT ["/stellar-peers"]
