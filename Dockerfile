# lit-pure in a container, from this folder:
#
#   docker build --tag lit-pure .                                      the CPU's; TORCH: see below
#   docker build --build-arg DEVICE=cuda --tag lit-pure:cuda .         with CUDA's libraries, and a compiler for kernels
#   docker run --rm --volume "$PWD:/data" lit-pure restore photo.jpg
#
# docs/scaling-out.md has the rest.
# hadolint global ignore=DL3008,DL3013
# (versions: PIP_CONSTRAINT holds pip to constraints.txt; gcc is that of the base image's Debian)
ARG PYTHON=3.12
ARG DEVICE=cpu

FROM python:${PYTHON}-slim AS wheel
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM python:${PYTHON}-slim AS base
ENV PIP_CONSTRAINT=/opt/lit_pure/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
COPY constraints.txt /opt/lit_pure/
COPY .ci/basicsr_build /opt/lit_pure/basicsr_build

# torch's ordinary wheels bring CUDA's libraries, 3 GB that a CPU does not need. TORCH may name wheels without them,
# as PyTorch's page "Get started" has them.
FROM base AS cpu
ARG TORCH="torch torchvision"
# hadolint ignore=SC2086  the packages are words
RUN pip install --no-cache-dir ${TORCH}

# The driver is the host's. Triton compiles a launcher for each kernel with the C compiler that it finds.
FROM base AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir torch torchvision

# opencv-python first, basicsr last and without its dependencies: the Makefile says why.
FROM ${DEVICE} AS lit-pure
COPY --from=wheel /dist /opt/lit_pure/dist
RUN pip install --no-cache-dir setuptools opencv-python \
	&& pip install --no-cache-dir /opt/lit_pure/dist/*.whl \
	&& PYTHONPATH=/opt/lit_pure/basicsr_build pip install --no-cache-dir --no-deps --no-build-isolation basicsr \
	&& useradd --create-home --uid 1000 lit \
	&& install --directory --owner 1000 /data
USER 1000
WORKDIR /data
ENTRYPOINT ["lit-pure"]
CMD ["--help"]
