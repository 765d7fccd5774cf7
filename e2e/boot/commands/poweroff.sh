#!/usr/bin/env bash
# Powers the guest off by its agent.
exec "$VM" poweroff
