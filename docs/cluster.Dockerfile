# Image for the nodes of a Ray cluster: Kubernetes (cluster-kubernetes.yaml), or SLURM with Apptainer.
#   docker build -f docs/cluster.Dockerfile -t REGISTRY/gensweep:1 .        in the root of the repository
FROM python:3.11-slim-bookworm

# g++ compiles the CPU kernels at first use; git records the commit of a run; KubeRay's probes call wget.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y g++ git wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ray

# Dependencies first: this layer is large and rarely changes.
WORKDIR /home/ray/gensweep
COPY pyproject.toml README.md LICENSE ./
COPY gensweep/__init__.py gensweep/__init__.py
RUN pip install --no-cache-dir -e '.[cluster]'

COPY --chown=ray:ray . .
RUN pip install --no-cache-dir --no-deps -e .

USER 1000
# Store the data set in the image; remove the line if you do not use it.
RUN gensweep data fetch cifar10
WORKDIR /home/ray/results
