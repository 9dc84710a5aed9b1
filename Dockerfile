# coseg-serve on a CPU under ONNX Runtime alone, without torch: see docs/serve.md.
#   coseg-export --out graphs
#   docker build --tag coseg-serve .
#   docker run --publish 127.0.0.1:8000:8000 --memory 2g coseg-serve
FROM python:3.12-slim
WORKDIR /opt/coseg
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY conf conf
# What coseg.serve imports of the dependencies in pyproject.toml, with the same bounds; the others need torch.
RUN python -m pip install --no-cache-dir --disable-pip-version-check --no-deps .
RUN python -m pip install --no-cache-dir --disable-pip-version-check \
    "numpy>=2.0" "pillow>=11.3" "opencv-python-headless>=4.9" "pyyaml>=6" "onnxruntime>=1.20" \
    "fastapi>=0.115,<1" "uvicorn>=0.30,<1" "python-multipart>=0.0.18,<1"
COPY graphs /opt/graphs
# glibc keeps freed memory for each thread otherwise.
ENV MALLOC_ARENA_MAX=2 PYTHONDONTWRITEBYTECODE=1
USER 65534:65534
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["coseg-serve", "--onnx", "/opt/graphs", "--host", "0.0.0.0"]
