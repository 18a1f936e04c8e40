# One image for every process of the production shape; compose.yaml says which runs what.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 TRIPLINE_DATA_DIR=/data
WORKDIR /app

# The layer of the dependencies lasts as long as pyproject.toml does.
COPY pyproject.toml README.md LICENSE ./
RUN mkdir automations registry runs config && pip install '.[prod]' && pip uninstall --yes tripline

COPY manage.py ./
COPY config config
COPY runs runs
COPY registry registry
COPY automations automations

RUN useradd --system --uid 10001 --home-dir /data --create-home tripline && chmod 700 /data
USER tripline
VOLUME /data
EXPOSE 8000

# With the name people use: another one is refused (ALLOWED_HOSTS).
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["python", "-c", "\
import os, urllib.request as http; from urllib.parse import urlsplit; \
host = urlsplit(os.environ['TRIPLINE_BASE_URL']).netloc; \
http.urlopen(http.Request('http://127.0.0.1:8000/healthz', headers={'Host': host}), timeout=8)"]

CMD ["gunicorn", "config.wsgi", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "8"]
