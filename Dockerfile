# The image of one of the programs, for those who have Docker and nothing else:
#
#   docker build --build-arg SERVICE=rng -t ghcr.io/evenkeel/rng:v0.1.0 .
#
# SERVICE is rng, geoip or client; the tag is the one in kustomize/base. `make images` builds
# the same program, to the byte, on another base. Built so far with buildah, not with Docker:
# docs/kubernetes.md says what has been run.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
# With .git, by which Go stamps the version: see .dockerignore. (In a worktree of git,
# where .git is a file that points elsewhere, Go stops at that. Build from a clone.)
COPY . .
ARG SERVICE
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags="-s -w" -o /out/app "./services/${SERVICE:?--build-arg SERVICE= must be rng, geoip or client}"

FROM scratch
# For telemetry that is sent over TLS to a collector outside the cluster.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/app /app
# A number, and the one in the manifests: with a name, the kubelet could not tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/app"]
