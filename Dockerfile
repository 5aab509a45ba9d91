# The image of all processes: one binary on a small Debian, as a user without rights.
#
#   docker build -t registry.example/pinstripe:0.1.0 .
#
# For a release name the base images by their digests, so that the same source gives the same image:
#
#   docker build --build-arg RUST_IMAGE=rust:1.95-slim-bookworm@sha256:... \
#                --build-arg DEBIAN_IMAGE=debian:12-slim@sha256:... ...
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG DEBIAN_IMAGE=debian:12-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /source
COPY . .
# What cargo fetches and compiles is kept between builds, and is in no layer.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    cargo build --release --locked --bin pinstripe \
    && install -D -m 0755 target/release/pinstripe /out/pinstripe

FROM ${DEBIAN_IMAGE} AS run
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Pinstripe" \
      org.opencontainers.image.description="A content-addressed storage network" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# Certificates, for connections to gateways, nodes and databases by TLS. A volume that is mounted empty at /data is its user's.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 10001 -g 10001 /data
COPY --from=build /out/pinstripe /usr/local/bin/pinstripe
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /data
# The processes handle SIGTERM themselves. Their health is asked for from outside (/healthz, /readyz).
ENTRYPOINT ["pinstripe"]
