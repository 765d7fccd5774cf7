#!/usr/bin/env bash
# Runs while the machine runs.
exec "$VM" poweroff
