#!/usr/bin/env bash
# Builds the Docker image and uses it: healthcheck, /ready, a command inside, stop and start again on the same data.
# Needs root, dockerd and docker. It starts a Docker Engine of its own in a temporary folder, and ends it.
# Where the base image cannot be pulled, one is made of Debian's packages (debootstrap) and this checkout's Node under
# the same tag; BASE_ROOTFS=file.tar keeps it for the next time. DOCKER_HOST=... uses an Engine that runs already.
set -euo pipefail
cd "$(dirname "$0")/.."

base="${BASE_IMAGE:-node:24-bookworm-slim}"
work="$(mktemp -d "${TMPDIR:-/tmp}/check-image.XXXXXX")"
tag="llm-manager:check-$$"
name="llm-manager-check-$$"
daemon=''
step() { printf '== %s (%ss)\n' "$1" "$SECONDS"; }
fail() { printf 'check-image: %s\n' "$1" >&2; exit 1; }

end() {
  code=$?
  [ "$code" = 0 ] || docker logs "$name" 2>&1 | tail -30 || true
  docker rm --force "$name" >/dev/null 2>&1 || true
  docker volume rm "$name" >/dev/null 2>&1 || true
  docker image rm "$tag" >/dev/null 2>&1 || true
  if [ -n "$daemon" ]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  # What a killed build may have left mounted must not be removed with the folder.
  grep -o " $work/[^ ]*" /proc/mounts | sort -r | xargs -r -n1 umount --lazy 2>/dev/null || true
  rm -rf "$work"
  exit "$code"
}
trap end EXIT

start_daemon() {
  export DOCKER_HOST="unix://$work/docker.sock"
  dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/docker.pid" \
    --iptables=false --ip6tables=false --bridge=none >"$work/dockerd.log" 2>&1 &
  daemon=$!
  for _ in $(seq 120); do
    docker version >/dev/null 2>&1 && return
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.5
  done
  tail -20 "$work/dockerd.log" >&2
  fail 'dockerd did not start'
}

make_rootfs() {
  local root="$work/rootfs" node npm
  node="$(realpath node_modules/.bin/node)"
  npm="$(npm root --global)/npm"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >"$work/debootstrap.log" 2>&1 || { tail -5 "$work/debootstrap.log" >&2; fail 'debootstrap failed'; }
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  install -m 0755 "$node" "$root/usr/local/bin/node"
  mkdir -p "$root/usr/local/lib/node_modules"
  cp -r "$npm" "$root/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
  # A proxy's certificate counts in the build as it does here.
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  chroot "$root" useradd --uid 1000 --user-group --create-home --shell /bin/bash node
  tar --directory "$root" --create --file "$1" .
  rm -rf "$root"
}

ready_base() {
  docker image inspect "$base" >/dev/null 2>&1 && return
  timeout 60 docker pull --quiet "$base" >/dev/null 2>&1 && return
  local rootfs="${BASE_ROOTFS:-$work/rootfs.tar}"
  [ -s "$rootfs" ] || { step "$base cannot be pulled: making one"; make_rootfs "$rootfs"; }
  docker import --change 'CMD ["node"]' --change 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' "$rootfs" "$base" >/dev/null
}

wait_healthy() {
  for _ in $(seq 240); do
    case "$(docker inspect --format '{{.State.Status}} {{.State.Health.Status}}' "$name")" in
      'running healthy') return ;;
      running*) sleep 0.5 ;;
      *) fail 'the container has ended' ;;
    esac
  done
  fail 'the container did not become healthy'
}

compose() { if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi; }

check_compose() {
  if ! docker compose version >/dev/null 2>&1 && ! command -v docker-compose >/dev/null; then
    echo 'no docker compose here: docker-compose.yml was not looked at'
    return
  fi
  POSTGRES_PASSWORD=p REDIS_PASSWORD=r compose config >/dev/null
  # An empty folder has no .env.
  ! env -u POSTGRES_PASSWORD -u REDIS_PASSWORD bash -c "$(declare -f compose); compose --project-directory '$work' --file docker-compose.yml config" >/dev/null 2>&1 || fail 'docker-compose.yml works without passwords'
}

[ -n "${DOCKER_HOST:-}" ] || { step 'dockerd'; start_daemon; }
step 'docker compose config'
check_compose
step 'base image'
ready_base
step 'build'
DOCKER_BUILDKIT=0 docker build --network host --build-arg "BASE_IMAGE=$base" --tag "$tag" . >"$work/build.log" 2>&1 || { tail -30 "$work/build.log" >&2; fail 'the image does not build'; }
docker image inspect --format 'size {{.Size}} bytes, user {{.Config.User}}' "$tag"
step 'run'
port="$(node -e 'const server = require("node:net").createServer().listen(0, "127.0.0.1", () => { console.log(server.address().port); server.close(); })')"
docker run --detach --name "$name" --network host --init --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
  --env LLM_MANAGER_PORT="$port" --env LLM_MANAGER_HOST=127.0.0.1 --volume "$name:/data" "$tag" >/dev/null
wait_healthy
step 'healthy'
curl --fail --silent --show-error "http://127.0.0.1:$port/ready" && echo
[ "$(docker exec "$name" id -u)" = 1000 ] || fail 'it does not run as an ordinary user'
docker exec "$name" llm-manager status
key="$(docker exec "$name" cat /data/admin.key)"
[ "$(curl --silent --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:$port/api/deployments/list")" = 401 ] || fail 'it answers without a key'
curl --fail --silent --show-error --header "Authorization: Bearer $key" "http://127.0.0.1:$port/api/deployments/list" && echo
step 'stop'
docker stop --time 60 "$name" >/dev/null
[ "$(docker inspect --format '{{.State.ExitCode}}' "$name")" = 0 ] || fail 'it did not end with 0'
step 'start again on the same data'
docker start "$name" >/dev/null
wait_healthy
[ "$(docker exec "$name" cat /data/admin.key)" = "$key" ] || fail 'its data is gone'
step 'done'
