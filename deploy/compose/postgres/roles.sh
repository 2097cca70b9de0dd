#!/bin/sh
# Run once, by the image of PostgreSQL, on an empty volume: a role each for Temporal and for the Copilot's store.
set -eu
psql -v ON_ERROR_STOP=1 --username postgres --dbname postgres \
  -v temporal="$TEMPORAL_DB_PASSWORD" -v store="$STORE_DB_PASSWORD" <<'SQL'
CREATE ROLE temporal LOGIN CREATEDB PASSWORD :'temporal';
CREATE ROLE copilot LOGIN PASSWORD :'store';
CREATE DATABASE copilot OWNER copilot;
SQL
