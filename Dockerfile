# One image for every part of docs/production.md: jobs (`clickflow train …`), the MLflow server, model servers.
# docker build --build-arg TORCH_INDEX=INDEX -t clickflow .      INDEX: PyTorch's index of CPU builds
FROM python:3.11-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
# git: runs note their commit where the working folder is a repository. libgomp1: torch's threads.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgomp1 \
    && rm -rf /var/lib/apt/lists/*
# torch comes first, from an index of CPU builds: the default index gives Linux a CUDA build of several GB.
ARG TORCH_INDEX=""
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' /tmp/constraints.txt)"
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt "$(ls /wheels/clickflow-*.whl)[auth,postgres,s3]" \
    && rm -rf /wheels
RUN useradd --uid 10001 --create-home clickflow \
    && install -d -o clickflow -g clickflow /data
USER clickflow
ENV CLICKFLOW_HOME=/data PYTHONUNBUFFERED=1
WORKDIR /data
VOLUME /data
ENTRYPOINT ["clickflow"]
CMD ["--help"]
