# The relay as an image: one static binary, the certificates that TLS to Redis is checked with, and
# the licences. No shell, no package manager, no user but a number. DEPLOYMENT.md says how to run it.
#
#   docker build --tag lethewire:0.1.0 .
#   docker buildx build --platform linux/amd64,linux/arm64 --tag … --push .
#
# It needs BuildKit, whose own frontend will do. The compiler runs on the architecture of the machine
# that builds, also for the other one.

# Debian and not Alpine: its C library is the one that the relay is measured with.
ARG BUILDER=rust:1.95-slim-bookworm

# hadolint ignore=DL3029
FROM --platform=$BUILDPLATFORM ${BUILDER} AS build
WORKDIR /build
COPY deploy/image/build.sh /usr/local/bin/
ARG TARGETARCH
ARG BUILDARCH
ARG CARGO_AUDITABLE=0.7.7
RUN build.sh prepare

# A profile of Cargo.toml. Others than `release` are for trying out.
ARG PROFILE=release
# What others wrote is a layer of its own: it changes when Cargo.lock does.
COPY Cargo.toml Cargo.lock ./
COPY bench/Cargo.toml bench/
RUN build.sh dependencies

# The commit, as `lethewire --version` and /v1/info have it.
ARG REVISION=
COPY . .
RUN LETHEWIRE_BUILD="$REVISION" build.sh relay

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE_URL=
LABEL org.opencontainers.image.title="lethewire" \
      org.opencontainers.image.description="A zero-knowledge relay for end-to-end encrypted, ephemeral rooms" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE_URL"
COPY LICENSE-MIT LICENSE-APACHE /licenses/
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /lethewire /lethewire
# In a container the network is what separates; the operations listener stays on loopback until
# OPS_LISTEN says otherwise.
ENV HOST=0.0.0.0 \
    DEPLOYMENT_ENV=production
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/lethewire", "healthcheck"]
ENTRYPOINT ["/lethewire"]
