#!/usr/bin/env bash
# Downloads from the Hub double with the real `hf` command (PyPI huggingface_hub) and checks what it leaves in its cache.
# Needs python3 with venv, and the network for PyPI. HF_COMMAND=/path/to/hf uses an installed one instead.
set -euo pipefail
cd "$(dirname "$0")/.."

# Pinned, so that a new release cannot turn a build red; raise it on purpose.
version="${HUGGINGFACE_HUB_VERSION:-2.4.0}"
work="$(mktemp -d "${TMPDIR:-/tmp}/check-hub-double.XXXXXX")"
trap 'rm -rf "$work"' EXIT

if [ -z "${HF_COMMAND:-}" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check "huggingface_hub==$version"
  HF_COMMAND="$work/venv/bin/hf"
fi
node=node_modules/.bin/node
[ -x "$node" ] || node=node
"$node" scripts/check-hub-double.ts "$HF_COMMAND" "$work"
