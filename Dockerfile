# The pipeline's image, for the steps of Kubeflow and for jobs:
#   docker build -t registry/shop-ranking:1 .
#   docker build -t registry/shop-ranking:1-gpu --build-arg LOCK=image-gpu.lock .
# The wheels of the lock need glibc 2.39 or newer, which Debian 13 has.
FROM python:3.11-slim-trixie AS build
ARG LOCK=image.lock
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/dmf
COPY requirements/${LOCK} /tmp/lock
# Compiled to bytecode here: the user of the image may not write it, and each step would compile anew.
RUN /opt/dmf/bin/pip install --require-hashes --no-deps --compile --requirement /tmp/lock
WORKDIR /src
COPY setup.py pyproject.toml README.md LICENSE ./
COPY dmf_keras dmf_keras
COPY serving serving
COPY tfx_pipeline tfx_pipeline
RUN /opt/dmf/bin/pip install --no-deps --compile --no-build-isolation .

FROM python:3.11-slim-trixie
# What Kubeflow's launcher fills before a step and reads after it, and what steps keep meanwhile.
RUN useradd --uid 1000 --create-home dmf \
    && mkdir /gcs /s3 /minio /work \
    && chown dmf:dmf /gcs /s3 /minio /work
COPY --from=build /opt/dmf /opt/dmf
ENV PATH=/opt/dmf/bin:$PATH TF_USE_LEGACY_KERAS=1
USER 1000:1000
WORKDIR /work
# Of a container that stays up, such as one of `dmf serve`: whether the package loads.
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s CMD ["dmf", "--help"]
ENTRYPOINT ["dmf"]
CMD ["--help"]
