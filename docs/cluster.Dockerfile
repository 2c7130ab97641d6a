# The image of every node of a Ray cluster: Kubernetes (cluster-kubernetes.yaml), or SLURM by Apptainer.
#   docker build -f docs/cluster.Dockerfile -t REGISTRY/gensweep:1 .        in the root of the repository
FROM python:3.11-slim-bookworm

# g++ compiles the CPU kernels at first use; git lets runs record their commit; wget is what KubeRay's probes call.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y g++ git wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ray

# The dependencies are a layer of their own, as they are gigabytes and change rarely.
WORKDIR /home/ray/gensweep
COPY pyproject.toml README.md LICENSE ./
COPY gensweep/__init__.py gensweep/__init__.py
RUN pip install --no-cache-dir -e '.[cluster]'

COPY --chown=ray:ray . .
RUN pip install --no-cache-dir --no-deps -e .

USER 1000
# The data set is in the image, so that no worker fetches it; leave out what you do not train on.
RUN gensweep data fetch cifar10
WORKDIR /home/ray/results
