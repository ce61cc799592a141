#!/bin/sh
# Passwords of one deployment, made at random once, into docker/secrets (which git ignores). Existing ones stay.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

make() { # NAME COMMAND...: the command's output, unless the secret is there
  name=$1
  shift
  [ -s "secrets/$name" ] || "$@" | tr -d '\n' > "secrets/$name"
}

random() { openssl rand -hex "$1"; }

make postgres_password random 24
make redis_password random 24
make minio_password random 24
make label_studio_password random 16
make annotator_label_studio_api_key random 20
make annotator_backend_password random 24
make annotator_backend_webhook_secret random 24
make grafana_password random 16
make annotator_database_url printf 'postgresql+psycopg://annotator:%s@postgres:5432/annotator' \
  "$(cat secrets/postgres_password)"
make annotator_broker_url printf 'redis://:%s@redis:6379/0' "$(cat secrets/redis_password)"
make annotator_storages printf \
  '{"s3": {"endpoint_url": "http://minio:9000", "public_endpoint_url": "%s", "region": "us-east-1", "key": "annotator", "secret": "%s"}}' \
  "${MINIO_PUBLIC_URL:-http://localhost:9000}" "$(cat secrets/minio_password)"
# the containers' users are not ours: the folder stays closed, the files in it can be read
chmod 711 secrets
chmod 644 secrets/*
echo "docker/secrets is complete; Label Studio's password is in docker/secrets/label_studio_password"
