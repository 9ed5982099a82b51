#!/bin/sh
# Makes the secrets of docker-compose.yml, each in a file of its own, and leaves those that are there.
#
# usage: deploy/compose/secrets.sh [FOLDER]      default: deploy/compose/secrets
#
# Containers read them as users of their own, so the files are readable by all and the folder by its
# owner only. For a new secret, delete its file (redis_users and redis_url go together), run this
# again, and start what uses it anew: all relays at a time for cluster_secret and join_token_secret.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/secrets}
# For what deploy/observability/alertmanager/alertmanager.yml wants, which cannot be made up.
mkdir -p "$folder/alertmanager"
chmod 700 "$folder"
cd "$folder"

# write <file>: what comes in, at once or not at all.
write() {
  cat >"$1.new"
  chmod 444 "$1.new"
  mv -f "$1.new" "$1"
  echo "made $folder/$1"
}

for name in join_token_secret cluster_secret grafana_password; do
  [ -e "$name" ] || openssl rand -base64 48 | write "$name"
done

if [ ! -e redis_users ] || [ ! -e redis_url ]; then
  # Hexadecimal, because it stands in a URL.
  password=$(openssl rand -hex 32)
  hash=$(printf %s "$password" | openssl dgst -sha256 -r | cut -d ' ' -f 1)
  {
    sed "s/>PASSWORD/#$hash/" "$here/../redis/users.acl"
    # For the health check of the container: no password, and nothing that it opens.
    echo 'user health on nopass resetkeys resetchannels -@all +ping'
  } | write redis_users
  printf 'redis://lethewire:%s@redis:6379\n' "$password" | write redis_url
fi
