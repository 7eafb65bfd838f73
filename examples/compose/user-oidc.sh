#!/bin/sh
# Runs once, in the Nextcloud container, after its installation: lets the tokens of the realm in, for the accounts of the same names.
set -eu
cd /var/www/html
php occ app:install user_oidc
# Keycloak is at a private address here.
php occ config:system:set allow_local_remote_servers --value=true --type=boolean
php occ user_oidc:provider keycloak --clientid=nextcloud --clientsecret="$NEXTCLOUD_SECRET" \
  --discoveryuri=http://keycloak:8080/realms/acme/.well-known/openid-configuration \
  --check-bearer=1 --mapping-uid=preferred_username --unique-uid=0
