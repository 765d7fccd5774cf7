#!/bin/bash
# Runs in the guest.
set -euo pipefail
systemctl enable app.service vm-agent.service
echo 'app:x:990:990::/:/usr/sbin/nologin' >>/etc/passwd
echo "configured as $(id -un) in $PWD"
