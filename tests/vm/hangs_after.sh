#!/usr/bin/env bash
# Hangs in a process that only a signal to the process group reaches.
echo "run_after: running"
sleep 1000 &
wait
