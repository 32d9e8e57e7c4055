# One image for all that runs in a cluster: the runner, the probe and the capture in drill pods, Locust.
#
#   docker build -t REGISTRY/drills:VERSION .
#
# Base images are pinned by exact tag; whoever publishes the image pins their digests, too:
#   docker buildx imagetools inspect python:3.11.14-slim-bookworm

FROM python:3.11.14-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/drills
# Wheels alone, each with its hash: nothing is compiled, and nothing comes that the lock does not name.
COPY requirements-image.lock ./
RUN /opt/drills/bin/pip install --require-hashes --only-binary :all: -r requirements-image.lock
COPY pyproject.toml README.md ./
COPY drills ./drills
COPY alerts ./alerts
COPY playbooks ./playbooks
RUN /opt/drills/bin/pip install --no-deps --no-build-isolation . \
    && /opt/drills/bin/pip uninstall --yes setuptools pip

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="drills" \
      org.opencontainers.image.description="Security drills for Kubernetes clusters that run Cilium"
COPY --from=build /opt/drills /opt/drills
# The root file system may be read-only: nothing is written beside /tmp and the results' volume.
ENV PATH=/opt/drills/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
WORKDIR /tmp
USER 65532:65532
ENTRYPOINT ["drills"]
CMD ["--help"]
