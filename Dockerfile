# SemiSegBench with the versions of uv.lock, for GPUs and CPUs (torch brings its own CUDA libraries). See docs/containers.md.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}
# git: results carry the commit. g++: `resources.compile` builds kernels with it.
RUN apt-get update \
 && apt-get install -y --no-install-recommends git g++ \
 && rm -rf /var/lib/apt/lists/* \
 && git config --system --add safe.directory /opt/semisegbench
WORKDIR /opt/semisegbench
RUN python3 -m pip install --no-cache-dir --root-user-action=ignore uv
COPY pyproject.toml uv.lock README.md ./
RUN uv sync --locked --no-cache --python python3 --extra coco --extra lite --extra export --extra tensorboard
COPY . .
ENV PATH=/opt/semisegbench/.venv/bin:$PATH BENCH_STORE=/store BENCH_DATA=/data MPLCONFIGDIR=/tmp/matplotlib
ENTRYPOINT ["python", "/opt/semisegbench/bench.py"]
CMD ["--help"]
