#!/usr/bin/env bash
# Powers off the guest through its agent.
exec "$VM" poweroff
